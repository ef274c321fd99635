import pytest

from training.data.download import LONGEST_WAIT_S, RequestPacer, ServerDelayRetry


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Answer:
    def __init__(self, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def clock():
    return Clock()


def test_requests_are_spaced_evenly(clock):
    pace = RequestPacer(30, clock, clock.sleep)
    times = []
    for _ in range(4):
        pace.wait()
        times.append(clock.now - 100)
    assert times == [0, 2, 4, 6]


def test_time_that_passed_anyway_is_not_waited_again(clock):
    pace = RequestPacer(30, clock, clock.sleep)
    pace.wait()
    clock.now += 10
    pace.wait()
    assert clock.now == 110


@pytest.mark.parametrize(("seconds", "waited"), [(7, 7), (1, 2), (10_000, LONGEST_WAIT_S)])
def test_a_pause_delays_the_next_request(clock, seconds, waited):
    pace = RequestPacer(30, clock, clock.sleep)
    pace.wait()
    pace.pause(seconds)
    pace.wait()
    assert clock.now - 100 == waited


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "3", "X_RateLimit_Reset": "9"}, 3),
        ({"X_RateLimit_Reset": "9"}, 9),
        ({"X_RateLimit_Reset": "soon"}, None),
        ({"X_RateLimit_Reset": "99999"}, 120),
        ({"Retry_After": "99999"}, 120),
    ],
)
def test_the_server_says_how_long_to_wait(headers, seconds):
    retry = ServerDelayRetry(retry_after_max=120)
    assert retry.get_retry_after(Answer(**headers)) == seconds
