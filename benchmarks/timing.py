"""Repeating a thing, and what its times say."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.plan import Rhythm

Result = TypeVar("Result")


def repeat(call: Callable[[], Result], rhythm: Rhythm) -> list[Result]:
    """The results of a call made again and again.

    The first call does not count: it prepares the network for the shape.
    """
    call()
    results: list[Result] = []
    started = time.monotonic()
    while len(results) < rhythm.most and (
        len(results) < rhythm.least or time.monotonic() - started < rhythm.seconds
    ):
        results.append(call())
    return results


def milliseconds(call: Callable[[], object]) -> float:
    """How long a call takes, ms."""
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed.

    >>> percentile([30, 10, 20, 40], 50)
    20
    """
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]
