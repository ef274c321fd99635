import threading
import time

import pytest

from core.errors import DeadlineExceeded, Overloaded, RequestAbandoned, TooMuchMemory
from core.runtime.admission import MAX_OVERTAKEN_S, Admission
from core.runtime.scheduler import RequestDeadline
from tests.support.waiting import wait_until

TIMEOUT_S = 10


def admission(queue=2, clock=time.monotonic):
    return Admission(budget=100, queue=queue, backlog_s=lambda: 7.2, clock=clock)


class Guest(threading.Thread):
    """Stays until it is told to go."""

    def __init__(self, house, cost, **options):
        super().__init__(daemon=True)
        self.inside, self.leave = threading.Event(), threading.Event()
        self.error = None
        self._visit = (house, cost, options)
        self.start()

    def run(self):
        house, cost, options = self._visit
        try:
            with house.admit(cost, **options):
                self.inside.set()
                assert self.leave.wait(TIMEOUT_S)
        except Exception as error:
            self.error = error


def test_requests_that_fit_are_admitted_and_free_their_memory_afterwards():
    house = admission()
    first, second = Guest(house, 60), Guest(house, 40)
    assert first.inside.wait(TIMEOUT_S)
    assert second.inside.wait(TIMEOUT_S)
    third = Guest(house, 50)
    wait_until(lambda: house.waiting == 1)
    assert not third.inside.is_set()
    first.leave.set()
    assert third.inside.wait(TIMEOUT_S)
    for guest in (second, third):
        guest.leave.set()
        guest.join()


def test_a_request_beyond_the_whole_budget_is_refused_at_once():
    with (
        pytest.raises(TooMuchMemory, match="at most 0 MB of memory. Received: .* 1 MB"),
        admission().admit(101),
    ):
        pass


def test_a_full_queue_says_when_to_try_again():
    house = admission(queue=1)
    with house.admit(90):
        waiting = Guest(house, 50)
        wait_until(lambda: house.waiting == 1)
        with (
            pytest.raises(Overloaded, match="At most 1 pictures may wait") as caught,
            house.admit(50),
        ):
            pass
        assert caught.value.retry_after_s == 8
    assert waiting.inside.wait(TIMEOUT_S)
    waiting.leave.set()
    waiting.join()


def test_small_requests_overtake_a_large_one_only_for_a_while():
    now = [0.0]
    house = admission(clock=lambda: now[0])
    with house.admit(50):
        large = Guest(house, 80)
        wait_until(lambda: house.waiting == 1)
        with house.admit(10):
            pass  # passed
        now[0] = MAX_OVERTAKEN_S + 1
        small = Guest(house, 10)
        wait_until(lambda: house.waiting == 2)
        assert not small.inside.wait(0.05)
    assert large.inside.wait(TIMEOUT_S)
    assert small.inside.wait(TIMEOUT_S)
    for guest in (large, small):
        guest.leave.set()
        guest.join()


@pytest.mark.parametrize(
    ("deadline", "error"),
    [
        (RequestDeadline(at_s=0.0), DeadlineExceeded),
        (RequestDeadline(is_gone=lambda: True), RequestAbandoned),
    ],
)
def test_a_request_leaves_the_queue_at_its_deadline_or_with_its_caller(deadline, error):
    house = admission()
    with house.admit(90):
        with pytest.raises(error), house.admit(50, deadline):
            pass
        with house.admit(10):
            pass


def test_a_failed_request_frees_its_memory():
    house = admission()
    with pytest.raises(ZeroDivisionError), house.admit(100):
        raise ZeroDivisionError
    with house.admit(100):
        pass


def test_the_reserved_memory_is_counted():
    house = admission()
    with house.admit(30), house.admit(20):
        assert (house.taken, house.waiting) == (50, 0)
    assert house.taken == 0


def test_the_number_of_requests_before_each_is_known():
    house, callers = admission(), [RequestDeadline(), RequestDeadline()]
    with house.admit(90):
        guests = []
        for number, caller in enumerate(callers):
            guests.append(Guest(house, 50, deadline=caller))
            wait_until(lambda number=number: house.waiting == number + 1)
        assert [house.before(caller) for caller in callers] == [0, 1]
        assert house.before(RequestDeadline()) is None
    for guest in guests:
        guest.leave.set()
        guest.join()
    assert house.before(callers[0]) is None
