"""One lane to the network: the tiles of all pictures under way take turns in it.

A second lane would share the same cores and need its own memory. The picture with the
least left to do goes first, so a thumbnail never waits for a large picture, only for
the tile that is just being computed; every picture moves up while it is passed over,
so a large one is finished too.

What nobody waits for at this moment, such as frames of a job, is in the background: it
has the lane while no picture wants it, and a tile now and then while pictures do. After a
picture the lane is kept free for as long as a tile of the background would take: whoever
sends one picture after the other finds it so, and no more is lost than is at stake.
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
"""Seconds of remaining work that one second of being passed over makes up for.

A picture that needs 20 s is passed over for at most a second at a time, and gets a
tenth of the lane or more, however many thumbnails arrive.
"""

PASSED_OVER_S = 2.0
"""Seconds that the background leaves the lane to pictures, however many there are.

Then it has one tile, of 0.1 s or less: a twentieth of the lane.
"""

LOOK_EVERY_S = 0.25
"""How often a waiting picture looks whether its caller is still there."""

FIRST_RATE = 1e5
"""Work a second that is assumed before any was measured."""

RATE_MOMENTUM = 0.9
"""Of the moving average of the measured rate, per tile."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class TileTask:
    """One tile to compute.

    Attributes:
        run: computes it.
        work: what it costs, in any unit that is the same for all; LR pixels of its window.
    """

    run: Callable[[], PixelArray]
    work: int


@dataclass(frozen=True)
class RequestDeadline:
    """How long a caller waits.

    Attributes:
        deadline: on the lane's clock, s; infinity for ever.
        is_gone: asked now and then; True once nobody waits for the result any more.
    """

    deadline: float = float("inf")
    is_gone: Callable[[], bool] = lambda: False


class LanePosition(NamedTuple):
    """Where a picture is in the lane.

    Attributes:
        before: pictures that are served before its first tile; 0 once that is begun.
        left_s: until its last tile is done, should no other picture come, s.
    """

    before: int
    left_s: float


@dataclass(eq=False)
class _Job:
    """The tasks of one picture that are still to be done, and results not yet taken."""

    tasks: deque[TileTask]
    ahead: int
    served: float
    remaining: int
    patience: RequestDeadline
    is_background: bool = False
    is_begun: bool = False
    results: deque[PixelArray | BaseException] = field(default_factory=deque)

    @property
    def is_ready(self) -> bool:
        return bool(self.tasks) and len(self.results) < self.ahead

    @property
    def is_held_up(self) -> bool:
        """Whether the lane has done all that it may before results are taken."""
        return not self.remaining or len(self.results) >= self.ahead


