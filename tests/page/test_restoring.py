"""Restoring in a browser: what the service decides, what the user chooses, and the comparison."""

from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from api.context import EXTENSION
from tests.support.gestures import colours, divider_at, save, wait_until_done
from tests.support.stand_in_service import StandInService, running
from tests.support.stand_ins import lighten, make_restorer
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    with running(StandInService(folder, restorer=make_restorer(lighten))) as service:
        yield service


@pytest.fixture(autouse=True)
def judged(monkeypatch):
    """Auto restores at a strength that a test may change."""
    strength = [0.62]
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda _lr: strength[0])
    return strength


@pytest.fixture
def shown(page, give, picture):
    """A page with a finished picture."""
    give(page, ("cat.png", picture))
    wait_until_done(page)
    return page


@pytest.fixture
def press(shown, service):
    """Press a key at an element, and wait until the picture is upscaled again."""

    def press(element, key):
        service.gate.clear()
        shown.press(element, key)
        expect(shown.locator("#frames li[data-stage=computing]")).to_have_count(1)
        service.gate.set()
        wait_until_done(shown)

    return press


def test_the_page_shows_what_the_service_has_decided(shown, picture, answer):
    expect(shown.locator("#restore-value")).to_have_text("auto: 0.62")
    expect(shown.locator("#restore-auto")).to_be_checked()
    assert "0.62, decided by the picture" in shown.locator("#fact-restored").inner_text()
    assert save(shown) == ("cat_4x.png", answer(picture))


def test_moving_the_slider_by_key_chooses_a_strength(shown, press, picture, answer):
    press("#restore", "End")
    expect(shown.locator("#restore-auto")).not_to_be_checked()
    expect(shown.locator("#restore-value")).to_have_text("1.00")
    assert save(shown) == ("cat_4x.png", answer(picture, restore="1"))
    press("#restore-auto", "Space")
    expect(shown.locator("#restore-value")).to_have_text("auto: 0.62")


def test_the_command_states_the_strength(shown, press):
    shown.click("summary")
    command = shown.locator("#command")
    expect(command).to_contain_text("-F restore=auto")
    press("#restore", "Home")
    expect(command).to_contain_text("-F restore=0")


def test_the_divider_compares_with_the_result_that_is_not_restored(shown, service):
    shown.press("#divider", "End")
    shown.click("#plain")
    expect(shown.locator("#tag-before")).to_have_text("result, not restored")
    expect(shown.locator("#plain")).to_have_attribute("aria-pressed", "true")
    assert service.received == 2
    assert colours(shown) > 1
    shown.click("[data-base=smooth]")
    expect(shown.locator("#tag-before")).to_have_text("your picture")
    shown.click("#plain")
    expect(shown.locator("#tag-before")).to_have_text("result, not restored")
    assert service.received == 2
    assert divider_at(shown) == 100


def test_a_new_result_is_compared_with_a_new_one_that_is_not_restored(shown, press, service):
    shown.click("#plain")
    expect(shown.locator("#tag-before")).to_have_text("result, not restored")
    press("#detail", "Home")
    wait_until(lambda: service.received == 4)
    expect(shown.locator("#tag-before")).to_have_text("result, not restored")


def test_a_picture_that_is_not_restored_has_nothing_to_compare_with(page, give, picture, judged):
    judged[0] = 0.0
    give(page, ("cat.png", picture))
    wait_until_done(page)
    expect(page.locator("#restore-value")).to_have_text("auto: 0.00")
    expect(page.locator("#plain")).to_be_hidden()
    expect(page.locator("#fact-restored")).to_be_hidden()


def test_a_clip_shows_the_strength_of_its_frames(page, give, gif):
    give(page, ("cat.gif", gif), media_type="image/gif")
    wait_until_done(page)
    expect(page.locator("#restore-value")).to_have_text("auto: 0.62")
    expect(page.locator("#plain")).to_be_hidden()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 360)])
def test_the_controls_are_accessible(open_page, give, picture, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    give(page, ("cat.png", picture))
    wait_until_done(page)
    expect(page.locator("#plain")).to_be_visible()
    violations = Axe().run(page).response["violations"]
    assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_begins_with_the_default_of_the_service(open_page, give, picture, service):
    extensions = service.app.extensions
    before = extensions[EXTENSION]
    extensions[EXTENSION] = replace(before, restore=0.5)
    try:
        page = open_page()
        give(page, ("cat.png", picture))
        wait_until_done(page)
        expect(page.locator("#restore-auto")).not_to_be_checked()
        expect(page.locator("#restore-value")).to_have_text("0.50")
    finally:
        extensions[EXTENSION] = before


@pytest.mark.parametrize("width", [390, 1280])
def test_controls_stand_apart_and_texts_stand_beside_their_checkboxes(
    open_page, give, picture, width
):
    page = open_page(viewport={"width": width, "height": 800})
    give(page, ("cat.png", picture))
    wait_until_done(page)
    detail, restore = (
        page.locator(f"#{name}-field").bounding_box() for name in ("detail", "restore")
    )
    assert restore["y"] - (detail["y"] + detail["height"]) >= 12
    distance = page.locator("#restore-auto").evaluate(
        """(box) => {
          const text = document.createRange();
          text.selectNodeContents(box.nextSibling);
          return text.getBoundingClientRect().left - box.getBoundingClientRect().right;
        }"""
    )
    assert 4 <= distance <= 20
