import threading
import time

import numpy as np
import pytest

from core.errors import DeadlineExceeded, RequestAbandoned
from core.runtime.scheduler import PASSED_OVER_S, Lane, RequestDeadline, TileTask
from tests.support.waiting import wait_until

PATIENCE_S = 10


def result(number):
    return np.full((1, 1, 3), number, np.uint8)


def tasks(count, work=1, run=result):
    return [TileTask(lambda number=number: run(number), work) for number in range(count)]


def numbers(results):
    return [int(array[0, 0, 0]) for array in results]


class Gate:
    """Tasks that note when they run, the first of them only once it is let through."""

    def __init__(self):
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.order = []

    def tasks(self, name, count, work):
        def run(number):
            self.entered.set()
            assert self.opened.wait(PATIENCE_S)
            self.order.append(name)
            return result(number)

        return tasks(count, work, run)


def take_in_thread(lane, tasks, **options):
    thread = threading.Thread(target=lambda: list(lane.run(tasks, ahead=99, **options)))
    thread.start()
    return thread


def test_results_come_in_their_order():
    assert numbers(Lane().run(tasks(20), ahead=3)) == list(range(20))


def test_the_least_work_left_goes_first():
    lane, gate = Lane(clock=lambda: 0.0), Gate()
    threads = [take_in_thread(lane, gate.tasks("large", 3, 1000))]
    assert gate.entered.wait(PATIENCE_S)  # the large one has begun
    for name, work in (("middle", 100), ("small", 1)):
        threads.append(take_in_thread(lane, gate.tasks(name, 2, work)))
    wait_until(lambda: len(lane._jobs) == 3)
    gate.opened.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert gate.order == ["large", "small", "small", "middle", "middle", "large", "large"]


def test_who_is_passed_over_long_enough_comes_next():
    now = [0.0]
    lane, gate = Lane(clock=lambda: now[0]), Gate()
    first = take_in_thread(lane, gate.tasks("first", 1, 1))
    assert gate.entered.wait(PATIENCE_S)
    large = take_in_thread(lane, gate.tasks("large", 1, 1_000_000))
    wait_until(lambda: len(lane._jobs) == 2)
    now[0] = 3600.0
    small = take_in_thread(lane, gate.tasks("small", 1, 1))
    wait_until(lambda: len(lane._jobs) == 3)
    gate.opened.set()
    for thread in (first, large, small):
        thread.join(PATIENCE_S)
    assert gate.order == ["first", "large", "small"]


def test_pictures_go_before_the_background_however_large_they_are():
    lane, gate = Lane(), Gate()
    threads = [take_in_thread(lane, gate.tasks("job", 3, 1), is_background=True)]
    assert gate.entered.wait(PATIENCE_S)  # one of its tiles is being computed
    threads.append(take_in_thread(lane, gate.tasks("picture", 2, 1_000_000)))
    wait_until(lambda: len(lane._jobs) == 2)
    assert lane.backlog_s == pytest.approx(lane.seconds(2_000_000))
    gate.opened.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert gate.order == ["job", "picture", "picture", "job", "job"]


def test_after_a_picture_the_lane_is_kept_free_for_the_time_of_a_tile():
    now, tile_s, order = [0.0], 0.5, []
    lane = Lane(clock=lambda: now[0])

    def run(name):
        def run(number):
            now[0] += tile_s
            order.append(name)
            return result(number)

        return run

    list(lane.run(tasks(150, work=50, run=run("first")), ahead=999))
    assert lane.seconds(50) == pytest.approx(tile_s, rel=0.5)
    thread = take_in_thread(lane, tasks(1, work=50, run=run("job")), is_background=True)
    wait_until(lambda: len(lane._jobs) == 1)
    time.sleep(0.05)
    list(lane.run(tasks(1, work=50, run=run("second")), ahead=1))
    now[0] += 2 * tile_s
    thread.join(PATIENCE_S)
    assert order[-2:] == ["second", "job"]


def test_the_background_has_a_tile_now_and_then():
    now = [0.0]
    lane, order = Lane(clock=lambda: now[0]), []

    def picture(number):
        now[0] += 0.5
        order.append("picture")
        return result(number)

    def job(number):
        order.append("job")
        return result(number)

    gate = Gate()
    first = take_in_thread(lane, gate.tasks("first", 1, 1))
    assert gate.entered.wait(PATIENCE_S)
    threads = [take_in_thread(lane, tasks(2, run=job), is_background=True)]
    threads.append(take_in_thread(lane, tasks(10, run=picture)))
    wait_until(lambda: len(lane._jobs) == 3)
    gate.opened.set()
    for thread in [first, *threads]:
        thread.join(PATIENCE_S)
    every = round(PASSED_OVER_S / 0.5)
    assert order.index("job") == every
    assert order.index("job", every + 1) == 2 * every + 1


def test_results_that_nobody_takes_hold_their_picture_up_and_no_other():
    lane, ran = Lane(), []
    slow = lane.run(tasks(50, run=lambda number: ran.append(number) or result(number)), ahead=2)
    next(slow)
    assert numbers(lane.run(tasks(5), ahead=2)) == list(range(5))
    assert len(ran) <= 3
    assert numbers(slow) == list(range(1, 50))


