"""Time pictures with and without restoring, in turn, so that both see the same machine."""

from dataclasses import dataclass

from benchmarks.latency import OK, UnexpectedAnswer, make_picture, post
from benchmarks.plan import Plan, Repetitions
from benchmarks.processes import peak_memory_mb
from benchmarks.server import running_server
from benchmarks.timing import repeat


@dataclass(frozen=True)
class Restoring:
    """Times of one picture without and with restoring, and the peak memory of the server."""

    width: int
    height: int
    plain_ms: list[float]
    restored_ms: list[float]
    """Times of the same number of requests, each sent after one without restoring."""
    plain_peak_mb: float
    """Before the first picture was restored."""
    restored_peak_mb: float


def measure_restoring(plan: Plan) -> list[Restoring]:
    """Measure all sizes, each in a server of its own."""
    readings = []
    for width, height in plan.restored_sizes:
        with running_server() as (url, server):
            readings.append(measure_pairs(url, server.pid, width, height, plan.repetitions))
    return readings


def measure_pairs(
    url: str, pid: int, width: int, height: int, repetitions: Repetitions
) -> Restoring:
    """Post a picture without and with restoring, in turn.

    Raises:
        UnexpectedAnswer: if the status is not 200.
    """
    picture = make_picture(width, height)

    def upscale(restore: float) -> float:
        answer = post(url, picture, restore=restore)
        if answer.status != OK:
            raise UnexpectedAnswer(answer.status)
        return answer.end_to_end_ms

    upscale(0.0)
    plain_peak_mb = peak_memory_mb(pid)
    pairs = repeat(lambda: (upscale(0.0), upscale(1.0)), repetitions)
    plain_ms, restored_ms = (list(times) for times in zip(*pairs, strict=True))
    return Restoring(width, height, plain_ms, restored_ms, plain_peak_mb, peak_memory_mb(pid))
