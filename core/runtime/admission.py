"""Who may come in: a budget of memory for all pictures under way, and a bounded queue.

What a picture will cost is known from its header. It enters when its cost fits into
what is left; until then it waits, among at most so many others. Beyond that it is told
to come back, and when.

What a picture will take of the memory, known from its header alone.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from core.errors import Overloaded, TooMuchMemory
from core.files import MEGABYTE
from core.model.tiles import Tile
from core.model.upscaler import ROWS_AHEAD
from core.options import PNG
from core.picture import Header
from core.runtime.scheduler import LOOK_EVERY_S, RequestDeadline, check_patience

DECODED_BYTES = {8: 20, 16: 28}
"""Of a decoded pixel, by bits: the library's own, copies with alpha, ours. Measured as 10 to 19
and 18 to 26, by format and alpha."""

STRIPS = ROWS_AHEAD + 4
"""Rows of tiles of one picture: waiting, put together, made small again, being encoded."""

BASE_BYTES = 4_000_000
"""Of a request, whatever its picture."""

WHOLE_BYTES = 16_000_000
"""Of SR pixels: up to here the file is sent when it is complete, with its length."""

COPIES = 4
"""Of the SR pixels of a file that is encoded in one piece: strips, picture, encoder, file."""


@dataclass(frozen=True)
class MemoryPlan:
    """How a picture is made, and what that takes.

    Attributes:
        header: of the picture.
        rows: its tiles.
        format: of the file that is made.
        scale: SR pixels per LR pixel, on each side.
    """

    header: Header
    rows: list[list[Tile]]
    format: str
    scale: int

    @property
    def tiles(self) -> int:
        """How many there are."""
        return sum(len(row) for row in self.rows)

    @property
    def sr_bytes(self) -> int:
        """Of the SR pixels."""
        samples = self.header.channels * self.header.bits // 8
        return samples * self.scale**2 * self.header.height * self.header.width

    @property
    def is_whole(self) -> bool:
        """Whether the file is sent when it is complete, and not as it is made."""
        small = self.sr_bytes <= WHOLE_BYTES
        return small or len(self.rows) == 1 or self.format != PNG

    @property
    def memory_bytes(self) -> int:
        """What the picture takes at most, from its first pixel to its last row."""
        height, width = self.header.height, self.header.width
        decoded = DECODED_BYTES[self.header.bits] * height * width
        tallest = max(row[0].core.height for row in self.rows)
        total = BASE_BYTES + decoded + STRIPS * self.sr_bytes * tallest // height
        if self.format != PNG:
            return total + COPIES * self.sr_bytes
        return total + (self.sr_bytes if self.is_whole else 0)


OVERTAKEN_S = 5.0
"""How long a picture that does not fit lets smaller ones pass it."""


@dataclass(eq=False)
class _Waiting:
    cost: int
    since: float
    patience: RequestDeadline


class Admission:
    """Keeps the memory of all pictures under way below a budget.

    Args:
        budget: bytes.
        queue: pictures that may wait.
        backlog_s: seconds until what is under way will be done, for `Retry-After`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        budget: int,
        queue: int,
        backlog_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.queue = queue
        self._backlog_s = backlog_s
        self._clock = clock
        self._taken = 0
        self._line: list[_Waiting] = []
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """Bytes of the budget that are promised to pictures under way."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Pictures that wait for their memory."""
        return len(self._line)

    def before(self, patience: RequestDeadline) -> int | None:
        """Pictures in the line before that of a caller, who is known by his patience.

        None if his is not in it.
        """
        line = list(self._line)
        places = (place for place, other in enumerate(line) if other.patience is patience)
        return next(places, None)

    @contextmanager
    def admit(self, cost: int, patience: RequestDeadline | None = None) -> Iterator[None]:
        """Hold `cost` bytes of the budget for as long as the block runs.

        Raises:
            TooMuchMemory: if that is more than the whole budget.
            Overloaded: if too many are waiting already.
            DeadlineExceeded, RequestAbandoned: while waiting.
        """
        self.check(cost)
        self._enter(cost, patience or RequestDeadline())
        try:
            yield
        finally:
            with self._changed:
                self._taken -= cost
                self._changed.notify_all()

    def check(self, cost: int) -> None:
        """Raise TooMuchMemory if this is more than the whole budget."""
        if cost > self.budget:
            raise TooMuchMemory(
                f"Image must need at most {self.budget // MEGABYTE} MB of memory. "
                f"Received: one that needs {ceil(cost / MEGABYTE)} MB."
            )

    def _enter(self, cost: int, patience: RequestDeadline) -> None:
        with self._changed:
            waiting = self._queue_up(cost, patience)
            try:
                while not self._may_enter(waiting):
                    self._changed.wait(LOOK_EVERY_S)
                    check_patience(patience, self._clock())
                self._taken += cost
            finally:
                self._line.remove(waiting)
                self._changed.notify_all()

    def _queue_up(self, cost: int, patience: RequestDeadline) -> _Waiting:
        waiting = _Waiting(cost, self._clock(), patience)
        if len(self._line) >= self.queue and not self._fits(cost):
            raise Overloaded(
                f"At most {self.queue} pictures may wait. Received: one more.",
                retry_after_s=max(1, ceil(self._backlog_s())),
            )
        self._line.append(waiting)
        return waiting

    def _may_enter(self, waiting: _Waiting) -> bool:
        """It fits, and nobody ahead of it has been overtaken for too long."""
        ahead = self._line[: self._line.index(waiting)]
        overtaken = any(self._clock() - other.since > OVERTAKEN_S for other in ahead)
        return self._fits(waiting.cost) and not overtaken

    def _fits(self, cost: int) -> bool:
        return self._taken + cost <= self.budget
