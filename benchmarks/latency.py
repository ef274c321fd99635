"""Time and memory of one request after another, against a server of this checkout.

Run by `make bench`: starts the production server, posts noise of several sizes and
prints a Markdown table. End to end is what a client waits for: upload, decoding,
network, encoding, download. The network's own time is the server's `Server-Timing`,
so both are measured in the same requests and their ratio is that of one run.
"""

import os
import platform
import re
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import requests

from benchmarks.server import running_server
from core.images import Picture, encode_png

SIZES = [(64, 64), (128, 80), (256, 256), (500, 500), (1000, 1000), (2000, 2000)]  # width, height
BUDGET_S = 10  # spent on each size, or 3 requests, whichever is longer
LEAST_REQUESTS, MOST_REQUESTS = 3, 20
PATIENCE_S = 600  # with one request


class Line(NamedTuple):
    """Medians over the requests of one size."""

    width: int
    height: int
    end_to_end_ms: float
    network_ms: float
    peak_mb: float


def main() -> None:
    with running_server() as (url, server):
        lines = [measure(url, server.pid, width, height) for width, height in SIZES]
    sys.stdout.write(as_table(lines))


def measure(url: str, pid: int, width: int, height: int) -> Line:
    """Post the same picture again and again."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    data = encode_png(Picture(noise))
    post(url, data)  # the first request of a size prepares the network for its shape
    timings = []
    started = time.monotonic()
    while len(timings) < MOST_REQUESTS and (
        len(timings) < LEAST_REQUESTS or time.monotonic() - started < BUDGET_S
    ):
        timings.append(post(url, data))
    end_to_end, network = (median(column) for column in zip(*timings, strict=True))
    return Line(width, height, end_to_end, network, peak_memory_mb(pid))


def post(url: str, data: bytes) -> tuple[float, float]:
    """Milliseconds of one request: end to end, and in the network."""
    started = time.perf_counter()
    answer = requests.post(f"{url}/model/predict", files={"image": data}, timeout=PATIENCE_S)
    end_to_end_ms = 1000 * (time.perf_counter() - started)
    answer.raise_for_status()
    timing = answer.headers["Server-Timing"]
    return end_to_end_ms, float(re.search(r"inference;dur=([\d.]+)", timing)[1])


def peak_memory_mb(pid: int) -> float:
    """Highest resident memory so far of the server's processes together, MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(peak_of_process_mb(process) for process in [str(pid), *children])


def peak_of_process_mb(pid: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000


def as_table(lines: list[Line]) -> str:
    """Markdown."""
    rows = [
        f"{date.today()}, {cpu_name()}, {len(os.sched_getaffinity(0))} cores.\n",
        "| picture | end to end, ms | network, ms | network's share | peak memory so far, MB |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        share = line.network_ms / line.end_to_end_ms
        rows.append(
            f"| {line.width} x {line.height} | {line.end_to_end_ms:.0f} | {line.network_ms:.0f} "
            f"| {share:.0%} | {line.peak_mb:.0f} |"
        )
    return "\n".join(rows) + "\n"


def cpu_name() -> str:
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
