"""Load a server with many clients, and time small pictures beside a large one."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.latency import OK, REFUSED, Answer, make_picture, post
from benchmarks.plan import Plan
from benchmarks.timing import repeat

Upscale = Callable[[], Answer]


@dataclass(frozen=True)
class Load:
    """A server with a number of clients, each with one request at a time."""

    clients: int
    seconds: float
    """Time from the first request to the last answer, s."""
    statuses: dict[str, int]
    """Number of answers by status, or by the name of the error if there was no answer."""
    latencies_ms: list[float]
    """Times of the pictures that were upscaled."""


@dataclass(frozen=True)
class Beside:
    """Small pictures, alone and while the server upscales a large one."""

    small_size: tuple[int, int]
    large_size: tuple[int, int]
    idle_ms: list[float]
    busy_ms: list[float]
    statuses: dict[str, int]
    """Number of answers by status, for the small pictures beside the large one."""
    large_status: str
    large_ms: float


def measure_load(url: str, plan: Plan) -> list[Load]:
    """Load a server with each number of clients in the plan."""
    picture = make_picture(*plan.load_size)
    post(url, picture)  # the first request of a size prepares the network for its shape
    return [
        run_clients(lambda: post(url, picture), clients, plan.load_s) for clients in plan.clients
    ]


def run_clients(upscale: Upscale, clients: int, seconds: float) -> Load:
    """Let clients post one picture after the other; requests in progress at the end finish."""
    started = time.monotonic()
    deadline = started + seconds
    with ThreadPoolExecutor(clients) as pool:
        runs = [pool.submit(run_client, upscale, deadline) for _ in range(clients)]
        answers = [answer for run in runs for answer in run.result()]
    return Load(clients, time.monotonic() - started, count_statuses(answers), latencies_ms(answers))


def run_client(upscale: Upscale, deadline: float) -> list[Answer]:
    """Send requests until the deadline; after a refusal, wait as long as the server says."""
    answers = []
    while time.monotonic() < deadline:
        answer = upscale()
        answers.append(answer)
        if answer.status == REFUSED:
            time.sleep(max(0.0, min(answer.retry_after_s, deadline - time.monotonic())))
    return answers


def measure_beside(url: str, plan: Plan) -> Beside:
    """Time small pictures alone, then while a large one is upscaled."""
    small, large = make_picture(*plan.load_size), make_picture(*plan.large_size)
    idle = repeat(lambda: post(url, small), plan.repetitions)
    large_answers: list[Answer] = []
    busy = []
    thread = threading.Thread(target=lambda: large_answers.append(post(url, large)))
    thread.start()
    while thread.is_alive():
        busy.append(post(url, small))
    return Beside(
        plan.load_size,
        plan.large_size,
        latencies_ms(idle),
        latencies_ms(busy),
        count_statuses(busy),
        large_answers[0].status,
        large_answers[0].end_to_end_ms,
    )


def count_statuses(answers: list[Answer]) -> dict[str, int]:
    """Return the number of answers by status."""
    return dict(sorted(Counter(answer.status for answer in answers).items()))


def latencies_ms(answers: list[Answer]) -> list[float]:
    """Return the times of the pictures that were upscaled."""
    return [answer.end_to_end_ms for answer in answers if answer.status == OK]
