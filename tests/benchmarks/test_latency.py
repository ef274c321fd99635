import pytest

from benchmarks.latency import (
    UnexpectedAnswer,
    inference_ms,
    make_picture,
    measure_end_to_end,
    post,
    retry_after_s,
)
from benchmarks.plan import Repetitions
from core.images import decode_image
from tests.support.stand_in_server import stand_in_server

ONCE = Repetitions(seconds=0, least=1, most=1)


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ("decode;dur=1.2, inference;dur=34.5, encode;dur=6", 34.5),
        ("inference;dur=7", 7.0),
        ("warm-inferences;dur=7", None),
        ("decode;dur=1.2", None),
        ("", None),
    ],
)
def test_the_time_in_the_network_comes_from_server_timing(timing, expected):
    assert inference_ms({"Server-Timing": timing}) == expected


def test_the_time_in_the_network_is_optional():
    assert inference_ms({}) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({}, 1.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0),
    ],
)
def test_a_client_retries_after_retry_after(headers, expected):
    assert retry_after_s(headers) == expected


def test_a_picture_has_the_size_that_was_asked_for():
    picture = decode_image(make_picture(5, 3))
    assert (picture.width, picture.height) == (5, 3)


def test_an_answer_is_timed_as_a_whole():
    with stand_in_server(200) as url:
        (answer,) = measure_end_to_end(url, 5, 3, ONCE)
    assert answer.status == "200"
    assert answer.network_ms == 2.5
    assert answer.end_to_end_ms > 0


def test_a_picture_that_is_not_upscaled_is_an_error():
    with stand_in_server(413) as url, pytest.raises(UnexpectedAnswer, match="Received: 413"):
        measure_end_to_end(url, 5, 3, ONCE)


def test_a_failed_connection_is_an_outcome():
    with stand_in_server() as url:
        pass
    assert post(url, b"").status == "ConnectionError"
