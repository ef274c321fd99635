"""Measure the memory of a server after many requests of random sizes."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmarks.latency import make_picture, post
from benchmarks.plan import Plan
from benchmarks.processes import peak_memory_mb, resident_memory_mb

SEED = 20261121


@dataclass(frozen=True)
class Memory:
    """Memory of all processes of a server, after some requests."""

    requests: int
    resident_mb: float
    peak_mb: float
    statuses: dict[str, int]
    """Number of answers by status."""


def measure_growth(url: str, pid: int, plan: Plan) -> list[Memory]:
    """Post pictures of random sizes, and read the memory of the server in between."""
    random = np.random.default_rng(SEED)
    statuses: Counter[str] = Counter()
    readings = []
    for count in range(1, max(plan.memory_requests) + 1):
        width, height = random.integers(1, plan.memory_side, 2, endpoint=True)
        statuses[post(url, make_picture(width, height, seed=count)).status] += 1
        if count in plan.memory_requests:
            resident, peak = resident_memory_mb(pid), peak_memory_mb(pid)
            peak = max(peak, resident)  # the kernel updates the two at different times
            readings.append(Memory(count, resident, peak, dict(statuses)))
    return readings
