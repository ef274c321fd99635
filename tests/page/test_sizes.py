"""Sizes in a browser: the choice, what it makes of a picture, and pictures that are too large."""

import subprocess

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.support.gestures import choose, expect_result, fill, save, sent_to, wait_until_done
from tests.support.stand_in_service import StandInService, running
from tests.support.stand_ins import lighten, make_restorer, noise
from tests.support.waiting import wait_until

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)

SIDES = """(canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const seen = document.getElementById("seen").getBoundingClientRect();
  const box = canvas.getBoundingClientRect();
  const at = (x, y) => [...context.getImageData(
    seen.x - box.x + x * seen.width, seen.y - box.y + y * seen.height, 1, 1).data.slice(0, 3)];
  return [0.2, 0.45, 0.55, 0.8].map((x) => at(x, 0.5));
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    restorer = make_restorer(lighten)
    limits = {
        "max_pixels": 1_000_000,
        "max_side": 2000,
        "max_output_pixels": 3_000_000,
        "max_upload_bytes": 4_000_000,
        "memory_mb": 256,
    }
    with running(StandInService(folder, restorer=restorer, **limits)) as service:
        yield service


@pytest.fixture
def large(encode):
    """A PNG of 0.6 megapixels, which is too large for 4x here."""
    return encode(Image.new("RGB", (1000, 600), RED))


def test_without_a_choice_no_size_is_sent(page, give, picture, answer, sent):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    expect(page.locator("#size-note")).to_have_text("24 × 16 → 96 × 64 pixels.")
    choose(page, 2)
    expect_result(page, "48 × 32")
    choose(page, 4)
    expect_result(page, "96 × 64")
    first, second, third = (fields for fields, _ in sent_to(sent, "/model/predict"))
    assert first == third == ["detail", "restore", "format"]
    assert second == [*first, "scale"]
    assert save(page) == ("cat_4x.png", answer(picture))


@pytest.mark.parametrize(
    ("scale", "size"),
    [
        (1, "24 × 16"),
        pytest.param(2, "48 × 32", marks=pytest.mark.thorough),
        pytest.param(8, "192 × 128", marks=pytest.mark.thorough),
    ],
)
def test_a_size_can_be_chosen_before_the_picture(page, give, picture, answer, scale, size):
    choose(page, scale)
    give(page, ("cat.png", picture))
    wait_until_done(page)
    expect_result(page, size)
    expect(page.locator("#tag-after")).to_have_text(f"{scale}×")
    assert save(page) == (f"cat_{scale}x.png", answer(picture, scale=str(scale)))


def test_another_size_of_a_picture_is_computed_at_once(page, give, picture, answer):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    choose(page, 2)
    expect_result(page, "48 × 32")
    expect(page.locator("#size-buttons [data-scale='2']")).to_have_attribute("aria-pressed", "true")
    page.select_option("#format", "webp")
    page.fill("#quality", "40")
    expected = answer(picture, scale="2", format="webp", quality="40")
    assert save(page) == ("cat_2x.webp", expected)


def test_a_custom_factor_is_sent_as_it_is_written(page, give, picture, answer):
    choose(page, "custom")
    expect(page.locator("#scale")).to_have_value("4")
    fill(page, scale="1.37")
    give(page, ("cat.png", picture))
    wait_until_done(page)
    expect(page.locator("#size-note")).to_have_text("24 × 16 → 33 × 22 pixels.")
    expect_result(page, "33 × 22")
    assert save(page) == ("cat_1.37x.png", answer(picture, scale="1.37"))


def test_width_and_height_can_be_stated_by_keyboard(page, give, picture, answer):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    page.focus("#size-buttons [data-scale=custom]")
    for key in ("Enter", "Tab", "Tab", "6", "0", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#scale")).to_have_value("")
    expect(page.locator("#fit")).to_be_disabled()
    expect_result(page, "60 × 40")
    assert save(page) == ("cat_60w.png", answer(picture, width="60"))
    fill(page, height="32")
    expect_result(page, "48 × 32")
    assert save(page)[0] == "cat_60w_32h.png"


def test_the_command_asks_for_the_same_size(page, give, picture, answer, tmp_path):
    (tmp_path / "cat.png").write_bytes(picture)
    choose(page, 2)
    give(page, ("cat.png", picture))
    wait_until_done(page)
    page.click("summary")
    command = page.locator("#command").inner_text()
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, capture_output=True, timeout=30)
    assert (tmp_path / "cat_2x.png").read_bytes() == answer(picture, scale="2")


def test_a_cropped_result_lies_on_the_part_of_the_picture_that_it_shows(page, give, encode, answer):
    stripes = np.repeat(np.uint8([[RED, GREEN, BLUE]]), 16, axis=0).repeat(8, axis=1)
    data = encode(Image.fromarray(stripes))
    choose(page, "custom")
    fill(page, width="32", height="64")
    page.select_option("#fit", "cover")
    give(page, ("flag.png", data))
    wait_until_done(page)
    expect_result(page, "32 × 64")
    page.press("#divider", "End")
    page.click("[data-base=pixels]")
    wait_until(lambda: page.locator("#canvas").evaluate(SIDES) == [list(GREEN)] * 4)
    expected = answer(data, width="32", height="64", fit="cover")
    assert save(page) == ("flag_32w_64h.png", expected)


@pytest.mark.parametrize("scale", [1, 2, 8])
def test_input_and_result_lie_on_each_other(page, give, encode, scale):
    halves = np.uint8([[[20] * 3] * 12 + [[230] * 3] * 12] * 16)
    choose(page, scale)
    give(page, ("halves.png", encode(Image.fromarray(halves))))
    wait_until_done(page)
    views = []
    for key in ("Home", "End"):
        page.press("#divider", key)
        page.wait_for_timeout(100)
        views.append([rgb[0] > 125 for rgb in page.locator("#canvas").evaluate(SIDES)])
    assert views == [[False, False, True, True]] * 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": "40"}, "16"),
        ({"scale": "0.5"}, "1"),
        ({"width": "2.5"}, "2"),
        ({"width": "12"}, "24 × 16 to 384 × 256 pixels"),
        ({"height": "900"}, "24 × 16 to 384 × 256 pixels"),
    ],
)
def test_an_impossible_size_is_explained_and_not_sent(
    page, give, picture, service, values, message
):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    choose(page, "custom")
    fill(page, **values)
    (name,) = values
    expect(page.locator("#size-note[data-bad]")).to_contain_text(message)
    expect(page.locator(f"#{name}")).to_have_attribute("aria-invalid", "true")
    page.wait_for_timeout(600)
    assert service.received == 1


def test_only_the_last_size_is_sent(page, give, picture, service):
    page.clock.install()  # a busy machine would make pauses between the clicks
    give(page, ("cat.png", picture))
    wait_until_done(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    for scale in (1, 2, 8):
        choose(page, scale)
        page.clock.run_for(100)
    assert service.received == 1
    page.clock.run_for(600)
    page.clock.resume()
    expect_result(page, "192 × 128")
    assert service.received == 2


def test_each_picture_keeps_its_size(page, give, picture):
    choose(page, 2)
    give(page, ("a.png", picture))
    wait_until_done(page)
    choose(page, 8)
    expect_result(page, "192 × 128")
    give(page, ("b.png", picture))
    wait_until_done(page, 2)
    choose(page, 1)
    expect(page.locator("#fact-result")).to_contain_text("24 × 16")
    page.click("#frames .frame >> nth=0")
    expect(page.locator("#fact-result")).to_contain_text("192 × 128")
    expect(page.locator("#size-buttons [data-scale='8']")).to_have_attribute("aria-pressed", "true")


def test_a_picture_that_is_too_large_for_4x_gets_sizes_to_choose_from(page, give, large, service):
    give(page, ("large.png", large))
    expect(page.locator("#problem-title")).to_have_text("This size is not possible for this file.")
    expect(page.locator("#problem-advice")).to_have_text(
        "The result would have 4000 × 2400 pixels; the limit is 3 megapixels."
    )
    assert service.received == 0
    expect(page.locator("#frames .state")).to_have_text("choose a size")
    offers = page.locator("#offers button")
    expect(offers).to_contain_text(["1×, cleaned only: 1000 × 600.", "2×: 2000 × 1200."])
    expect(offers.nth(1)).to_contain_text("About ")
    expect(page.locator("#size-buttons [data-scale='8']")).to_be_disabled()
    offers.nth(1).click()
    wait_until_done(page)
    expect_result(page, "2000 × 1200")
    assert save(page)[0] == "large_2x.png"


def test_the_page_says_how_long_a_large_picture_takes(page, give, large, service, sent):
    service.gate.clear()
    choose(page, 2)
    give(page, ("large.png", large))
    expect(page.locator("#size-note")).to_contain_text("1000 × 600 → 2000 × 1200 pixels. About ")
    ((fields, _),) = sent_to(sent, "/model/estimate")
    assert fields == ["detail", "restore", "format", "scale"]
    service.gate.set()
    wait_until_done(page)
    expect(page.locator("#size-note")).to_have_text("1000 × 600 → 2000 × 1200 pixels.")


def test_only_the_beginning_of_a_large_file_is_sent_for_an_estimate(page, give, encode, sent):
    levels = noise(600, 1000)
    levels[:, :800] = 0
    data = encode(Image.fromarray(levels))
    assert len(data) > 2**18
    choose(page, 2)
    give(page, ("large.png", data))
    expect(page.locator("#size-note")).to_contain_text("About ")
    ((_, size),) = sent_to(sent, "/model/estimate")
    assert 2**18 < size < 2**18 + 2000


def test_no_estimate_is_asked_for_a_small_picture(page, give, picture, sent):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    assert len(sent_to(sent, "/model/predict")) == 1
    assert sent_to(sent, "/model/estimate") == []


def test_a_picture_that_the_browser_cannot_show_gets_a_size(page, give, encode, answer):
    tiff = encode(Image.fromarray(noise(16, 24)), "TIFF")
    choose(page, 2)
    give(page, ("scan.tif", tiff), media_type="image/tiff")
    wait_until_done(page)
    expect(page.locator("#size-note")).to_have_text("24 × 16 → 48 × 32 pixels.")
    expect(page.locator("#tag-before")).to_have_text("result, scaled down")
    assert save(page) == ("scan_2x.png", answer(tiff, scale="2"))


def test_the_service_is_asked_for_the_size_of_a_large_file_that_the_browser_cannot_show(
    page, give, encode, service
):
    tiff = encode(Image.new("RGB", (1000, 600), RED), "TIFF")
    give(page, ("scan.tif", tiff), media_type="image/tiff")
    expect(page.locator("#problem-advice")).to_contain_text("4000 × 2400 pixels; the limit")
    assert service.received == 0


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1440),
        ("dark", 390),
        pytest.param("dark", 1440, marks=pytest.mark.thorough),
        pytest.param("light", 390, marks=pytest.mark.thorough),
    ],
)
def test_the_choice_is_accessible(open_page, give, picture, large, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    choose(page, "custom")
    fill(page, scale="3")
    give(page, ("cat.png", picture))
    wait_until_done(page)
    fill(page, width="1")
    expect(page.locator("#size-note[data-bad]")).to_be_visible()
    assert_accessible(page, width)
    choose(page, 4)
    give(page, ("large.png", large))
    expect(page.locator("#offers button")).to_have_count(2)
    assert_accessible(page, width)


def assert_accessible(page, width):
    """Check names, contrast and the width of the page."""
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
