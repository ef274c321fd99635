"""The tile scheduler: one thread runs the network on the tiles of all pictures, in turn.

A second thread would compete for the same cores and need its own memory. The picture with the
least work left goes first. So a thumbnail waits for one tile of a large picture, not for all of
them. Each picture gains priority while it waits, so a large one is finished, too.

Frames of jobs run in the background, as no caller waits for them at that moment. They are
scheduled while there are no pictures, and now and then between pictures. After a picture, the
scheduler stays idle for as long as a background tile would take. A caller who sends one picture
after the other then finds it free, and the background loses no more time than the caller would.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from core.errors import DeadlineExceeded, RequestAbandoned
from core.pixels import PixelArray

AGEING = 20.0
"""Seconds of remaining work that one second of waiting makes up for.

A picture that needs 20 s waits for at most a second at a time. It gets a tenth of the time or
more, however many thumbnails arrive.
"""

BACKGROUND_WAIT_S = 2.0
"""Time after which the background gets one tile, however many pictures there are.

A tile of the upscaler takes 0.1 s or less: a twentieth of the time. One of the restorer takes up
to six times as long, but there are few of them.
"""

BACKGROUND_SHARE = 0.2
"""Largest share of the time that the background gets while there are pictures: a tile of a larger
network, which takes longer, waits longer."""

CALLER_CHECK_S = 0.25
"""Interval at which a waiting request checks whether its caller is still there, s."""

INITIAL_RATE = 1e5
"""Work per second that is assumed before any was measured."""

RATE_MOMENTUM = 0.9
"""Weight of the previous value in the moving average of the measured rate, per tile."""

LEAST_MEASURED_WORK = 8_000
"""Work of a task from which it counts for the highest rate: small windows are slower."""

MIN_TASK_S = 1e-9
"""Shortest time of a task, so that its rate is finite."""

Clock = Callable[[], float]


class WorkRate:
    """How fast work is done: a moving average over tiles.

    Each model has its own, as processors do not compute all networks equally fast. So its work
    may have a unit of its own.

    Args:
        guess: returns the work per second until a tile is measured, which replaces it; None for
            `INITIAL_RATE`, which tiles correct.
        least_measured_work: work of a tile from which it counts for the highest rate.
    """

    def __init__(
        self,
        guess: Callable[[], float] | None = None,
        least_measured_work: float = LEAST_MEASURED_WORK,
    ) -> None:
        self._guess = guess
        self._measured = INITIAL_RATE
        self._highest = 0.0
        self._least_measured_work = least_measured_work

    @property
    def per_second(self) -> float:
        """Work per second."""
        return self._measured if self._guess is None else self._guess()

    def scaled(self, cost: float) -> "WorkRate":
        """Return a rate of work that takes `cost` times as long, until its tiles are measured."""
        return WorkRate(lambda: self.per_second / cost, self._least_measured_work / cost)

    def seconds(self, work: float) -> float:
        """Return how long some work takes while nothing else runs, s."""
        return work / self.per_second

    def least_seconds(self, work: float) -> float:
        """Return how long some work takes at the highest rate so far, s; 0 before there is one."""
        return work / self._highest if self._highest else 0.0

    def add(self, work: float, seconds: float, *, counts: bool = True) -> None:
        """Take account of a tile: its work, and the time that it took, s.

        Args:
            work: of the tile.
            seconds: time that it took.
            counts: whether it counts for the highest rate, as it did not fail.
        """
        rate = work / max(seconds, MIN_TASK_S)
        before = rate if self._guess is not None else self._measured
        self._measured = RATE_MOMENTUM * before + (1 - RATE_MOMENTUM) * rate
        self._guess = None
        if counts and work >= self._least_measured_work:
            self._highest = max(self._highest, rate)


@dataclass(frozen=True)
class TileTask:
    """One tile to compute.

    Attributes:
        run: computes it.
        work: cost, in any unit that is the same for all tasks of a `WorkRate`: LR pixels of its
            window, times the relative cost of its network.
    """

    run: Callable[[], PixelArray]
    work: int


@dataclass(frozen=True)
class RequestDeadline:
    """How long a caller waits. The scheduler and the queue also identify the caller by it.

    Attributes:
        at_s: time on the scheduler's clock, s; infinity if the caller waits without limit.
        is_gone: called now and then; returns True once the caller has left.
    """

    at_s: float = float("inf")
    is_gone: Callable[[], bool] = lambda: False

    def check(self, now_s: float) -> None:
        """Raise DeadlineExceeded or RequestAbandoned if the caller does not wait any more."""
        if now_s >= self.at_s:
            raise DeadlineExceeded("The picture must be finished before its deadline. It was not.")
        if self.is_gone():
            raise RequestAbandoned("Nobody waits for the picture any more.")

    def check_now(self) -> None:
        """Do what `check` does, at the current time of the monotonic clock."""
        self.check(time.monotonic())


class SchedulePosition(NamedTuple):
    """Where a picture is in the schedule.

    Attributes:
        before: number of pictures that go before its first tile; 0 once that has started.
        left_s: time until its last tile is done if no other picture comes, s.
    """

    before: int
    left_s: float


@dataclass(eq=False)
class _PictureTasks:
    """The remaining tasks of one picture, and results that its caller has not fetched yet.

    Attributes:
        tasks: that have not started.
        max_results: number of results that may wait; then other pictures go first.
        last_run_s: time when a task of it ended, or when it came.
        work_left: sum of the work of all tasks that are not done.
        deadline: of its caller.
        rate: how fast its work is done.
        is_background: whether pictures go first.
        has_started: whether a task has started.
        results: of tasks, in their order.
    """

    tasks: deque[TileTask]
    max_results: int
    last_run_s: float
    work_left: int
    deadline: RequestDeadline
    rate: WorkRate
    is_background: bool = False
    has_started: bool = False
    results: deque[PixelArray | BaseException] = field(default_factory=deque)

    @property
    def left_s(self) -> float:
        """Time that the tasks take that are not done, s."""
        return self.rate.seconds(self.work_left)

    @property
    def is_ready(self) -> bool:
        return bool(self.tasks) and len(self.results) < self.max_results

    @property
    def is_blocked(self) -> bool:
        """Whether nothing can be computed before its caller fetches results."""
        return not self.work_left or len(self.results) >= self.max_results


class TileScheduler:
    """Runs tasks one at a time, in a thread of its own.

    Args:
        clock: monotonic, s.

    Attributes:
        on_done: called after each task, done or failed, with the time that it took, s.
        rate: how fast work is done whose rate is not stated.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.on_done: Callable[[float], None] = lambda _seconds: None
        self._clock = clock
        self._pictures: list[_PictureTasks] = []
        self._changed = threading.Condition()
        self.rate = WorkRate()
        self._picture_ended_s = float("-inf")
        self._thread: threading.Thread | None = None

    @property
    def backlog_s(self) -> float:
        """Time that all pictures in the schedule will take, at the measured rates, s."""
        with self._changed:
            return sum(p.left_s for p in self._pictures if not p.is_background)

    @property
    def tiles_waiting(self) -> int:
        """Number of tasks that have not started."""
        with self._changed:
            return sum(len(picture.tasks) for picture in self._pictures)

    def seconds(self, work: int) -> float:
        """Return how long some work takes while nothing else runs, s."""
        return self.rate.seconds(work)

    def position(self, deadline: RequestDeadline) -> SchedulePosition | None:
        """Return the position of the picture of a caller; None if it is not here."""
        with self._changed:
            picture = next((p for p in self._pictures if p.deadline is deadline), None)
            if picture is None:
                return None
            earlier = self._earlier_pictures(picture)
            left_s = picture.left_s + sum(other.left_s for other in earlier)
            return SchedulePosition(0 if picture.has_started else len(earlier), left_s)

    def _earlier_pictures(self, picture: _PictureTasks) -> list[_PictureTasks]:
        active = (
            other
            for other in self._pictures
            if other is picture or not (other.is_background or other.is_blocked)
        )
        ranked = sorted(active, key=self._rank)
        return ranked[: ranked.index(picture)]

    def run(
        self,
        tasks: Sequence[TileTask],
        *,
        max_results: int,
        deadline: RequestDeadline | None = None,
        rate: WorkRate | None = None,
        is_background: bool = False,
    ) -> Generator[PixelArray]:
        """Yield the results of tasks in their order, each as soon as it is there.

        Tasks that have not started when the generator is closed never run.

        Args:
            tasks: all tasks of one picture.
            max_results: number of results that may wait for the caller; then the scheduler
                runs tasks of other pictures.
            deadline: of the caller; None for no deadline.
            rate: how fast the work of these tasks is done; None for that of the scheduler.
            is_background: whether pictures go first.

        Raises:
            DeadlineExceeded: if the deadline passes before the last result.
            RequestAbandoned: if the caller has left.
        """
        picture = _PictureTasks(
            deque(tasks),
            max_results,
            self._clock(),
            sum(task.work for task in tasks),
            deadline or RequestDeadline(),
            rate or self.rate,
            is_background,
        )
        self._add(picture)
        try:
            for _ in tasks:
                result = self._next_result(picture)
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._remove(picture)

    def _add(self, picture: _PictureTasks) -> None:
        with self._changed:
            self._pictures.append(picture)
            self._ensure_thread()
            self._changed.notify_all()

    def _remove(self, picture: _PictureTasks) -> None:
        with self._changed:
            self._pictures.remove(picture)

    def _next_result(self, picture: _PictureTasks) -> PixelArray | BaseException:
        while True:
            picture.deadline.check(self._clock())
            with self._changed:
                if not picture.results:
                    self._changed.wait(self._wait_s(picture.deadline))
                if picture.results:
                    self._changed.notify_all()
                    return picture.results.popleft()

    def _wait_s(self, deadline: RequestDeadline) -> float:
        return max(0.0, min(CALLER_CHECK_S, deadline.at_s - self._clock()))

    def _ensure_thread(self) -> None:
        """Start the thread with the first task: it would not survive a fork before that."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._run_tasks, name="tile scheduler", daemon=True
            )
            self._thread.start()

    def _run_tasks(self) -> None:
        while True:
            picture, task = self._next_task()
            started_s = self._clock()
            result = _result_of(task)
            seconds = self._clock() - started_s
            self.on_done(seconds)
            self._add_result(picture, task, result, seconds)

    def _next_task(self) -> tuple[_PictureTasks, TileTask]:
        with self._changed:
            while True:
                ready = (picture for picture in self._pictures if picture.is_ready)
                picture = min(ready, key=self._rank, default=None)
                idle_s = None if picture is None else self._idle_s(picture)
                if picture is not None and idle_s is None:
                    picture.has_started = True
                    return picture, picture.tasks.popleft()
                self._changed.wait(idle_s)

    def _idle_s(self, picture: _PictureTasks) -> float | None:
        """Return how long to stay idle before the next task; None to run it now."""
        now_s = self._clock()
        if not self._yields(picture):
            return None
        idle_s = self._picture_ended_s + picture.rate.seconds(picture.tasks[0].work) - now_s
        return idle_s if idle_s > 0 else None

    def _rank(self, picture: _PictureTasks) -> tuple[bool, float]:
        """Return the sort key: background last, then work left less the bonus of waiting, s."""
        waited_s = self._clock() - picture.last_run_s
        return self._yields(picture), picture.left_s - AGEING * waited_s

    def _yields(self, picture: _PictureTasks) -> bool:
        """Return whether a picture is in the background, and has not waited for long."""
        if not picture.is_background or not picture.tasks:
            return picture.is_background
        tile_s = picture.rate.seconds(picture.tasks[0].work)
        wait_s = max(BACKGROUND_WAIT_S, tile_s / BACKGROUND_SHARE)
        return self._clock() - picture.last_run_s < wait_s

    def _add_result(
        self,
        picture: _PictureTasks,
        task: TileTask,
        result: PixelArray | BaseException,
        seconds: float,
    ) -> None:
        with self._changed:
            picture.results.append(result)
            picture.work_left -= task.work
            picture.last_run_s = self._clock()
            if not picture.is_background:
                self._picture_ended_s = picture.last_run_s
            picture.rate.add(task.work, seconds, counts=not isinstance(result, BaseException))
            self._changed.notify_all()


def _result_of(task: TileTask) -> PixelArray | BaseException:
    try:
        return task.run()
    except BaseException as error:  # raised in the thread of the picture, not in this one
        return error
