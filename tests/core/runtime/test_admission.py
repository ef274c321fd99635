import threading
import time

import pytest

from core.errors import DeadlineExceeded, Overloaded, RequestAbandoned, TooMuchMemory
from core.runtime.admission import MAX_OVERTAKEN_S, Admission, Resident
from core.runtime.tile_tasks import RequestDeadline
from tests.support.waiting import wait_until

TIMEOUT_S = 10


def create_admission(queue=2, clock=time.monotonic):
    return Admission(budget=100, queue=queue, backlog_s=lambda: 7.2, clock=clock)


class RequestThread(threading.Thread):
    """Holds its memory until `finish` is set."""

    def __init__(self, admission, cost, **options):
        super().__init__(daemon=True)
        self.admitted, self.finish = threading.Event(), threading.Event()
        self.error = None
        self._arguments = (admission, cost, options)
        self.start()

    def run(self):
        admission, cost, options = self._arguments
        try:
            with admission.admit(cost, **options):
                self.admitted.set()
                assert self.finish.wait(TIMEOUT_S)
        except Exception as error:
            self.error = error


def test_requests_that_fit_are_admitted_and_free_their_memory_afterwards():
    admission = create_admission()
    first, second = RequestThread(admission, 60), RequestThread(admission, 40)
    assert first.admitted.wait(TIMEOUT_S)
    assert second.admitted.wait(TIMEOUT_S)
    third = RequestThread(admission, 50)
    wait_until(lambda: admission.waiting == 1)
    assert not third.admitted.is_set()
    first.finish.set()
    assert third.admitted.wait(TIMEOUT_S)
    for thread in (second, third):
        thread.finish.set()
        thread.join()


def test_a_request_beyond_the_whole_budget_is_refused_at_once():
    with (
        pytest.raises(TooMuchMemory, match="at most 0 MB of memory. Received: .* 1 MB"),
        create_admission().admit(101),
    ):
        pass


def test_a_full_queue_says_when_to_try_again():
    admission = create_admission(queue=1)
    with admission.admit(90):
        waiting = RequestThread(admission, 50)
        wait_until(lambda: admission.waiting == 1)
        with (
            pytest.raises(Overloaded, match="At most 1 pictures may wait") as caught,
            admission.admit(50),
        ):
            pass
        assert caught.value.retry_after_s == 8
    assert waiting.admitted.wait(TIMEOUT_S)
    waiting.finish.set()
    waiting.join()


def test_the_background_gets_its_turn_however_full_the_queue_is():
    now, caller = [0.0], RequestDeadline()
    admission = create_admission(queue=1, clock=lambda: now[0])
    with admission.admit(100):
        job = RequestThread(admission, 100, deadline=caller, is_background=True)
        wait_until(lambda: admission.before(caller) == 0)
        assert admission.waiting == 0
        picture = RequestThread(admission, 100)
        wait_until(lambda: admission.waiting == 1)
        with pytest.raises(Overloaded), admission.admit(100):
            pass
        second = RequestThread(admission, 100, is_background=True)
        now[0] = MAX_OVERTAKEN_S + 1
    assert job.admitted.wait(TIMEOUT_S)
    assert not picture.admitted.is_set()
    for thread in (job, picture, second):
        thread.finish.set()
        thread.join()
        assert thread.error is None


def test_small_requests_overtake_a_large_one_only_for_a_while():
    now = [0.0]
    admission = create_admission(clock=lambda: now[0])
    with admission.admit(50):
        large = RequestThread(admission, 80)
        wait_until(lambda: admission.waiting == 1)
        with admission.admit(10):
            pass  # passed
        now[0] = MAX_OVERTAKEN_S + 1
        small = RequestThread(admission, 10)
        wait_until(lambda: admission.waiting == 2)
        assert not small.admitted.wait(0.05)
    assert large.admitted.wait(TIMEOUT_S)
    assert small.admitted.wait(TIMEOUT_S)
    for thread in (large, small):
        thread.finish.set()
        thread.join()


