import threading
import time

import numpy as np
import pytest

from core.errors import DeadlineExceeded, RequestAbandoned
from core.runtime.scheduler import LEAST_SHARE, TileScheduler
from core.runtime.tile_tasks import RequestDeadline, TileTask
from core.runtime.work_rate import INITIAL_RATE, WorkRate
from tests.support.waiting import wait_until

TIMEOUT_S = 10


def result(number):
    return np.full((1, 1, 3), number, np.uint8)


def tasks(count, work=1, run=result):
    return [TileTask(lambda number=number: run(number), work) for number in range(count)]


def numbers(results):
    return [int(array[0, 0, 0]) for array in results]


class Gate:
    """Tasks that record their order; all wait until the gate is opened."""

    def __init__(self):
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.order = []

    def tasks(self, name, count, work):
        def run(number):
            self.entered.set()
            assert self.opened.wait(TIMEOUT_S)
            self.order.append(name)
            return result(number)

        return tasks(count, work, run)


def fetch_in_thread(scheduler, tasks, **options):
    thread = threading.Thread(
        target=lambda: list(scheduler.run(tasks, max_results=9999, **options)), daemon=True
    )
    thread.start()
    return thread


def pictures_in(scheduler):
    return len(scheduler._pictures)  # no public attribute counts them


def has_ready_tasks(scheduler):
    return any(picture.is_ready for picture in scheduler._pictures)  # nor says this


def test_results_come_in_their_order():
    assert numbers(TileScheduler().run(tasks(20), max_results=3)) == list(range(20))


def test_the_least_work_left_goes_first():
    scheduler, gate = TileScheduler(clock=lambda: 0.0), Gate()
    threads = [fetch_in_thread(scheduler, gate.tasks("large", 3, 1000))]
    assert gate.entered.wait(TIMEOUT_S)  # the large one has begun
    for name, work in (("middle", 100), ("small", 1)):
        threads.append(fetch_in_thread(scheduler, gate.tasks(name, 2, work)))
    wait_until(lambda: pictures_in(scheduler) == 3)
    gate.opened.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert gate.order == ["large", "small", "small", "middle", "middle", "large", "large"]


def test_a_picture_that_has_waited_long_enough_is_next():
    now = [0.0]
    scheduler, gate = TileScheduler(clock=lambda: now[0]), Gate()
    first = fetch_in_thread(scheduler, gate.tasks("first", 1, 1))
    assert gate.entered.wait(TIMEOUT_S)
    large = fetch_in_thread(scheduler, gate.tasks("large", 1, 1_000_000))
    wait_until(lambda: pictures_in(scheduler) == 2)
    now[0] = 3600.0
    small = fetch_in_thread(scheduler, gate.tasks("small", 1, 1))
    wait_until(lambda: pictures_in(scheduler) == 3)
    gate.opened.set()
    for thread in (first, large, small):
        thread.join(TIMEOUT_S)
    assert gate.order == ["first", "large", "small"]


def test_pictures_go_before_the_background_however_large_they_are():
    scheduler, gate = TileScheduler(), Gate()
    job = gate.tasks("job", 3, 1_000_000)
    threads = [fetch_in_thread(scheduler, job, is_background=True)]
    assert gate.entered.wait(TIMEOUT_S)  # one of its tiles is being computed
    threads.append(fetch_in_thread(scheduler, gate.tasks("picture", 2, 1_000_000)))
    wait_until(lambda: pictures_in(scheduler) == 2)
    assert scheduler.backlog_s == pytest.approx(scheduler.seconds(2_000_000))
    gate.opened.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert gate.order == ["job", "picture", "picture", "job", "job"]


def test_after_a_picture_the_scheduler_stays_idle_for_the_time_of_a_tile():
    now, tile_s, order = [0.0], 0.5, []
    scheduler = TileScheduler(clock=lambda: now[0])
    scheduler.background.share = 0  # or a tile of the job would be due

    def run(name):
        def run(number):
            now[0] += tile_s
            order.append(name)
            return result(number)

        return run

    list(scheduler.run(tasks(150, work=50, run=run("first")), max_results=999))
    assert scheduler.seconds(50) == pytest.approx(tile_s, rel=0.5)
    thread = fetch_in_thread(scheduler, tasks(1, work=50, run=run("job")), is_background=True)
    wait_until(lambda: pictures_in(scheduler) == 1)
    time.sleep(0.05)
    list(scheduler.run(tasks(1, work=50, run=run("second")), max_results=1))
    now[0] += 2 * tile_s
    thread.join(TIMEOUT_S)
    assert order[-2:] == ["second", "job"]


