"""Admission of requests: a memory budget for all pictures in progress, and a bounded queue.

The header of a picture tells how much memory the request will take (see
`core.runtime.memory_plan`). The request is admitted when that fits into what is left of the
budget. Until then it waits in the queue (`Admission`). If the queue is full, the caller is told
when to try again.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from core.errors import Overloaded, TooMuchMemory
from core.runtime.scheduler import CALLER_CHECK_S, RequestDeadline

MAX_OVERTAKEN_S = 5.0
"""How long smaller requests may overtake one that does not fit."""

MEGABYTE = 1_000_000


@dataclass(eq=False)
class _QueuedRequest:
    """A request that waits for memory since a time on the clock."""

    cost: int
    since_s: float
    deadline: RequestDeadline


class Admission:
    """Keeps the memory of all pictures in progress below a budget.

    Args:
        budget: bytes.
        queue: number of requests that may wait.
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
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """Bytes of the budget that are reserved for admitted requests."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Number of requests that wait for memory."""
        return len(self._queued)

    def before(self, deadline: RequestDeadline) -> int | None:
        """Return how many requests wait before that of a caller; None if it does not wait.

        Args:
            deadline: of the caller; identifies the request.
        """
        queued = list(self._queued)
        positions = (n for n, request in enumerate(queued) if request.deadline is deadline)
        return next(positions, None)

    @contextmanager
    def admit(self, cost: int, deadline: RequestDeadline | None = None) -> Iterator[None]:
        """Reserve `cost` bytes of the budget for as long as the block runs.

        Raises:
            TooMuchMemory: if that is more than the whole budget.
            Overloaded: if the queue is full.
            DeadlineExceeded: if the deadline passes before there is memory.
            RequestAbandoned: if the caller leaves before there is memory.
        """
        self.check(cost)
        self._reserve(cost, deadline or RequestDeadline())
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

    def _reserve(self, cost: int, deadline: RequestDeadline) -> None:
        with self._changed:
            request = self._enqueue(cost, deadline)
            try:
                while not self._is_next(request):
                    self._changed.wait(CALLER_CHECK_S)
                    deadline.check(self._clock())
                self._taken += cost
            finally:
                self._queued.remove(request)
                self._changed.notify_all()

    def _enqueue(self, cost: int, deadline: RequestDeadline) -> _QueuedRequest:
        if len(self._queued) >= self.queue and not self._fits(cost):
            raise Overloaded(
                f"At most {self.queue} pictures may wait. Received: one more.",
                retry_after_s=max(1, ceil(self._backlog_s())),
            )
        request = _QueuedRequest(cost, self._clock(), deadline)
        self._queued.append(request)
        return request

    def _is_next(self, request: _QueuedRequest) -> bool:
        """Return whether it fits, and no request before it has been overtaken for too long."""
        ahead = self._queued[: self._queued.index(request)]
        has_starving = any(self._clock() - r.since_s > MAX_OVERTAKEN_S for r in ahead)
        return self._fits(request.cost) and not has_starving

    def _fits(self, cost: int) -> bool:
        return self._taken + cost <= self.budget