class Lane:
    """Runs tasks one at a time, in a thread of its own.

    Args:
        clock: seconds, monotonic.

    Attributes:
        on_done: told of each task, done or failed, how many seconds it took.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.on_done: Callable[[float], None] = lambda _seconds: None
        self._clock = clock
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()
        self._rate = FIRST_RATE
        self._picture_ended = float("-inf")
        self._worker: threading.Thread | None = None

    @property
    def backlog_s(self) -> float:
        """Seconds that all pictures under way will take, at the rate measured so far."""
        with self._changed:
            return self.seconds(sum(job.remaining for job in self._jobs if not job.is_background))

    @property
    def tiles_waiting(self) -> int:
        """Tasks under way that are not yet begun."""
        with self._changed:
            return sum(len(job.tasks) for job in self._jobs)

    def standing(self, patience: RequestDeadline) -> LanePosition | None:
        """Where the picture of a caller is, who is known by his patience; None if not here."""
        with self._changed:
            job = next((job for job in self._jobs if job.patience is patience), None)
            if job is None:
                return None
            earlier = self._earlier(job)
            work = job.remaining + sum(other.remaining for other in earlier)
            return LanePosition(0 if job.is_begun else len(earlier), self.seconds(work))

    def _earlier(self, job: _Job) -> list[_Job]:
        """Pictures that go before one at the moment."""
        active = (
            other
            for other in self._jobs
            if other is job or not (other.is_background or other.is_held_up)
        )
        ranked = sorted(active, key=self._rank)
        return ranked[: ranked.index(job)]

    def seconds(self, work: int) -> float:
        """What some work takes when nothing else is under way."""
        return work / self._rate

    def run(
        self,
        tasks: Sequence[TileTask],
        *,
        ahead: int,
        patience: RequestDeadline | None = None,
        is_background: bool = False,
    ) -> Generator[PixelArray]:
        """Results of the tasks, in their order, each as soon as it is there.

        What is not yet done when the iterator is closed is never done.

        Args:
            tasks: of one picture.
            ahead: results that may wait to be taken; then the lane does other pictures.
            patience: of the caller; None for all the time in the world.
            is_background: whether pictures of others go first.

        Raises:
            DeadlineExceeded: if the deadline passes before the last result.
            RequestAbandoned: if nobody waits for the results any more.
        """
        job = self._enter(tasks, ahead, patience or RequestDeadline(), is_background)
        try:
            for _ in tasks:
                result = self._take(job)
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._leave(job)

    def _enter(
        self, tasks: Sequence[TileTask], ahead: int, patience: RequestDeadline, is_background: bool
    ) -> _Job:
        work = sum(task.work for task in tasks)
        with self._changed:
            job = _Job(deque(tasks), ahead, self._clock(), work, patience, is_background)
            self._jobs.append(job)
            self._start_worker()
            self._changed.notify_all()
        return job

    def _leave(self, job: _Job) -> None:
        with self._changed:
            self._jobs.remove(job)

    def _take(self, job: _Job) -> PixelArray | BaseException:
        while True:
            check_patience(job.patience, self._clock())
            with self._changed:
                if not job.results:
                    self._changed.wait(self._next_look(job.patience))
                if job.results:
                    self._changed.notify_all()
                    return job.results.popleft()

    def _next_look(self, patience: RequestDeadline) -> float:
        return max(0.0, min(LOOK_EVERY_S, patience.deadline - self._clock()))

    def _start_worker(self) -> None:
        """A thread does not survive a fork, so it starts with the first task."""
        if self._worker is None or not self._worker.is_alive():
            self._worker = threading.Thread(target=self._work, name="lane", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while True:
            job, task = self._next_task()
            started = self._clock()
            result = _run(task)
            seconds = self._clock() - started
            self.on_done(seconds)
            self._finish(job, task, result, seconds)

    def _next_task(self) -> tuple[_Job, TileTask]:
        with self._changed:
            while True:
                ready = (job for job in self._jobs if job.is_ready)
                job = min(ready, key=self._rank, default=None)
                kept_s = None if job is None else self._kept_for_pictures_s(job)
                if job is not None and kept_s is None:
                    job.is_begun = True
                    return job, job.tasks.popleft()
                self._changed.wait(kept_s)

    def _kept_for_pictures_s(self, job: _Job) -> float | None:
        """Seconds that the lane is still kept free, though a job is ready; None if it is not."""
        now = self._clock()
        if not job.is_background or now - job.served >= PASSED_OVER_S:
            return None
        kept_s = self._picture_ended + self.seconds(job.tasks[0].work) - now
        return kept_s if kept_s > 0 else None

    def _rank(self, job: _Job) -> tuple[bool, float]:
        """Seconds left to do, less what being passed over makes up for; pictures first."""
        passed_over_s = self._clock() - job.served
        yields = job.is_background and passed_over_s < PASSED_OVER_S
        return yields, self.seconds(job.remaining) - AGEING * passed_over_s

    def _finish(
        self, job: _Job, task: TileTask, result: PixelArray | BaseException, seconds: float
    ) -> None:
        with self._changed:
            job.results.append(result)
            job.remaining -= task.work
            job.served = self._clock()
            if not job.is_background:
                self._picture_ended = job.served
            rate = task.work / max(seconds, 1e-9)
            self._rate = RATE_MOMENTUM * self._rate + (1 - RATE_MOMENTUM) * rate
            self._changed.notify_all()


def check_patience(patience: RequestDeadline, now: float) -> None:
    """Raise DeadlineExceeded or RequestAbandoned if it is at an end at this time."""
    if now >= patience.deadline:
        raise DeadlineExceeded("The picture must be finished before its deadline. It was not.")
    if patience.is_gone():
        raise RequestAbandoned("Nobody waits for the picture any more.")


def _run(task: TileTask) -> PixelArray | BaseException:
    try:
        return task.run()
    except BaseException as error:  # it belongs to the picture's thread, not to the lane
        return error
