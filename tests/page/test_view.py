"""The view of the result: mouse, keyboard and touch."""

import pytest
from playwright.sync_api import expect

from tests.support.gestures import colours, divider_at, save, wait_until_done, zoom_of
from tests.support.waiting import wait_until

PHONE = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}


@pytest.fixture
def shown(page, give, picture):
    """A page with a finished picture."""
    give(page, ("cat.png", picture))
    wait_until_done(page)
    expect(page.locator("#zoom")).not_to_have_text("1 %")  # the view's size comes a frame later
    return page


def tab_to(page, element):
    """Press Tab until an element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if (
            page.evaluate("document.activeElement.id || document.activeElement.innerText")
            == element
        ):
            return
    raise AssertionError(f"{element} must be reached by Tab. It was not.")


def test_everything_can_be_done_by_keyboard(page):
    tab_to(page, "coins")
    page.keyboard.press("Enter")
    wait_until_done(page)
    page.keyboard.press("Home")
    page.evaluate("document.querySelector('.skip').focus()")
    tab_to(page, "divider")
    for key, expected in (
        ("ArrowRight", 51),
        ("ArrowLeft", 50),
        ("PageUp", 60),
        ("Home", 0),
        ("End", 100),
    ):
        page.keyboard.press(key)
        wait_until(lambda expected=expected: divider_at(page) == expected)
    fit = zoom_of(page)
    page.keyboard.press("+")
    assert zoom_of(page) > fit
    page.keyboard.press("2")
    assert zoom_of(page) == 200
    page.keyboard.press("0")
    assert zoom_of(page) == fit
    page.keyboard.press("l")
    expect(page.locator("#loupe")).to_have_attribute("aria-pressed", "true")
    tab_to(page, "save-button")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "coins_4x.png"


@pytest.mark.parametrize(("button", "percent"), [("1", 100), ("2", 200), ("4", 400)])
def test_the_zoom_can_be_chosen(shown, button, percent):
    shown.click(f"[data-zoom='{button}']")
    assert zoom_of(shown) == percent
    expect(shown.locator(f"[data-zoom='{button}']")).to_have_attribute("aria-pressed", "true")
    shown.click("[data-zoom=fit]")
    expect(shown.locator("[data-zoom=fit]")).to_have_attribute("aria-pressed", "true")


def test_the_wheel_zooms_with_ctrl_only(shown):
    fit = zoom_of(shown)
    shown.locator("#canvas").hover(position={"x": 200, "y": 200})
    shown.mouse.wheel(0, 1)
    assert zoom_of(shown) == fit
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -40)
    shown.keyboard.up("Control")
    expect(shown.locator("#zoom")).not_to_have_text(f"{fit} %")
    assert zoom_of(shown) > fit


def test_a_zoomed_picture_is_moved_and_the_divider_stays(shown):
    for _ in range(2):
        shown.click("[data-zoom=in]")
    before = shown.locator("#canvas").screenshot()
    box = shown.locator("#view").bounding_box()
    shown.mouse.move(box["x"] + 100, box["y"] + 100)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 160, box["y"] + 130, steps=3)
    shown.mouse.up()
    shown.wait_for_timeout(60)
    assert divider_at(shown) == 50
    assert shown.locator("#canvas").screenshot() != before


def test_the_input_is_shown_smooth_or_as_its_pixels(shown):
    shown.locator("#divider").press("End")
    shown.wait_for_timeout(60)
    smooth = colours(shown)
    shown.click("[data-base=pixels]")
    shown.wait_for_timeout(60)
    assert colours(shown) <= 24 * 16 < smooth
    expect(shown.locator("[data-base=pixels]")).to_have_attribute("aria-pressed", "true")


def test_the_loupe_follows_the_mouse(shown):
    assert colours(shown, "#lens") == 0
    shown.click("#loupe")
    shown.locator("#canvas").hover(position={"x": 300, "y": 300})
    shown.wait_for_timeout(60)
    here = shown.locator("#view").screenshot()
    assert colours(shown, "#lens") > 2
    shown.locator("#canvas").hover(position={"x": 500, "y": 300})
    shown.wait_for_timeout(60)
    assert shown.locator("#view").screenshot() != here
    shown.click("#loupe")
    shown.wait_for_timeout(60)
    assert colours(shown, "#lens") == 0


class Fingers:
    """Touch events on a page."""

    def __init__(self, page):
        self.page = page
        self.session = page.context.new_cdp_session(page)

    def touch(self, kind, *points):
        at = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
        self.page.wait_for_timeout(40)


def test_fingers_move_the_divider_and_pinch(open_page, give, picture, answer):
    page = open_page(**PHONE)
    give(page, ("cat.png", picture))
    wait_until_done(page)
    seen = page.locator("#seen").bounding_box()
    middle = seen["y"] + seen["height"] / 2
    fingers = Fingers(page)
    fingers.touch("touchStart", (seen["x"] + seen["width"] / 2, middle))
    for share in (0.4, 0.3, 0.2):
        fingers.touch("touchMove", (seen["x"] + share * seen["width"], middle))
    fingers.touch("touchEnd")
    assert divider_at(page) == pytest.approx(20, abs=2)
    fit = zoom_of(page)
    fingers.touch("touchStart", (150, middle))
    fingers.touch("touchStart", (150, middle), (210, middle))
    for apart in (60, 90, 120):
        fingers.touch("touchMove", (180 - apart, middle), (180 + apart, middle))
    fingers.touch("touchEnd")
    assert zoom_of(page) > 2 * fit
    assert save(page) == ("cat_4x.png", answer(picture))
