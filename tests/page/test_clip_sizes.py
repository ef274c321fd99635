"""Sizes of clips and archives in a browser."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.clip_files import scenes, write_clip
from tests.support.gestures import choose, expect_result, fill, save, sent_to, wait_until_done
from tests.support.stand_in_service import StandInService, running
from tests.support.stand_ins import lighten, make_restorer
from tests.support.waiting import wait_until

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    with running(StandInService(folder, restorer=make_restorer(lighten))) as service:
        yield service


def ask(page, fit="contain", **values):
    """Fill fields of the custom size, and choose how it fits."""
    fill(page, **values)
    if len(values) == 2:
        page.select_option("#fit", fit)


def colours_seen(page):
    """Return the names of the channels that are brightest in four places of the picture."""
    shot = Image.open(io.BytesIO(page.locator("#seen").screenshot())).convert("RGB")
    pixels = [shot.getpixel((int(x * shot.width), shot.height // 4)) for x in (0.2, 0.4, 0.6, 0.8)]
    return {("red", "green", "blue")[int(np.argmax(pixel))] for pixel in pixels}


def test_an_animation_gets_the_chosen_size(page, give, gif):
    choose(page, 2)
    give(page, ("cat.gif", gif), media_type="image/gif")
    expect_result(page, "48 × 32")
    expect(page.locator("#size-note")).to_have_text("24 × 16 → 48 × 32 pixels.")
    expect(page.locator("#tag-after")).to_have_text("2×")
    name, saved = save(page)
    assert (name, Image.open(io.BytesIO(saved)).size) == ("cat_x2.gif", (48, 32))
    choose(page, 1)
    expect_result(page, "24 × 16")


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"scale": "1.1"}, "52 × 34"),  # 53 x 35 in an animation
        ({"width": "81"}, "80 × 54"),
        ({"width": "81", "height": "61", "fit": "cover"}, "80 × 60"),
    ],
)
def test_the_page_states_the_even_sides_of_a_video(page, give, tmp_path, service, values, size):
    service.gate.clear()
    video = write_clip(tmp_path / "clip.mp4", scenes(4)).read_bytes()
    choose(page, "custom")
    ask(page, **values)
    give(page, ("clip.mp4", video), media_type="video/mp4")
    expect(page.locator("#size-note")).to_have_text(f"48 × 32 → {size} pixels.")
    service.gate.set()
    expect_result(page, size)


def test_the_input_plays_cropped_as_the_result_is(page, give, encode):
    stripes = np.repeat(np.uint8([[RED, GREEN, BLUE]]), 16, axis=0).repeat(8, axis=1)
    other = stripes // 2 + stripes // 4
    frames = [Image.fromarray(stripes), Image.fromarray(other)]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    choose(page, "custom")
    ask(page, width="32", height="64", fit="cover")
    give(page, ("flag.webp", data), media_type="image/webp")
    expect_result(page, "32 × 64")
    page.press("#divider", "End")
    page.click("[data-base=pixels]")
    wait_until(lambda: {"green"} == colours_seen(page))
    page.press("#divider", "Home")
    wait_until(lambda: {"green"} == colours_seen(page))


def test_the_input_of_a_video_plays_without_what_its_even_result_lacks(page, give, tmp_path):
    video = write_clip(tmp_path / "clip.mp4", scenes(4)).read_bytes()
    choose(page, "custom")
    ask(page, scale="1.1")
    give(page, ("clip.mp4", video), media_type="video/mp4")
    expect_result(page, "52 × 34")
    before, after = (page.locator("#reels video").nth(n).bounding_box() for n in (0, 1))
    assert before["width"] / after["width"] == pytest.approx(53 / 52, abs=1e-3)
    assert before["height"] / after["height"] == pytest.approx(35 / 34, abs=1e-3)
    assert (before["x"], before["y"]) == pytest.approx((after["x"], after["y"]), abs=0.01)


def test_the_page_states_only_the_factor_of_a_clip_that_the_browser_cannot_play(
    page, give, tmp_path
):
    video = write_clip(tmp_path / "clip.mkv", scenes(4), codec="mpeg4").read_bytes()
    choose(page, 2)
    give(page, ("clip.mkv", video), media_type="video/x-matroska")
    expect(page.locator("#size-note")).to_have_text("2 times as wide and high.")
    wait_until_done(page)
    choose(page, 1)
    expect(page.locator("#size-note")).to_have_text("Cleaned, not enlarged.")
    choose(page, "custom")
    fill(page, width="64")
    expect(page.locator("#size-note")).to_be_empty()
    wait_until_done(page)


def test_the_output_limit_applies_to_each_frame(page, give, encode, sent, service):
    frames = [Image.new("RGB", (150, 150), colour) for colour in (RED, BLUE)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    choose(page, 8)
    give(page, ("large.gif", data), media_type="image/gif")
    expect(page.locator("#problem-advice")).to_have_text(
        "Each frame would have 1200 × 1200 pixels; the limit is 0.48 megapixels."
    )
    offers = page.locator("#offers button")
    expect(offers).to_have_text(
        ["1×, cleaned only: 150 × 150.", "2×: 300 × 300.", "4×: 600 × 600."]
    )
    offers.nth(1).click()
    expect_result(page, "300 × 300")
    assert sent_to(sent, "/model/estimate") == []
    assert service.received == 1


def test_the_size_of_a_restored_job_is_neither_stated_nor_offered(page, give, gif):
    choose(page, 2)
    give(page, ("cat.gif", gif), media_type="image/gif")
    wait_until_done(page)
    page.reload()
    expect_result(page, "48 × 32")
    expect(page.locator("#size-buttons [data-scale='2']")).to_be_disabled()
    expect(page.locator("#size-buttons [aria-pressed=true]")).to_have_count(0)
    expect(page.locator("#size-note")).to_be_empty()


def test_the_pictures_of_an_archive_get_the_size(page, give, picture):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as pictures:
        pictures.writestr("a.png", picture)
    choose(page, 2)
    give(page, ("photos.zip", file.getvalue()), media_type="application/zip")
    expect(page.locator("#size-note")).to_have_text("2 times as wide and high.")
    wait_until_done(page)
    name, saved = save(page)
    assert name == "photos_x2.zip"
    with zipfile.ZipFile(io.BytesIO(saved)) as results, results.open(results.namelist()[0]) as one:
        assert Image.open(one).size == (48, 32)
