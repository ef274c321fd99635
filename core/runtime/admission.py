"""Admission of requests: a memory budget for all pictures in progress, and a bounded queue.

The header of a picture tells how much memory the request will take (see
`core.runtime.memory_plan`). The request is admitted when that fits into what is left of the
budget. Until then it waits in the queue (`Admission`). If the queue is full, the caller is told
when to try again. Frames of jobs wait in the same queue, but whether it is full does not concern
them: a job could not try again as often as all clients together.

What requests share stays in memory between them, as a `Resident`: a model that was loaded on
demand. It is evicted when a request needs its memory and no request uses it. A request gets its
own memory and that of its resident at once. So no request waits for memory while it holds some.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from core.errors import Overloaded, TooMuchMemory
from core.runtime.tile_tasks import CALLER_CHECK_S, RequestDeadline

MAX_OVERTAKEN_S = 5.0
"""How long smaller requests may overtake one that does not fit."""

MEGABYTE = 1_000_000


@dataclass(eq=False)
class Resident:
    """What several requests share, and what stays in memory between them while there is room.

    Attributes:
        cost: bytes that it takes.
        evict: frees it; called while no request uses it.
        users: number of admitted requests that use it.
        held: bytes that are reserved for it; 0 while it is not in memory.
        used_s: time on the clock when a request last ended that used it.
    """

    cost: int
    evict: Callable[[], None]
    users: int = 0
    held: int = 0
    used_s: float = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it is in memory, and no request uses it."""
        return bool(self.held) and not self.users


@dataclass(eq=False)
class _QueuedRequest:
    """A request that waits for memory since a time on the clock."""

    cost: int
    resident: Resident | None
    since_s: float
    deadline: RequestDeadline
    is_background: bool

    @property
    def missing(self) -> int:
        """Bytes to reserve: its own, and those of its resident unless that is in memory."""
        if self.resident is None or self.resident.held:
            return self.cost
        return self.cost + self.resident.cost


class Admission:
    """Keeps the memory of all pictures in progress below a budget.

    Args:
        budget: bytes.
        queue: number of requests that may wait, apart from those of the background.
        backlog_s: returns the time until the pictures in progress are done, for `Retry-After`.
        clock: monotonic, s.
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
        self._queued: list[_QueuedRequest] = []
        self._residents: list[Resident] = []
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """Bytes of the budget that are reserved for admitted requests and residents."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Number of requests that wait for memory, apart from those of the background."""
        return sum(not request.is_background for request in list(self._queued))

    def before(self, deadline: RequestDeadline) -> int | None:
        """Return how many requests wait before that of a caller; None if it does not wait.

        Args:
            deadline: of the caller; identifies the request.
        """
        queued = list(self._queued)
        positions = (n for n, request in enumerate(queued) if request.deadline is deadline)
        return next(positions, None)

    @contextmanager
    def admit(
        self,
        cost: int,
        deadline: RequestDeadline | None = None,
        resident: Resident | None = None,
        *,
        is_background: bool = False,
    ) -> Iterator[None]:
        """Reserve `cost` bytes of the budget for as long as the block runs.

        Args:
            cost: bytes.
            deadline: of the caller; None for no limit.
            resident: its bytes are reserved, too, and longer than the block. It is not evicted
                before the block ends. None if the request needs none.
            is_background: whether it may wait even if the queue is full.

        Raises:
            TooMuchMemory: if that is more than the whole budget.
            Overloaded: if the queue is full.
            DeadlineExceeded: if the deadline passes before there is memory.
            RequestAbandoned: if the caller leaves before there is memory.
        """
        self.check(cost, resident)
        deadline = deadline or RequestDeadline()
        self._reserve(_QueuedRequest(cost, resident, self._clock(), deadline, is_background))
        try:
            yield
        finally:
            with self._changed:
                self._taken -= cost
                if resident is not None:
                    resident.users -= 1
                    resident.used_s = self._clock()
                self._changed.notify_all()

    def check(self, cost: int, resident: Resident | None = None) -> None:
        """Raise TooMuchMemory if this, with a resident, is more than the whole budget."""
        shared = 0 if resident is None else resident.cost
        if cost + shared > self.budget:
            model = (
                f" of memory, of which the model takes {ceil(shared / MEGABYTE)} MB"
                if shared
                else ""
            )
            raise TooMuchMemory(
                f"Image must need at most {self.budget // MEGABYTE} MB of memory. "
                f"Received: one that needs {ceil((cost + shared) / MEGABYTE)} MB{model}."
            )

    def grow(self, resident: Resident, cost: int) -> bool:
        """Change the cost of a resident that is in memory to what turned out to be needed.

        Returns:
            Whether there is memory for it; then it is reserved. Otherwise the caller evicts the
            resident by `drop` and may ask again.
        """
        with self._changed:
            added = cost - resident.held
            resident.cost = cost
            if not self._fits(added):
                return False
            self._evict_for(added)
            self._taken += added
            resident.held = cost
            self._changed.notify_all()
        return True

    def drop(self, resident: Resident) -> None:
        """Release the memory of a resident that could not be brought into memory."""
        with self._changed:
            self._evict(resident)
            self._changed.notify_all()

    def _reserve(self, request: _QueuedRequest) -> None:
        with self._changed:
            self._enqueue(request)
            try:
                while not self._is_next(request):
                    self._changed.wait(CALLER_CHECK_S)
                    request.deadline.check(self._clock())
                self._take(request)
            finally:
                self._queued.remove(request)
                self._changed.notify_all()

    def _take(self, request: _QueuedRequest) -> None:
        missing, resident = request.missing, request.resident
        if resident is not None:
            resident.users += 1  # before others are evicted: it must not be among them
        self._evict_for(missing)
        self._taken += missing
        if resident is not None and not resident.held:
            resident.held = resident.cost
            self._residents.append(resident)

    def _enqueue(self, request: _QueuedRequest) -> None:
        is_full = self.waiting >= self.queue and not request.is_background
        if is_full and not self._is_admissible(request):
            raise Overloaded(
                f"At most {self.queue} pictures may wait. Received: one more.",
                retry_after_s=max(1, ceil(self._backlog_s())),
            )
        self._queued.append(request)

    def _is_next(self, request: _QueuedRequest) -> bool:
        """Return whether it fits, and no request before it has been overtaken for too long."""
        ahead = self._queued[: self._queued.index(request)]
        has_starving = any(self._clock() - r.since_s > MAX_OVERTAKEN_S for r in ahead)
        return self._is_admissible(request) and not has_starving

    def _is_admissible(self, request: _QueuedRequest) -> bool:
        """Return whether a request fits, once residents are evicted that it does not use."""
        return self._fits(request.missing, request.resident)

    def _fits(self, cost: int, kept: Resident | None = None) -> bool:
        idle = sum(r.held for r in self._residents if r.is_idle and r is not kept)
        return self._taken - idle + cost <= self.budget

    def _evict_for(self, cost: int) -> None:
        """Evict idle residents, the least recently used first, until this many bytes fit."""
        idle = sorted((r for r in self._residents if r.is_idle), key=lambda r: r.used_s)
        for resident in idle:
            if self._taken + cost <= self.budget:
                return
            self._evict(resident)

    def _evict(self, resident: Resident) -> None:
        if resident.held:
            self._residents.remove(resident)
            self._taken -= resident.held
            resident.held = 0
            resident.evict()
