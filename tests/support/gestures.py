"""Common actions and checks of the page tests."""

from playwright.sync_api import expect


def choose(page, scale):
    """Press the button of a size."""
    page.click(f"#size-buttons [data-scale='{scale}']")


def fill(page, **values):
    """Fill fields of the custom size, and leave the last one."""
    for name, value in values.items():
        page.fill(f"#{name}", value)
    page.press(f"#{name}", "Enter")


def expect_result(page, size):
    """Expect a finished result of a size."""
    expect(page.locator("#fact-result")).to_contain_text(size)
    wait_until_done(page)


def wait_until_done(page, count=1):
    """Wait until so many pictures are done."""
    expect(page.locator("#frames li[data-stage=done]")).to_have_count(count)


def divider_at(page):
    """Return the position of the divider in percent."""
    return int(page.locator("#divider").get_attribute("aria-valuenow"))


def zoom_of(page):
    """Return the displayed zoom in percent."""
    return int(page.locator("#zoom").inner_text().removesuffix(" %"))


def save(page):
    """Save the result. Return its file name and bytes."""
    with page.expect_download() as download:
        page.click("#save-button")
    return download.value.suggested_filename, download.value.path().read_bytes()


def colours(page, canvas="#canvas"):
    """Return the number of colours of a canvas, without full transparency."""
    return page.locator(canvas).evaluate(
        """(canvas) => {
          const { width, height } = canvas;
          const copy = new OffscreenCanvas(width, height);
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          const { data } = context.getImageData(0, 0, width, height);
          const seen = new Set(new Uint32Array(data.buffer));
          seen.delete(0);
          return seen.size;
        }"""
    )


def sent_to(sent, path):
    """Return the names of fields, and the bytes, of each request to a path."""
    return [(fields, size) for where, fields, size in sent if where == path]
