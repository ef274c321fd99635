"""Problems: what the page shows and does."""

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.gestures import save, wait_until_done
from tests.support.stand_in_service import break_off, refuse


def expect_problem(page, title, message=""):
    expect(page.locator("#problem-title")).to_have_text(title)
    expect(page.locator("#problem-message")).to_contain_text(message)


def test_a_file_that_is_not_a_picture_is_explained_with_the_message_of_the_service(page, give):
    give(page, ("notes.png", b"Hello, world"))
    expect_problem(page, "This file cannot be read.", "begin with b'Hello, w'")
    expect(page.locator("#retry")).to_be_hidden()


def test_a_setting_that_the_service_refuses_is_not_blamed_on_the_file(page, give, picture, service):
    service.instead = [refuse(400, "Size must be from 1 to 16 times that of the picture.")]
    give(page, ("cat.png", picture))
    title = "This size or setting does not suit this file."
    expect_problem(page, title, "Size must be from 1 to 16 times")


@pytest.mark.parametrize(
    ("height", "width", "level", "why"),
    [
        (200, 200, 0, "200 × 200 pixels; the limit is 30000 pixels"),
        (4, 310, 0, "310 × 4 pixels; the limit is 300 a side"),
    ],
)
def test_a_picture_of_too_many_pixels_is_not_sent(
    page, give, encode, service, height, width, level, why
):
    give(page, ("large.png", encode(Image.new("L", (width, height), level))))
    expect_problem(page, "This file is too large.")
    expect(page.locator("#problem-advice")).to_contain_text(why)
    assert service.received == 0


def test_a_file_of_too_many_bytes_is_not_sent(page, give, service):
    give(page, ("large.png", bytes(130_000)))
    expect(page.locator("#problem-advice")).to_contain_text("It has 130 kB; the limit is 118 kB")
    assert service.received == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_retried_after_the_time_it_asked_for(
    page, give, picture, service, answer, status
):
    service.instead = [refuse(status, "Come back later.", Retry_After="4")]
    give(page, ("cat.png", picture))
    expect(page.locator("#working-text")).to_contain_text("Next try in 4 s. Come back later.")
    expect(page.locator("#working-text")).to_contain_text("Next try in 3 s.")
    assert service.received == 1
    wait_until_done(page)
    assert save(page) == ("cat_4x.png", answer(picture))


def test_a_busy_service_can_be_retried_at_once(page, give, picture, service):
    service.instead = [refuse(503, "Come back later.", Retry_After="600")]
    give(page, ("cat.png", picture))
    page.click("#now")
    wait_until_done(page)


def test_a_picture_waiting_for_a_busy_service_can_be_cancelled(page, give, picture, service):
    service.instead = [refuse(503, "Come back later.", Retry_After="1")]
    give(page, ("cat.png", picture))
    expect(page.locator("#working-text")).to_contain_text("Next try in")
    page.click("#cancel")
    page.wait_for_timeout(1300)
    expect_problem(page, "Cancelled.")
    assert service.received == 1


def test_cancelling_ends_the_request(page, give, picture, service):
    service.gate.clear()
    give(page, ("cat.png", picture))
    expect(page.locator("#working-text")).to_contain_text("Waiting and computing")
    with page.expect_event("requestfailed") as failed:
        page.click("#cancel")
    assert failed.value.failure == "net::ERR_ABORTED"
    expect_problem(page, "Cancelled.")
    service.gate.set()
    page.click("#retry")
    wait_until_done(page)


def test_an_incomplete_response_is_a_problem(page, give, picture, service):
    service.instead = [break_off]
    give(page, ("cat.png", picture))
    expect_problem(page, "The service does not answer, or stopped in the middle.")
    page.click("#retry")
    wait_until_done(page)


def test_an_internal_error_of_the_service_is_a_problem(page, give, picture, service):
    service.instead = [refuse(500, "Internal Server Error")]
    give(page, ("cat.png", picture))
    expect_problem(page, "The service failed.", "Internal Server Error")


def test_saving_shows_what_went_wrong(page, give, picture, service):
    give(page, ("cat.png", picture))
    wait_until_done(page)
    service.instead = [refuse(503, "Come back later.", Retry_After="7")]
    page.select_option("#format", "avif")
    page.click("#save-button")
    expect(page.locator("#save-note")).to_have_text(
        "The service is busy. Try again in 7 s. Come back later."
    )


def test_a_service_with_a_key_asks_for_it_and_the_tab_keeps_it(page, give, picture, service):
    service.key = "open sesame"
    give(page, ("cat.png", picture))
    expect(page.locator("#key-message")).to_have_text("Request must carry a key.")
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    expect(page.locator("#key")).to_have_value("")
    page.fill("#key", "open sesame")
    page.click("text=Use this key")
    wait_until_done(page)
    assert page.evaluate("localStorage.length") == 0
    assert "sesame" not in page.content()
    assert "X-API-Key: $API_KEY" in page.locator("#command").text_content()


def test_a_picture_fails_without_a_key(page, give, picture, service):
    service.key = "open sesame"
    give(page, ("cat.png", picture))
    page.click("text=Not now")
    expect_problem(page, "The service needs a key.", "Request must carry a key.")


def test_pictures_continue_after_being_offline(page, give, picture):
    page.context.set_offline(True)
    expect(page.locator("#notice")).to_contain_text("You are offline.")
    give(page, ("cat.png", picture))
    expect_problem(page, "You are offline.")
    page.context.set_offline(False)
    wait_until_done(page)
    expect(page.locator("#notice")).to_be_hidden()


def test_dropping_something_other_than_a_file_shows_a_notice(page, give):
    give(page)
    expect(page.locator("#notice")).to_contain_text("That was not a file.")
