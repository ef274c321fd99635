"""Repeat and time calls, and summarise the times."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.plan import Repetitions

Result = TypeVar("Result")


def repeat(call: Callable[[], Result], repetitions: Repetitions) -> list[Result]:
    """Return the results of repeated calls.

    The first call does not count: it prepares the network for the shape.
    """
    call()
    results: list[Result] = []
    started = time.monotonic()
    while len(results) < repetitions.most and (
        len(results) < repetitions.least or time.monotonic() - started < repetitions.seconds
    ):
        results.append(call())
    return results


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long a call takes, ms."""
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed.

    >>> percentile([30, 10, 20, 40], 50)
    20
    """
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]
