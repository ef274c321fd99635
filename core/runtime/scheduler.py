"""The tile scheduler: one thread runs the network on the tiles of all pictures, in turn.

A second thread would compete for the same cores and need its own memory. The picture with the
least work left goes first. So a thumbnail waits for one tile of a large picture, not for all of
them. Each picture gains priority while it waits, so a large one is finished, too.

Frames of jobs run in the background, as no caller waits for them at that moment. They are
scheduled while there are no pictures, and between pictures for a share of the time
(`core.runtime.share`). After a picture, the scheduler stays idle for as long as a background tile
would take, unless one is due. A caller who sends one picture after the other then finds it free,
and the background loses no more time than the caller would.

A network that computes a tile for long gives way between the parts of the tile. Tiles of other
networks that go first are computed then, in the middle of it. A network computes one tile at a
time, as there is memory for one.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

from core.errors import RequestAbandoned
from core.pixels import PixelArray
from core.runtime.share import BackgroundShare
from core.runtime.tile_tasks import CALLER_CHECK_S, PictureTasks, RequestDeadline, TileTask
from core.runtime.work_rate import WorkRate

AGEING = 20.0
"""Seconds of remaining work that one second of waiting makes up for.

A picture that needs 20 s waits for at most a second at a time. It gets a tenth of the time or
more, however many thumbnails arrive.
"""

LEAST_SHARE = 0.2
"""Share of the time that a tile gets once it has given way, however many tiles go before it."""

DUE, PICTURE, BACKGROUND = range(3)
"""Turns, the first of which goes first: background that is due, pictures, other background."""

Clock = Callable[[], float]

WaitObserver = Callable[[float], None]
"""Called with each time, s, that a caller waited for the network to finish tiles of others."""


class SchedulePosition(NamedTuple):
    """Where a picture is in the schedule.

    Attributes:
        before: number of pictures that go before its first tile; 0 once that has started.
        left_s: time until its last tile is done if no other picture comes, s.
    """

    before: int
    left_s: float


class TileScheduler:
    """Runs tasks one at a time, in a thread of its own.

    Args:
        clock: monotonic, s.

    Attributes:
        clock: monotonic, s.
        on_done: called after each task, done or failed, with the time that it took, s.
        rate: how fast work is done whose rate is not stated.
        background: its share of the time while there are pictures.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.on_done: Callable[[float], None] = lambda _seconds: None
        self.clock = clock
        self._pictures: list[PictureTasks] = []
        self._changed = threading.Condition()
        self.rate = WorkRate()
        self.background = BackgroundShare()
        self._picture_ended_s = float("-inf")
        self._running: list[PictureTasks] = []  # each has given way to the next
        self._resumed_s = 0.0
        self._given_s = 0.0
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

    def _earlier_pictures(self, picture: PictureTasks) -> list[PictureTasks]:
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
        on_wait: WaitObserver = lambda _seconds: None,
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
            on_wait: see `WaitObserver`. The time in which one of these tasks is computed does not
                count.

        Raises:
            DeadlineExceeded: if the deadline passes before the last result.
            RequestAbandoned: if the caller has left.
        """
        picture = PictureTasks(
            deque(tasks),
            max_results,
            self.clock(),
            sum(task.work for task in tasks),
            deadline or RequestDeadline(),
            rate or self.rate,
            is_background,
        )
        self._add(picture)
        try:
            for _ in tasks:
                result = self._next_result(picture, on_wait)
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._remove(picture)

    def _add(self, picture: PictureTasks) -> None:
        with self._changed:
            self._pictures.append(picture)
            self._ensure_thread()
            self._changed.notify_all()

    def _remove(self, picture: PictureTasks) -> None:
        with self._changed:
            self._pictures.remove(picture)

    def _next_result(
        self, picture: PictureTasks, on_wait: WaitObserver
    ) -> PixelArray | BaseException:
        idle_s: float | None = None
        while True:
            now_s = self.clock()
            picture.deadline.check(now_s)
            with self._changed:
                if not picture.results:
                    before_s = picture.idle_until(now_s) if idle_s is None else idle_s
                    self._changed.wait(self._wait_s(picture.deadline))
                    # that this thread runs late after the result is no time of waiting
                    ended_s = picture.last_run_s if picture.results else self.clock()
                    idle_s = picture.idle_until(ended_s)
                    on_wait(idle_s - before_s)
                if picture.results:
                    self._changed.notify_all()
                    return picture.results.popleft()

    def _wait_s(self, deadline: RequestDeadline) -> float:
        return max(0.0, min(CALLER_CHECK_S, deadline.at_s - self.clock()))

    def _ensure_thread(self) -> None:
        """Start the thread with the first task: it would not survive a fork before that."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._run_tasks, name="tile scheduler", daemon=True
            )
            self._thread.start()

    def _run_tasks(self) -> None:
        while True:
            self._run_task(self._next_picture())

    def _run_task(self, picture: PictureTasks) -> None:
        with self._changed:
            if picture not in self._pictures:
                return  # its caller has left meanwhile
            picture.running = task = picture.tasks.popleft()
            picture.has_started = True
            self._resumed_s = picture.resumed_s = started_s = self.clock()
            self._running.append(picture)
        given_s = self._given_s
        result = _result_of(task)
        seconds = self.clock() - started_s - (self._given_s - given_s)
        self.on_done(seconds)
        self._add_result(picture, task, result, seconds)
        del task, result
        for release in picture.releases:
            release()

    def when_idle(self, deadline: RequestDeadline, release: Callable[[], None]) -> None:
        """Call a function once no task of a caller is running; at once if none is.

        A task goes on for some time when its caller has left, and longer if it has given way. It
        takes memory until then.

        Args:
            deadline: of the caller.
            release: gives back the memory of the caller; may be called in another thread.
        """
        with self._changed:
            running = next((p for p in self._running if p.deadline is deadline), None)
            if running is not None:
                running.releases.append(release)
                return
        release()

    def give_way(self) -> None:
        """Run tasks of other networks that go before the one that is running.

        Networks call this between the parts of a tile. In other threads it does nothing.

        Raises:
            RequestAbandoned: if nobody waits for the tile any more.
        """
        if threading.current_thread() is not self._thread:
            return
        picture, began_s, given_s = self._running[-1], self.clock(), self._given_s
        picture.rate.part_s = began_s - self._resumed_s
        with self._changed:
            picture.last_run_s = began_s
            picture.pause(began_s)
            self._account(picture, began_s - self._resumed_s)
        try:
            while (other := self._next_picture(picture)) is not picture:
                self._run_task(other)
        finally:
            with self._changed:
                self._resumed_s = picture.resumed_s = self.clock()
            self._given_s = given_s + self._resumed_s - began_s

    def _next_picture(self, paused: PictureTasks | None = None) -> PictureTasks:
        """Wait for the next picture, and return it; `paused` if that goes on before the others."""
        with self._changed:
            while True:
                if paused is not None and paused not in self._pictures:
                    raise RequestAbandoned("Nobody waits for the tile any more.")
                in_use = {picture.rate for picture in self._running}
                ready = [p for p in self._pictures if p.is_ready and p.rate not in in_use]
                picture = min([*ready, *filter(None, [paused])], key=self._rank, default=None)
                idle_s = None if picture is None else self._idle_s(picture)
                if picture is not None and idle_s is None:
                    picture.was_due = self._is_due(picture)
                    return picture
                self._changed.wait(idle_s)

    def _idle_s(self, picture: PictureTasks) -> float | None:
        """Return how long to stay idle before the next task; None to run it now."""
        if self._turn(picture) != BACKGROUND:
            return None
        idle_s = self._picture_ended_s + picture.turn_s - self.clock()
        return idle_s if idle_s > 0 else None

    def _rank(self, picture: PictureTasks) -> tuple[int, float]:
        """Return the sort key: turn, then work left less the bonus of waiting, s.

        Waiting counts from the time for which others wait for its tile. Otherwise a large window
        would go between any two tiles of a small picture.
        """
        waited_s = self.clock() - picture.last_run_s
        if picture.running is not None and waited_s > picture.turn_s / LEAST_SHARE:
            return self._turn(picture), float("-inf")
        turn_s = 0.0 if picture.is_done else picture.turn_s
        return self._turn(picture), picture.left_s - AGEING * max(0.0, waited_s - turn_s)

    def _turn(self, picture: PictureTasks) -> int:
        """Return 0 for the background if it is due, 1 for a picture, 2 for other background.

        One in the background that is running goes on for pictures that wait for its network.
        """
        if not picture.is_background:
            return PICTURE
        if self._is_due(picture):
            return DUE
        if picture.running is not None and any(
            p.is_ready and p.rate is picture.rate and not p.is_background for p in self._pictures
        ):
            return PICTURE
        return BACKGROUND

    def _is_due(self, picture: PictureTasks) -> bool:
        """Return whether the next task in the background, or the next part of one, is earned."""
        is_in_background = picture.is_background and not picture.is_done
        return is_in_background and self.background.is_due(picture.turn_s)

    def _account(self, picture: PictureTasks, seconds: float) -> None:
        """Count the time of a task, or of a part of one, that has ended."""
        if picture.is_background:
            self.background.add_background(seconds, was_due=picture.was_due)
            return
        is_waiting = any(p.is_background and not p.is_blocked for p in self._pictures)
        self.background.add_picture(seconds, is_background_waiting=is_waiting)

    def _add_result(
        self,
        picture: PictureTasks,
        task: TileTask,
        result: PixelArray | BaseException,
        seconds: float,
    ) -> None:
        with self._changed:
            self._running.pop()
            picture.running = None
            picture.results.append(result)
            picture.work_left -= task.work
            picture.last_run_s = self.clock()
            picture.pause(picture.last_run_s)
            self._account(picture, picture.last_run_s - self._resumed_s)
            if not picture.is_background:
                self._picture_ended_s = picture.last_run_s
            if not isinstance(result, RequestAbandoned):
                picture.rate.add(task.work, seconds, counts=not isinstance(result, BaseException))
            self._changed.notify_all()


def _result_of(task: TileTask) -> PixelArray | BaseException:
    try:
        return task.run()
    except BaseException as error:  # raised in the thread of the picture, not in this one
        return error
