import io
import shutil
from base64 import b64encode

import pytest
from flask import request, request_finished
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.support.stand_in_service import StandInService, running
from tests.support.stand_ins import noise

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Of browsers, the one that takes the least processor time first."""

TIMEOUT_MS = 15_000

GIVE = """([event, files]) => {
  const given = new DataTransfer();
  for (const { name, type, body } of files) {
    const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
    given.items.add(new File([bytes], name, { type }));
  }
  const init = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(event === "paste"
    ? new ClipboardEvent(event, { ...init, clipboardData: given })
    : new DragEvent(event, { ...init, dataTransfer: given }));
}"""

FORGET = """() => {
  const ids = Object.keys(JSON.parse(localStorage.getItem("enhancer-jobs") ?? "{}"));
  localStorage.clear();
  return ids;
}"""

# What a browser logs by itself about an error status or a failed connection.
BROWSER_MESSAGE = "Failed to load resource: "


@pytest.fixture(scope="module")
def browser():
    """Chromium, per module: its event loop would disturb the tests of other modules."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium-headless-shell")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(StandInService(tmp_path_factory.mktemp("jobs"))) as service:
        yield service


@pytest.fixture
def service(server):
    yield server
    server.reset()


@pytest.fixture(scope="module")
def shared_context(browser):
    """A browser context that tests share, each with its own page, which takes half the time."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context
    context.close()


@pytest.fixture
def open_page(browser, shared_context, service):
    """Open the page, optionally as another device.

    After the test, checks that the console is empty and that no request left the origin.
    """
    opened, faults, requested = [], [], []

    def open_page(**device):
        context = browser.new_context(**device) if device else shared_context
        page = context.new_page()
        opened.append(context if device else page)
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda said: faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"{service.url}/app/")
        expect(page.locator("#about-model")).not_to_be_empty()
        return page

    yield open_page
    for page in opened:
        for tab in getattr(page, "pages", [page]):
            service.forget(tab.evaluate(FORGET))
        page.close()
    assert [fault for fault in faults if not fault.startswith(BROWSER_MESSAGE)] == []
    origins = (service.url, "blob:", "data:")
    assert [url for url in requested if not url.startswith(origins)] == []


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def give():
    """Drop files on the page, or paste them, as pairs of name and bytes."""

    def give(page, *files, event="drop", media_type="image/png"):
        given = [
            {"name": name, "type": media_type, "body": b64encode(data).decode()}
            for name, data in files
        ]
        page.evaluate(GIVE, [event, given])

    return give


@pytest.fixture
def picture(encode):
    """A small PNG, 24 x 16 pixels."""
    return encode(Image.fromarray(noise(16, 24)))


@pytest.fixture
def answer(service):
    """Return the result of a picture that the service upscales without the page."""

    def answer(data, **fields):
        client = service.app.test_client()
        form = {"image": (io.BytesIO(data), "lr.png"), **fields}
        return client.post("/model/predict", data=form).data

    return answer


@pytest.fixture
def sent(service):
    """The requests that the service has answered: path, names of fields, bytes."""
    requests = []

    def record(_app, **_response):
        requests.append((request.path, list(request.form), request.content_length))

    with request_finished.connected_to(record, service.app):
        yield requests


@pytest.fixture
def gif(encode):
    """Four frames of 24 x 16 pixels."""
    frames = [Image.fromarray(noise(16, 24, seed=seed)) for seed in range(4)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, loop=0)