def test_what_is_closed_is_not_computed():
    lane, ran = Lane(), []
    results = lane.run(tasks(50, run=lambda n: ran.append(n) or result(n)), ahead=2)
    next(results)
    results.close()
    list(lane.run(tasks(5), ahead=2))
    assert len(ran) <= 4
    assert lane.backlog_s == 0


def test_a_failure_belongs_to_its_picture():
    lane = Lane()

    def fail(_number):
        raise ZeroDivisionError("of this tile")

    with pytest.raises(ZeroDivisionError, match="of this tile"):
        list(lane.run(tasks(3, run=fail), ahead=2))
    assert numbers(lane.run(tasks(3), ahead=2)) == [0, 1, 2]


def test_a_deadline_that_passes_ends_the_picture():
    lane, gate = Lane(), Gate()
    patience = RequestDeadline(deadline=time.monotonic() + 0.05)
    with pytest.raises(DeadlineExceeded, match="before its deadline"):
        list(lane.run(gate.tasks("late", 3, 1), ahead=2, patience=patience))
    gate.opened.set()
    assert lane.backlog_s == 0


def test_a_deadline_counts_for_those_who_take_their_time_too():
    now = [0.0]
    lane = Lane(clock=lambda: now[0])
    results = lane.run(tasks(3), ahead=3, patience=RequestDeadline(deadline=10.0))
    next(results)
    wait_until(lambda: len(lane._jobs[0].results) == 2)
    now[0] = 11.0
    with pytest.raises(DeadlineExceeded):
        next(results)


def test_a_caller_who_has_gone_ends_the_picture():
    lane, gate = Lane(), Gate()
    patience = RequestDeadline(is_gone=lambda: True)
    with pytest.raises(RequestAbandoned):
        list(lane.run(gate.tasks("given up", 3, 1), ahead=2, patience=patience))
    gate.opened.set()


def test_the_backlog_is_what_is_left_at_the_measured_rate():
    lane = Lane()
    list(lane.run(tasks(30, work=50, run=lambda n: time.sleep(0.001) or result(n)), ahead=2))
    assert 0.5 < lane.seconds(50) / 0.001 < 100
    gate = Gate()
    thread = take_in_thread(lane, gate.tasks("x", 10, 50))
    assert gate.entered.wait(PATIENCE_S)
    assert lane.backlog_s == pytest.approx(lane.seconds(500))
    gate.opened.set()
    thread.join(PATIENCE_S)


def test_many_pictures_at_once_each_get_their_own():
    lane, received = Lane(), {}

    def work(name):
        received[name] = numbers(lane.run(tasks(20, run=lambda n: result(n + name)), ahead=2))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert received == {name: [n + name for n in range(20)] for name in range(30)}


def test_of_each_task_its_time_is_told():
    now, told = [0.0], []
    lane = Lane(clock=lambda: now[0])
    lane.on_done = told.append

    def run(number):
        now[0] += number
        return result(number)

    list(lane.run(tasks(3, run=run), ahead=9))
    assert told == [0.0, 1.0, 2.0]


def test_tasks_that_wait_are_counted():
    lane, gate = Lane(), Gate()
    thread = take_in_thread(lane, gate.tasks("a", 3, 1))
    assert gate.entered.wait(PATIENCE_S)
    assert lane.tiles_waiting == 2
    gate.opened.set()
    thread.join()
    assert lane.tiles_waiting == 0


def test_where_a_picture_is_can_be_known():
    lane, gate = Lane(clock=lambda: 0.0), Gate()
    callers = {name: RequestDeadline() for name in ("large", "small", "job", "middle")}
    threads = [take_in_thread(lane, gate.tasks("large", 3, 1000), patience=callers["large"])]
    assert gate.entered.wait(PATIENCE_S)
    for name, work in (("small", 10), ("job", 1), ("middle", 100)):
        options = {"patience": callers[name], "is_background": name == "job"}
        threads.append(take_in_thread(lane, gate.tasks(name, 2, work), **options))
        wait_until(lambda name=name: lane.standing(callers[name]) is not None)
    standings = {name: lane.standing(caller) for name, caller in callers.items()}
    assert standings["large"] == (0, pytest.approx(lane.seconds(3220)))  # begun: its tile is there
    assert standings["small"] == (0, pytest.approx(lane.seconds(20)))
    assert standings["middle"] == (1, pytest.approx(lane.seconds(220)))
    assert standings["job"].before == 3
    gate.opened.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert lane.standing(callers["large"]) is None


def test_a_picture_whose_results_nobody_takes_is_before_no_other():
    lane, gate, caller = Lane(clock=lambda: 0.0), Gate(), RequestDeadline()
    results = lane.run(tasks(3), ahead=1)
    next(results)
    wait_until(lambda: not any(job.is_ready for job in lane._jobs))
    thread = take_in_thread(lane, gate.tasks("other", 2, 1000), patience=caller)
    assert gate.entered.wait(PATIENCE_S)
    assert lane.standing(caller) == (0, pytest.approx(lane.seconds(2000)))
    gate.opened.set()
    thread.join(PATIENCE_S)
    results.close()
