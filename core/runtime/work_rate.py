"""How fast work is done, measured while it is done."""

from collections.abc import Callable

INITIAL_RATE = 1e5
"""Work per second that is assumed before any was measured."""

RATE_MOMENTUM = 0.9
"""Weight of the previous value in the moving average of the measured rate, per tile."""

LEAST_MEASURED_WORK = 8_000
"""Work of a task from which it counts for the highest rate: small windows are slower."""

MIN_TASK_S = 1e-9
"""Shortest time of a task, so that its rate is finite."""


class WorkRate:
    """How fast work is done: a moving average over tiles.

    Each model has its own, as processors do not compute all networks equally fast. So its work
    may have a unit of its own.

    Args:
        guess: returns the work per second until a tile is measured, which replaces it; None for
            `INITIAL_RATE`, which tiles correct.
        least_measured_work: work of a tile from which it counts for the highest rate.

    Attributes:
        part_s: time that the latest part of a tile took, after which others had a turn, s;
            infinity if tiles have no parts.
    """

    def __init__(
        self,
        guess: Callable[[], float] | None = None,
        least_measured_work: float = LEAST_MEASURED_WORK,
    ) -> None:
        self.part_s = float("inf")
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

    def turn_s(self, work: float) -> float:
        """Return how long others wait for a tile of some work, or for a part of it, s."""
        return min(self.seconds(work), self.part_s)

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
