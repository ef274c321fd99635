"""Accessibility and layout: contrast, names and sizes, light and dark, wide and narrow."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.gestures import wait_until_done

GRAVE = ("serious", "critical")
LEAST_TARGET_PX = 24

SMALL_TARGETS = """(least) => [
    ...document.querySelectorAll("a, button, input, select, summary, [role=slider]")]
  .filter((e) => e.checkVisibility() && !e.matches("p a, .skip"))
  .map((e) => [e.id || e.textContent, e.getBoundingClientRect()])
  .filter(([, box]) => box.width < least || box.height < least)
  .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)"""


@pytest.fixture(
    params=[
        ("light", 1440),
        ("dark", 360),
        pytest.param(("dark", 1440), marks=pytest.mark.thorough),
        pytest.param(("light", 360), marks=pytest.mark.thorough),
    ],
    ids=str,
)
def looked_at(request, open_page):
    scheme, width = request.param
    return open_page(color_scheme=scheme, viewport={"width": width, "height": 800})


@pytest.fixture(params=[1440, 360])
def sized(request, open_page):
    return open_page(viewport={"width": request.param, "height": 800})


def grave_violations(page):
    found = Axe().run(page).response["violations"]
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in GRAVE
    ]


def test_pictures_are_accessible(looked_at, give, picture):
    assert grave_violations(looked_at) == []
    give(looked_at, ("cat.png", picture))
    wait_until_done(looked_at)
    looked_at.click("summary")
    looked_at.select_option("#format", "jpeg")
    assert grave_violations(looked_at) == []
    give(looked_at, ("notes.png", b"Hello, world"))
    looked_at.click("#frames .frame >> nth=1")
    expect(looked_at.locator("#problem")).to_be_visible()
    assert grave_violations(looked_at) == []


def test_clips_are_accessible(looked_at, give, gif, service):
    service.gate.clear()
    give(looked_at, ("cat.gif", gif), media_type="image/gif")
    expect(looked_at.locator("#working-text")).to_contain_text("frames.")
    assert grave_violations(looked_at) == []
    service.gate.set()
    wait_until_done(looked_at)
    assert grave_violations(looked_at) == []
    assert looked_at.evaluate(SMALL_TARGETS, LEAST_TARGET_PX) == []
    assert looked_at.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_divider_is_as_large_as_a_finger(page, give, picture):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    grip = page.locator("#divider circle").bounding_box()
    assert 36 < grip["width"] < 48
    assert 36 < grip["height"] < 48


def test_the_accessibility_check_finds_a_planted_problem(page):
    page.evaluate("document.getElementById('choose').setAttribute('aria-label', ' ')")
    page.evaluate("document.getElementById('choose').textContent = ''")
    assert [name for name, _ in grave_violations(page)] == ["button-name"]


def test_controls_are_large_enough_and_nothing_overflows(sized, give, picture):
    give(sized, ("a-rather-long-name-of-a-picture-of-a-cat.png", picture))
    wait_until_done(sized)
    assert sized.evaluate(SMALL_TARGETS, LEAST_TARGET_PX) == []
    assert sized.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_follows_the_colour_scheme(page):
    levels = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        levels.append(int(colour.removeprefix("rgb(").split(",")[0]))
    assert levels[0] < 50 < 200 < levels[1]


def test_that_details_are_invented_is_always_in_view(sized, give, picture):
    give(sized, ("cat.png", picture))
    wait_until_done(sized)
    for place in (0, 400, 100_000):
        sized.evaluate(f"scrollTo({{top: {place}, behavior: 'instant'}})")
        expect(sized.locator(".truth")).to_be_in_viewport()
    sized.click(".truth a")
    expect(sized.locator("#limits-title")).to_be_in_viewport()


def test_each_stage_is_announced_once(page, give, picture):
    page.evaluate(
        """() => {
          window.heard = [];
          const status = document.getElementById("status");
          new MutationObserver(() => heard.push(status.textContent))
            .observe(status, { childList: true });
        }"""
    )
    give(page, ("cat.png", picture))
    wait_until_done(page)
    heard = page.evaluate("heard")
    assert heard[-1] == "cat.png: done"
    assert len(heard) == len(set(heard)) <= 5


def test_reduced_motion_stops_all_animation(open_page):
    page = open_page(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert page.locator("#choose").evaluate("(e) => getComputedStyle(e).transitionDuration") == "0s"