@pytest.mark.parametrize(
    ("deadline", "error"),
    [
        (RequestDeadline(at_s=0.0), DeadlineExceeded),
        (RequestDeadline(is_gone=lambda: True), RequestAbandoned),
    ],
)
def test_a_request_leaves_the_queue_at_its_deadline_or_with_its_caller(deadline, error):
    admission = create_admission()
    with admission.admit(90):
        with pytest.raises(error), admission.admit(50, deadline):
            pass
        with admission.admit(10):
            pass


def test_a_failed_request_frees_its_memory():
    admission = create_admission()
    with pytest.raises(ZeroDivisionError), admission.admit(100):
        raise ZeroDivisionError
    with admission.admit(100):
        pass


def test_the_reserved_memory_is_counted():
    admission = create_admission()
    with admission.admit(30), admission.admit(20):
        assert (admission.taken, admission.waiting) == (50, 0)
    assert admission.taken == 0


def test_the_number_of_requests_before_each_is_known():
    admission, callers = create_admission(), [RequestDeadline(), RequestDeadline()]
    with admission.admit(90):
        threads = []
        for number, caller in enumerate(callers):
            threads.append(RequestThread(admission, 50, deadline=caller))
            wait_until(lambda number=number: admission.waiting == number + 1)
        assert [admission.before(caller) for caller in callers] == [0, 1]
        assert admission.before(RequestDeadline()) is None
    for thread in threads:
        thread.finish.set()
        thread.join()
    assert admission.before(callers[0]) is None


def create_resident(evicted, name, cost):
    return Resident(cost, lambda: evicted.append(name))


def test_a_resident_stays_until_its_memory_is_needed_the_least_recently_used_first():
    now, evicted = [0.0], []
    admission = create_admission(clock=lambda: now[0])
    residents = {name: create_resident(evicted, name, 40) for name in ("old", "new", "third")}
    for name in ("new", "old", "new"):
        with admission.admit(5, resident=residents[name]):
            now[0] += 1
    assert admission.taken == 80
    assert evicted == []
    with admission.admit(20, resident=residents["third"]):
        assert evicted == ["old"]
        assert admission.taken == 100
    with admission.admit(100):
        assert evicted == ["old", "new", "third"]
    assert admission.taken == 0


def test_a_resident_in_use_is_not_evicted_and_counts_once():
    evicted = []
    admission = create_admission()
    model = create_resident(evicted, "model", 60)
    first = RequestThread(admission, 10, resident=model)
    assert first.admitted.wait(TIMEOUT_S)
    with admission.admit(10, resident=model):
        assert admission.taken == 80
    other = RequestThread(admission, 50)
    wait_until(lambda: admission.waiting == 1)
    assert evicted == []
    first.finish.set()
    assert other.admitted.wait(TIMEOUT_S)
    assert evicted == ["model"]
    other.finish.set()


def test_a_resident_that_never_fits_is_refused_with_both_numbers():
    admission = Admission(budget=100_000_000, queue=2, backlog_s=lambda: 0.0)
    model = create_resident([], "model", 95_000_000)
    message = "at most 100 MB.*needs 105 MB of memory, of which the model takes 95 MB"
    with (
        pytest.raises(TooMuchMemory, match=message),
        admission.admit(10_000_000, resident=model),
    ):
        pass


def test_a_resident_grows_only_into_memory_that_is_free():
    evicted = []
    admission = create_admission()
    idle, model = create_resident(evicted, "idle", 30), create_resident(evicted, "model", 20)
    with admission.admit(10, resident=idle):
        pass
    with admission.admit(10, resident=model):
        assert admission.grow(model, 80)  # evicts what is idle
        assert evicted == ["idle"]
        assert admission.taken == 90
        assert not admission.grow(model, 95)
        admission.drop(model)
        assert admission.taken == 10
    assert model.cost == 95
