"""What the scheduler works on: the tiles of each picture, and how long its caller waits."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from core.errors import DeadlineExceeded, RequestAbandoned
from core.pixels import PixelArray
from core.runtime.work_rate import WorkRate

CALLER_CHECK_S = 0.25
"""Interval at which a waiting request checks whether its caller is still there, s."""


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


@dataclass(eq=False)
class PictureTasks:
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
        running: the task that is being computed, or has given way to others.
        was_due: whether that is in the background and went before pictures.
        resumed_s: time from which its task is being computed; None if none is.
        computed_s: time in which its tasks were computed before that.
        results: of tasks, in their order.
        releases: called when `running` has ended.
    """

    tasks: deque[TileTask]
    max_results: int
    last_run_s: float
    work_left: int
    deadline: RequestDeadline
    rate: WorkRate
    is_background: bool = False
    has_started: bool = False
    running: TileTask | None = None
    was_due: bool = False
    resumed_s: float | None = None
    computed_s: float = 0.0
    results: deque[PixelArray | BaseException] = field(default_factory=deque)
    releases: list[Callable[[], None]] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        """Time that the tasks take that are not done, s."""
        return self.rate.seconds(self.work_left)

    @property
    def is_done(self) -> bool:
        """Whether no task of it is left."""
        return self.running is None and not self.tasks

    @property
    def turn_s(self) -> float:
        """Time that others wait for its next tile, or for the next part of the running one, s."""
        return self.rate.turn_s((self.running or self.tasks[0]).work)

    def idle_until(self, now_s: float) -> float:
        """Return the time on the clock without that in which its tasks were computed, s."""
        running_s = 0.0 if self.resumed_s is None else max(0.0, now_s - self.resumed_s)
        return now_s - self.computed_s - running_s

    def pause(self, now_s: float) -> None:
        """Count the time for which its task has been computed."""
        self.computed_s = now_s - self.idle_until(now_s)
        self.resumed_s = None

    @property
    def is_ready(self) -> bool:
        """Whether its next task may start."""
        return bool(self.tasks) and len(self.results) < self.max_results

    @property
    def is_blocked(self) -> bool:
        """Whether nothing can be computed before its caller fetches results."""
        return not self.work_left or len(self.results) >= self.max_results
