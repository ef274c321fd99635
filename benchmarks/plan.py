"""Plans of the measurement: sizes, repetitions and durations, full and quick."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Repetitions:
    """How often a call is measured, after one call that does not count."""

    seconds: float
    """Time to spend, s; more if `least` calls take longer."""
    least: int
    """Least number of calls."""
    most: int
    """Greatest number of calls."""


@dataclass(frozen=True)
class Plan:
    """Settings of a measurement; sizes are (width, height), px."""

    sizes: tuple[tuple[int, int], ...]
    repetitions: Repetitions
    restored_sizes: tuple[tuple[int, int], ...]
    """Sizes of the pictures that are timed without and with restoring."""
    gemm_side: int
    """Rows and columns of the matrices that measure the machine's peak."""
    clients: tuple[int, ...]
    """Numbers of clients at the same time; each waits for an answer before the next request."""
    load_s: float
    """Duration of the load for each number of clients, s."""
    load_size: tuple[int, int]
    """Size of the pictures under load."""
    large_size: tuple[int, int]
    """Size of the picture beside which small ones are timed."""
    memory_requests: tuple[int, ...]
    """Numbers of requests after which memory is read."""
    memory_side: int
    """Longest side of the pictures in these requests, px."""


FULL = Plan(
    sizes=((64, 64), (128, 80), (256, 256), (500, 500), (1000, 1000), (2000, 2000)),
    repetitions=Repetitions(seconds=10, least=3, most=20),
    restored_sizes=((128, 80), (512, 512), (2000, 2000)),
    gemm_side=4096,
    clients=(1, 4, 16, 64),
    load_s=20,
    load_size=(128, 80),
    large_size=(2000, 2000),
    memory_requests=(20, 200),
    memory_side=300,
)

QUICK = Plan(
    sizes=((128, 80),),
    repetitions=Repetitions(seconds=0.5, least=2, most=5),
    restored_sizes=((128, 80),),
    gemm_side=1024,
    clients=(1, 4),
    load_s=2,
    load_size=(64, 64),
    large_size=(400, 400),
    memory_requests=(3, 10),
    memory_side=60,
)
"""Checks that everything runs, in about a minute; too short for useful figures."""
