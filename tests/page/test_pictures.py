"""Pictures in a browser, from the file to the saved result."""

import io
import subprocess

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from config import ROOT
from tests.support.gestures import divider_at, save, wait_until_done
from tests.support.scaling_attacks import small_attack
from tests.support.stand_in_service import answer_with
from tests.support.stand_ins import noise

SAMPLES = ROOT / "samples" / "test_examples" / "low_resolution"


def drag_divider(page, share):
    """Drag the divider with the mouse to a share of the picture's width."""
    box = page.locator("#seen").bounding_box()
    grip = page.locator("#divider svg").bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + 5, steps=4)
    page.mouse.up()


def test_a_dropped_picture_is_compared_and_saved_as_the_service_sent_it(
    page, give, picture, answer
):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    drag_divider(page, 0.25)
    assert divider_at(page) == pytest.approx(25, abs=1)
    assert save(page) == ("cat_4x.png", answer(picture))


def test_a_picture_can_be_chosen(page, picture):
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files([{"name": "chosen.png", "mimeType": "image/png", "buffer": picture}])
    wait_until_done(page)
    expect(page.locator("#name")).to_have_text("chosen.png")


def test_a_picture_can_be_pasted(page, give, picture, answer):
    give(page, ("image.png", picture), event="paste")
    wait_until_done(page)
    assert save(page) == ("image_4x.png", answer(picture))


def test_a_sample_can_be_upscaled(page, answer):
    page.click("#samples button:has-text('cat')")
    wait_until_done(page)
    assert save(page) == ("cat_4x.png", answer((SAMPLES / "cat.png").read_bytes()))


def test_the_page_shows_the_facts_about_the_result(page, give, picture):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    facts = page.locator("#facts").inner_text()
    for fact in ("24 × 16", "96 × 64", "stand-in 1.2.3", " dB"):
        assert fact in facts
    expect(page.locator("#fact-hidden")).to_be_hidden()


def test_the_page_says_that_a_picture_probably_hides_another_one(page, give, encode):
    give(page, ("cat.png", encode(Image.fromarray(small_attack(96, 128)))))
    wait_until_done(page)
    expect(page.locator("#fact-hidden")).to_contain_text("belong to another picture")


def test_the_consistency_of_an_answer_without_that_header_is_read_from_its_end(
    page, give, encode, service
):
    text = PngInfo()
    text.add(b"tEXt", b"Consistency-PSNR\x0043.21", after_idat=True)
    service.instead = [answer_with(encode(Image.new("RGB", (96, 64)), pnginfo=text))]
    give(page, ("cat.png", encode(Image.new("RGB", (24, 16)))))
    wait_until_done(page)
    assert "43.21 dB" in page.locator("#facts").inner_text()


def test_at_most_two_pictures_are_sent_at_a_time(page, give, picture, service):
    service.gate.clear()
    give(page, *((f"{name}.png", picture) for name in "abc"))
    expect(page.locator("#frames li")).to_have_count(3)
    expect(page.locator("#frames li[data-stage=computing]")).to_have_count(2)
    expect(page.locator("#frames li[data-stage=waiting]")).to_have_count(1)
    service.gate.set()
    wait_until_done(page, 3)
    page.click("#frames .frame >> nth=2")
    expect(page.locator("#name")).to_have_text("c.png")


def test_a_picture_can_be_removed(page, give, picture):
    give(page, ("a.png", picture), ("b.png", picture))
    wait_until_done(page, 2)
    page.click("[aria-label='Remove a.png']")
    expect(page.locator("#name")).to_have_text("b.png")
    page.click("[aria-label='Remove b.png']")
    expect(page.locator("#prompt")).to_be_visible()
    expect(page.locator("#panel")).to_be_hidden()


def test_another_format_is_requested_from_the_service(page, give, picture, answer):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    page.select_option("#format", "webp")
    page.fill("#quality", "40")
    saved = save(page)
    assert saved == ("cat_4x.webp", answer(picture, format="webp", quality="40"))
    assert Image.open(io.BytesIO(saved[1])).format == "WEBP"


def test_the_command_does_the_same(page, give, picture, answer, tmp_path):
    name = """it's, a "cat"; $HOME.png"""
    (tmp_path / name).write_bytes(picture)
    give(page, (name, picture))
    wait_until_done(page)
    page.select_option("#format", "jpeg")
    page.click("summary")
    command = page.locator("#command").inner_text()
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, capture_output=True, timeout=30)
    (made,) = tmp_path.glob("*_4x.jpg")
    assert made.read_bytes() == answer(picture, format="jpeg", quality="90")


def test_the_command_can_be_copied(open_page, give, picture):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    give(page, ("cat.png", picture))
    wait_until_done(page)
    page.click("summary")
    page.click("#copy")
    expect(page.locator("#copied")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#command").inner_text()


def test_a_picture_that_the_browser_cannot_show_is_upscaled(page, give, encode):
    tiff = encode(Image.fromarray(noise(16, 24)), "TIFF")
    give(page, ("scan.tif", tiff), media_type="image/tiff")
    wait_until_done(page)
    expect(page.locator("#tag-before")).to_have_text("result, scaled down")


def test_moving_the_detail_slider_aborts_the_request(page, give, picture, service, answer):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    service.gate.clear()
    aborted = []
    page.on("requestfailed", lambda request: aborted.append((request.method, request.failure)))
    for key in ("Home", "ArrowRight"):
        page.press("#detail", key)
        expect(page.locator("#frames li[data-stage=computing]")).to_have_count(1)
        page.wait_for_timeout(500)
    service.gate.set()
    wait_until_done(page)
    assert [failure for method, failure in aborted if method == "POST"] == ["net::ERR_ABORTED"]
    assert service.received == 3
    assert save(page) == ("cat_4x.png", answer(picture, detail="0.05"))


def test_only_the_last_position_of_the_slider_is_sent(page, give, picture, service):
    page.clock.install()  # a busy machine would make pauses between the keys
    give(page, ("cat.png", picture))
    wait_until_done(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    for _ in range(5):
        page.press("#detail", "ArrowLeft")
        page.clock.run_for(100)
    expect(page.locator("#detail-value")).to_have_text("0.75")
    assert service.received == 1
    page.clock.run_for(600)
    page.clock.resume()
    wait_until_done(page)
    assert service.received == 2


def test_without_a_restorer_there_is_no_slider_for_it(page, give, picture):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    expect(page.locator("#restore-field")).to_be_hidden()
