"""The page of a trial in a browser: keyboard alone, touch, two tabs, and pixels one to one."""

import io
import threading
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from werkzeug.serving import make_server

from tests.support.trials import preparation, write_pictures
from tests.support.waiting import wait_until
from training.opinion.answers import read_answers
from training.opinion.server import create_app
from training.opinion.trial import Design, picture_path, read_trial

QUESTIONS = 6
BROWSER_MESSAGE = "Failed to load resource: "  # about an error status or a failed connection
SIDES_PX = {"height": 120, "width": 160}


@contextmanager
def serving(folder, design):
    """Run the server of a small trial in a thread; yield its URL and the trial's folder."""
    write_pictures(folder, 4, ("a", "b"), **SIDES_PX)
    options = {"design": design, "anchors": 0, "repeats": 0, "screen": (160, 120)}
    preparation(folder, ("a", "b"), **options).run()
    app = create_app(folder / "trial")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", folder / "trial"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["answers"].close()


@pytest.fixture
def open_trial(browser, tmp_path):
    """Open the page of a new trial as a device; yield it with the folder of the trial.

    The console must stay empty.
    """
    contexts, faults = [], []
    servers = ExitStack()

    def open_trial(design, **device):
        url, folder = servers.enter_context(serving(tmp_path, design))
        context = browser.new_context(**device)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url)
        return page, folder

    with servers:
        yield open_trial
        for context in contexts:
            context.close()
    assert [fault for fault in faults if not fault.startswith(BROWSER_MESSAGE)] == []


def assert_accessible(page):
    assert [(v["id"], v["nodes"]) for v in Axe().run(page).response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def assert_pixel_for_pixel(page, path, side):
    """Check that each pixel of a picture is a square of `side` device pixels."""
    expect(page.locator("#picture")).to_be_visible()
    box = page.locator("#picture").bounding_box()
    ratio = page.evaluate("devicePixelRatio")
    left, top = round(box["x"] * ratio), round(box["y"] * ratio)
    with Image.open(path) as image:
        expected = np.array(image).repeat(side, axis=0).repeat(side, axis=1)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        seen = np.array(image.convert("RGB"))
    height, width = expected.shape[:2]
    np.testing.assert_array_equal(seen[top : top + height, left : left + width], expected)


def repeat_until(action, is_done):
    """Repeat an action: the page ignores answers for a moment after a new picture."""

    def try_once():
        if not is_done():
            action()
        return is_done()

    wait_until(try_once)


def answer(page, key, title):
    """Press a key until the page goes on to a question."""
    position = page.locator("#position")
    repeat_until(lambda: page.keyboard.press(key), lambda: position.inner_text() == title)
    expect(page.locator("#picture")).to_be_visible()


def test_scores_are_given_by_keyboard_alone_in_two_tabs(open_trial):
    desktop = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.75}
    page, folder = open_trial(Design.ABSOLUTE, **desktop)
    expect(page.locator("#start-title")).to_be_focused()
    assert_accessible(page)
    for key in ("Tab", "Space", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#conditions-title")).to_be_focused()
    assert_accessible(page)
    for key in ("Tab", "m", "Tab", "6", "Tab", "l", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#position")).to_be_focused()
    expect(page.locator("#position")).to_have_text("Example 1 of 2")
    trial = read_trial(folder)
    assert_pixel_for_pixel(page, picture_path(folder, trial.examples[0].shown[0]), 2)
    repeat_until(lambda: page.keyboard.press("5"), page.locator("#notice").is_visible)
    expect(page.locator("#notice")).to_contain_text("the answer is “Bad”")
    assert_accessible(page)
    answer(page, "1", "Example 2 of 2")
    answer(page, "5", f"Picture 1 of {QUESTIONS}")
    assert_pixel_for_pixel(page, picture_path(folder, trial.orders[0][0][0]), 2)
    answer(page, "2", f"Picture 2 of {QUESTIONS}")

    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#position")).to_have_text(f"Picture 2 of {QUESTIONS}")
    expect(other.locator("#picture")).to_be_visible()
    answer(page, "3", f"Picture 3 of {QUESTIONS}")
    answer(other, "4", f"Picture 3 of {QUESTIONS}")
    expect(other.locator("#notice")).to_contain_text("perhaps in another tab")
    answer(other, "4", f"Picture 4 of {QUESTIONS}")

    page.route("**/api/questions/4/*", lambda route: route.abort())
    page.reload()
    expect(page.locator("#picture")).to_be_visible()
    position = page.locator("#position")
    pressed = lambda: page.keyboard.press("1")  # noqa: E731
    repeat_until(pressed, lambda: position.inner_text() == f"Picture 5 of {QUESTIONS}")
    expect(page.locator("#notice")).to_contain_text("The server cannot be reached.")
    expect(page.locator("#picture")).to_be_hidden()
    page.unroute("**/api/questions/4/*")
    repeat_until(pressed, page.locator("#picture").is_visible)
    expect(position).to_have_text(f"Picture 5 of {QUESTIONS}")
    answer(page, "1", f"Picture 6 of {QUESTIONS}")
    repeat_until(lambda: page.keyboard.press("5"), page.locator("#done").is_visible)
    expect(page.locator("#done-title")).to_be_focused()
    assert_accessible(page)
    conditions, answers = read_answers(folder / "answers.sqlite")
    assert conditions[0].screen == "monitor"
    assert conditions[0].distance == "60 to 100 cm"
    assert [given.value for given in answers] == [2, 3, 4, 1, 1, 5]
    assert {given.pixel_ratio for given in answers} == {1.75}


def test_pairs_are_compared_by_touch_on_a_phone(open_trial):
    phone = {"viewport": {"width": 360, "height": 640}, "device_scale_factor": 2.625}
    phone |= {"is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    page, folder = open_trial(Design.PAIRS, **phone)
    assert_accessible(page)
    page.tap("#agreed")
    page.tap("#agree .primary")
    expect(page.locator("#shown-as")).to_contain_text("3 × 3 pixels")
    for name in ("screen", "distance", "light"):
        page.select_option(f"#{name}", index=1)
    page.tap("#choose .primary")
    expect(page.locator("#position")).to_have_text("Example 1 of 1")
    (first, second) = read_trial(folder).examples[0].shown
    assert_pixel_for_pixel(page, picture_path(folder, first), 3)
    first_is_better = page.locator("#answers button >> nth=0")
    repeat_until(first_is_better.tap, page.locator("#notice").is_visible)
    expect(page.locator("#notice")).to_have_text("Look at both pictures first.")
    assert_accessible(page)
    place = page.locator("#picture").bounding_box()
    page.tap("#parts button >> nth=1")
    expect(page.locator("#parts button >> nth=1")).to_have_attribute("aria-pressed", "true")
    assert_pixel_for_pixel(page, picture_path(folder, second), 3)
    assert page.locator("#picture").bounding_box() == place
    first_is_better.tap()
    expect(page.locator("#position")).to_have_text("Pair 1 of 3")
    expect(page.locator("#picture")).to_be_visible()
    code = page.inner_text("#code")
    page.goto(page.url.split("#")[0])
    page.fill("#resume-code", code.lower())
    page.tap("#resume button")
    expect(page.locator("#position")).to_have_text("Example 1 of 1")
    page.tap("#withdraw")
    assert_accessible(page)
    page.tap("#confirm button >> nth=1")
    expect(page.locator("#notice")).to_have_text("Your answers are deleted.")
    assert read_answers(folder / "answers.sqlite") == ({}, [])
