"""What is measured, how often and for how long: the full measurement and a quick one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rhythm:
    """How often one thing is measured, after one time that does not count."""

    seconds: float
    """Time to spend on it, s; longer where `least` takes longer."""
    least: int
    most: int


@dataclass(frozen=True)
class Plan:
    """Every number of a measurement; sizes are (width, height), px."""

    sizes: tuple[tuple[int, int], ...]
    rhythm: Rhythm
    gemm_side: int
    """Rows and columns of the matrices that tell the machine's peak."""
    clients: tuple[int, ...]
    """Clients at once, each posting its next picture when the last is answered."""
    load_s: float
    """Duration of the load for each number of clients, s."""
    load_size: tuple[int, int]
    large_size: tuple[int, int]
    """Of the picture beside which small ones are timed."""
    memory_requests: tuple[int, ...]
    """After how many requests memory is read."""
    memory_side: int
    """Longest side of the pictures of these requests, px."""


FULL = Plan(
    sizes=((64, 64), (128, 80), (256, 256), (500, 500), (1000, 1000), (2000, 2000)),
    rhythm=Rhythm(seconds=10, least=3, most=20),
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
    rhythm=Rhythm(seconds=0.5, least=2, most=5),
    gemm_side=1024,
    clients=(1, 4),
    load_s=2,
    load_size=(64, 64),
    large_size=(400, 400),
    memory_requests=(3, 10),
    memory_side=60,
)
"""Whether everything runs, in about a minute; too short for figures worth keeping."""