@pytest.mark.parametrize("share", [0, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize(("picture_s", "job_s"), [(0.125, 0.125), (0.125, 1.0), (1.0, 0.125)])
def test_jobs_get_their_share_and_pictures_the_rest(share, picture_s, job_s):
    now, order = [0.0], []
    scheduler, gate = TileScheduler(clock=lambda: now[0]), Gate()
    scheduler.background.share = share

    def taking(name, seconds, total_s):
        def run(number):
            now[0] += seconds
            order.append((name, seconds))
            return result(number % 2)

        return tasks(int(total_s / seconds), int(seconds * INITIAL_RATE), run)

    threads = [fetch_in_thread(scheduler, gate.tasks("first", 1, 1))]
    assert gate.entered.wait(TIMEOUT_S)
    job = taking("job", job_s, 300)
    threads.append(fetch_in_thread(scheduler, job, is_background=True))
    for _ in range(3):
        threads.append(fetch_in_thread(scheduler, taking("picture", picture_s, 10)))
    wait_until(lambda: pictures_in(scheduler) == 5)
    gate.opened.set()
    for thread in [threads[0], *threads[2:]]:
        thread.join(TIMEOUT_S)
    now[0] += 1000  # the job need not wait any more
    threads[1].join(TIMEOUT_S)
    last = max(index for index, (name, _) in enumerate(order) if name == "picture")
    spent = {"job": 0.0, "picture": 0.0}
    for name, seconds in order[: last + 1]:
        spent[name] += seconds
        total_s = sum(spent.values())
        assert spent["job"] >= share * total_s - max(picture_s, job_s)
        assert spent["picture"] >= (1 - share) * total_s - max(picture_s, job_s)
    assert spent["picture"] == 30
    assert (spent["job"] == 0) == (share == 0)


def test_results_that_nobody_fetches_block_only_their_own_picture():
    scheduler, ran = TileScheduler(), []
    recorded = tasks(50, run=lambda number: ran.append(number) or result(number))
    slow = scheduler.run(recorded, max_results=2)
    next(slow)
    assert numbers(scheduler.run(tasks(5), max_results=2)) == list(range(5))
    assert len(ran) <= 3
    assert numbers(slow) == list(range(1, 50))


def test_tasks_of_a_closed_generator_do_not_run():
    scheduler, ran = TileScheduler(), []
    results = scheduler.run(tasks(50, run=lambda n: ran.append(n) or result(n)), max_results=2)
    next(results)
    results.close()
    list(scheduler.run(tasks(5), max_results=2))
    assert len(ran) <= 4
    assert scheduler.backlog_s == 0


def test_a_failure_ends_only_its_own_picture():
    scheduler = TileScheduler()

    def fail(_number):
        raise ZeroDivisionError("of this tile")

    with pytest.raises(ZeroDivisionError, match="of this tile"):
        list(scheduler.run(tasks(3, run=fail), max_results=2))
    assert numbers(scheduler.run(tasks(3), max_results=2)) == [0, 1, 2]


def test_a_deadline_that_passes_ends_the_picture():
    scheduler, gate = TileScheduler(), Gate()
    deadline = RequestDeadline(at_s=time.monotonic() + 0.05)
    with pytest.raises(DeadlineExceeded, match="before its deadline"):
        list(scheduler.run(gate.tasks("late", 3, 1), max_results=2, deadline=deadline))
    gate.opened.set()
    assert scheduler.backlog_s == 0


def test_a_deadline_also_applies_to_slow_callers():
    now = [0.0]
    scheduler = TileScheduler(clock=lambda: now[0])
    results = scheduler.run(tasks(3), max_results=3, deadline=RequestDeadline(at_s=10.0))
    next(results)
    wait_until(lambda: len(scheduler._pictures[0].results) == 2)
    now[0] = 11.0
    with pytest.raises(DeadlineExceeded):
        next(results)


def test_a_caller_who_has_gone_ends_the_picture():
    scheduler, gate = TileScheduler(), Gate()
    deadline = RequestDeadline(is_gone=lambda: True)
    with pytest.raises(RequestAbandoned):
        list(scheduler.run(gate.tasks("given up", 3, 1), max_results=2, deadline=deadline))
    gate.opened.set()


def test_the_backlog_is_what_is_left_at_the_measured_rate():
    now = [0.0]
    scheduler = TileScheduler(clock=lambda: now[0])

    def run(number):
        now[0] += 0.001
        return result(number)

    list(scheduler.run(tasks(30, work=50, run=run), max_results=2))
    assert scheduler.seconds(50) == pytest.approx(0.001, rel=0.5)
    gate = Gate()
    thread = fetch_in_thread(scheduler, gate.tasks("x", 10, 50))
    assert gate.entered.wait(TIMEOUT_S)
    assert scheduler.backlog_s == pytest.approx(scheduler.seconds(500))
    gate.opened.set()
    thread.join(TIMEOUT_S)


def test_many_pictures_at_once_each_get_their_own_results():
    scheduler, received = TileScheduler(), {}

    def work(name):
        received[name] = numbers(
            scheduler.run(tasks(20, run=lambda n: result(n + name)), max_results=2)
        )

    threads = [threading.Thread(target=work, args=(name,)) for name in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert received == {name: [n + name for n in range(20)] for name in range(30)}


def test_the_time_of_each_task_is_reported():
    now, reported = [0.0], []
    scheduler = TileScheduler(clock=lambda: now[0])
    scheduler.on_done = reported.append

    def run(number):
        now[0] += number
        return result(number)

    list(scheduler.run(tasks(3, run=run), max_results=9))
    assert reported == [0.0, 1.0, 2.0]


def test_a_caller_waits_while_tasks_of_others_are_computed_but_not_its_own():
    now, waited, gate = [0.0], [], Gate()
    scheduler = TileScheduler(clock=lambda: now[0])

    def take(seconds):
        def run(number):
            now[0] += seconds
            return result(number)

        return run

    threads = [fetch_in_thread(scheduler, gate.tasks("first", 1, 1))]
    assert gate.entered.wait(TIMEOUT_S)
    own, others = tasks(1, 1000, take(0.25)), tasks(1, 1, take(5.0))
    threads.append(fetch_in_thread(scheduler, own, on_wait=waited.append))
    threads.append(fetch_in_thread(scheduler, others))
    wait_until(lambda: pictures_in(scheduler) == 3)
    now[0] += 2.0  # of the tile of the first picture
    gate.opened.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert sum(waited) == pytest.approx(2.0 + 5.0)


def test_tasks_that_wait_are_counted():
    scheduler, gate = TileScheduler(), Gate()
    thread = fetch_in_thread(scheduler, gate.tasks("a", 3, 1))
    assert gate.entered.wait(TIMEOUT_S)
    assert scheduler.tiles_waiting == 2
    gate.opened.set()
    thread.join()
    assert scheduler.tiles_waiting == 0


def test_the_highest_rate_of_whole_windows_tells_the_least_time():
    now = [0.0]
    scheduler = TileScheduler(clock=lambda: now[0])

    def take(seconds):
        now[0] += seconds
        return result(1)

    list(scheduler.run([TileTask(lambda: take(0.0), 10)], max_results=9))
    assert scheduler.rate.least_seconds(10**9) == 0  # a small window tells nothing
    times = (2.0, 1.0, 4.0)
    list(scheduler.run([TileTask(lambda s=s: take(s), 10_000) for s in times], max_results=9))
    assert scheduler.rate.least_seconds(50_000) == pytest.approx(5)


def test_a_task_that_fails_is_no_measure_of_time():
    scheduler = TileScheduler()
    failing = TileTask(lambda: 1 / 0, 10_000)
    with pytest.raises(ZeroDivisionError):
        list(scheduler.run([failing], max_results=9))
    assert scheduler.rate.least_seconds(10**9) == 0


def test_the_position_of_each_picture_is_known():
    now, gate = [0.0], Gate()
    scheduler = TileScheduler(clock=lambda: now[0])
    callers = {name: RequestDeadline() for name in ("large", "small", "job", "middle")}
    threads = [fetch_in_thread(scheduler, gate.tasks("large", 3, 1000), deadline=callers["large"])]
    assert gate.entered.wait(TIMEOUT_S)
    for name, count, work in (("small", 2, 10), ("job", 1, 1), ("middle", 2, 100)):
        options = {"deadline": callers[name], "is_background": name == "job"}
        threads.append(fetch_in_thread(scheduler, gate.tasks(name, count, work), **options))
        wait_until(lambda name=name: scheduler.position(callers[name]) is not None)
    positions = {name: scheduler.position(caller) for name, caller in callers.items()}
    assert positions["large"] == (0, pytest.approx(scheduler.seconds(3220)))  # has started
    assert positions["small"] == (0, pytest.approx(scheduler.seconds(20)))
    assert positions["middle"] == (1, pytest.approx(scheduler.seconds(220)))
    assert positions["job"].before == 3
    gate.opened.set()
    wait_until(lambda: pictures_in(scheduler) == 1)
    now[0] += 1  # the job need not wait any more
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    assert scheduler.position(callers["large"]) is None


def test_a_picture_whose_results_nobody_fetches_is_before_no_other():
    scheduler, gate, caller = TileScheduler(clock=lambda: 0.0), Gate(), RequestDeadline()
    results = scheduler.run(tasks(3), max_results=1)
    next(results)
    wait_until(lambda: not has_ready_tasks(scheduler))
    thread = fetch_in_thread(scheduler, gate.tasks("other", 2, 1000), deadline=caller)
    assert gate.entered.wait(TIMEOUT_S)
    assert scheduler.position(caller) == (0, pytest.approx(scheduler.seconds(2000)))
    gate.opened.set()
    thread.join(TIMEOUT_S)
    results.close()


class Parts:
    """Tasks of several parts, which give way to others between them.

    The first part waits until the gate is opened; each part takes a time on the clock.
    """

    def __init__(self, scheduler, now, order):
        self.opened, self.entered = threading.Event(), threading.Event()
        self._scheduler, self._now, self._order = scheduler, now, order

    def tasks(self, name, count, part_s=1.0):
        def run():
            for part in range(count):
                self.entered.set()
                assert self.opened.wait(TIMEOUT_S)
                if part:
                    self._scheduler.give_way()
                self._now[0] += part_s
                self._order.append(f"{name} {part}")
            return result(0)

        return [TileTask(run, 1000)]


@pytest.fixture
def in_parts():
    """Return a clock, a scheduler, the order in which parts run, and tasks of several parts."""
    now, order = [0.0], []
    scheduler = TileScheduler(clock=lambda: now[0])
    return now, scheduler, order, Parts(scheduler, now, order)


def recorded(order, now, name, count, seconds=0.0):
    def run(number):
        now[0] += seconds
        order.append(name)
        return result(number)

    return tasks(count, run=run)


def slow_rate():
    return WorkRate(lambda: 1.0)


def start(scheduler, pictures):
    """Submit pictures one after the other, each by a thread; return the threads."""
    threads = []
    for tasks, options in pictures:
        before = pictures_in(scheduler)
        threads.append(fetch_in_thread(scheduler, tasks, **options))
        wait_until(lambda before=before: pictures_in(scheduler) > before)
    return threads


def open_and_join(parts, threads):
    parts.opened.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


def test_tiles_of_other_networks_go_between_the_parts_of_a_tile(in_parts):
    now, scheduler, order, parts = in_parts
    rate, reported = slow_rate(), []
    scheduler.on_done = reported.append
    first = fetch_in_thread(scheduler, parts.tasks("large", 2, part_s=10.0), rate=rate)
    assert parts.entered.wait(TIMEOUT_S)
    others = start(
        scheduler,
        [
            (recorded(order, now, "same network", 1), {"rate": rate}),
            (recorded(order, now, "other", 2, seconds=1.0), {}),
        ],
    )
    open_and_join(parts, [first, *others])
    assert order == ["large 0", "other", "other", "large 1", "same network"]
    assert reported == [1.0, 1.0, 20.0, 0.0]  # without the time that it gave away
    assert rate.part_s == 10.0


def test_a_large_tile_does_not_go_between_the_tiles_of_a_small_picture(in_parts):
    now, scheduler, order, parts = in_parts
    gate = fetch_in_thread(scheduler, parts.tasks("gate", 1), rate=slow_rate())
    assert parts.entered.wait(TIMEOUT_S)

    def run(number):
        now[0] += 10.0
        order.append("large")
        return result(number)

    rate = WorkRate(lambda: 0.1)
    pictures = [(tasks(2, run=run), {"rate": rate})]
    pictures += [(recorded(order, now, "small", 5, seconds=1.0), {"rate": slow_rate()})]
    open_and_join(parts, [gate, *start(scheduler, pictures)])
    assert order == ["gate 0", *["small"] * 5, "large", "large"]


def test_a_tile_that_gives_way_goes_on_however_many_tiles_go_before_it(in_parts):
    now, scheduler, order, parts = in_parts
    first = fetch_in_thread(scheduler, parts.tasks("large", 3), rate=slow_rate())
    assert parts.entered.wait(TIMEOUT_S)
    others = start(scheduler, [(recorded(order, now, "other", 20, seconds=1.0), {})])
    open_and_join(parts, [first, *others])
    waited = round(1.0 / LEAST_SHARE) + 1
    expected = ["large 0", *["other"] * waited, "large 1", *["other"] * waited, "large 2"]
    assert order[: len(expected)] == expected


def test_the_parts_of_a_tile_that_nobody_waits_for_do_not_run(in_parts):
    now, scheduler, order, parts = in_parts
    rate, has_gone = slow_rate(), threading.Event()
    deadline = RequestDeadline(is_gone=has_gone.is_set)

    def give_up():
        with pytest.raises(RequestAbandoned):
            list(
                scheduler.run(parts.tasks("large", 3), max_results=9, deadline=deadline, rate=rate)
            )

    thread = threading.Thread(target=give_up)
    thread.start()
    assert parts.entered.wait(TIMEOUT_S)
    has_gone.set()
    thread.join(TIMEOUT_S)
    parts.opened.set()
    list(scheduler.run(recorded(order, now, "other", 1), max_results=1))
    assert order == ["large 0", "other"]
    assert rate.per_second == 1.0  # a part says nothing about the whole


def test_a_background_tile_goes_on_for_a_picture_that_waits_for_its_network(in_parts):
    now, scheduler, order, parts = in_parts
    rate = slow_rate()
    job = fetch_in_thread(scheduler, parts.tasks("job", 2), rate=rate, is_background=True)
    assert parts.entered.wait(TIMEOUT_S)
    others = start(
        scheduler,
        [
            (recorded(order, now, "same network", 1), {"rate": rate}),
            (recorded(order, now, "other", 1), {}),
        ],
    )
    open_and_join(parts, [job, *others])
    assert order == ["job 0", "other", "job 1", "same network"]


def test_a_background_tile_earns_each_of_its_parts(in_parts):
    now, scheduler, order, parts = in_parts
    scheduler.background.share = 0.5
    job = fetch_in_thread(scheduler, parts.tasks("job", 4), rate=slow_rate(), is_background=True)
    assert parts.entered.wait(TIMEOUT_S)
    others = start(scheduler, [(recorded(order, now, "other", 9, seconds=1.0), {})])
    open_and_join(parts, [job, *others])
    assert order[:7] == ["job 0", "other", "job 1", "other", "job 2", "other", "job 3"]


def test_a_tile_that_gives_way_waits_for_the_tiles_of_others(in_parts):
    now, scheduler, order, parts = in_parts
    waited = []
    large = parts.tasks("large", 2, part_s=10.0)
    first = fetch_in_thread(scheduler, large, rate=slow_rate(), on_wait=waited.append)
    assert parts.entered.wait(TIMEOUT_S)
    others = start(scheduler, [(recorded(order, now, "other", 2, seconds=1.0), {})])
    open_and_join(parts, [first, *others])
    assert order == ["large 0", "other", "other", "large 1"]
    assert sum(waited) == pytest.approx(2.0)
