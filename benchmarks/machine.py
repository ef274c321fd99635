"""The machine: its name, its cores, and how fast it multiplies matrices."""

import os
import platform
import re
import sys
import time
from importlib.metadata import version
from typing import Any

from benchmarks.apart import Failed, call_apart
from config import Settings
from core.runtime.machine import CPU_INFO, count_cores, has_bfloat16

GEMM_SECONDS = 3.0  # for each kind of number
NUMBERS = ("float32", "bfloat16")


def describe_machine(gemm_side: int) -> dict[str, Any]:
    """Processor, memory, versions and peaks."""
    return {
        "processor": processor_name(),
        "cores": count_cores(),
        "memory_gb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        "bfloat16_instructions": has_bfloat16(),
        "python": platform.python_version(),
        "tensorflow": tensorflow_version(),
        "gemm_gflops": {kind: gemm_gflops(kind, gemm_side) for kind in NUMBERS},
    }


def gemm_gflops(kind: str, side: int) -> float | None:
    """The machine's peak for one kind of number, GFLOP/s; None where it has none."""
    threads = Settings.from_env().inference_threads
    try:
        peak, _ = call_apart(measure_gemm, kind=kind, side=side, threads=threads)
    except Failed as failure:
        sys.stderr.write(f"GEMM in {kind}: {failure}\n")
        return None
    return peak


def measure_gemm(kind: str, side: int, threads: int) -> float:
    """The fastest of several matrix products through TensorFlow, GFLOP/s.

    Args:
        kind: of number, as NumPy calls it.
        side: rows and columns of both matrices.
        threads: of the product; 0 for one per core.
    """
    from core.model.graph import tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    left, right = (tf.cast(tf.random.normal((side, side), seed=s), kind) for s in (1, 2))
    fastest_s, deadline = float("inf"), time.monotonic() + GEMM_SECONDS
    while time.monotonic() < deadline:
        started = time.perf_counter()
        tf.matmul(left, right).numpy()
        fastest_s = min(fastest_s, time.perf_counter() - started)
    return 2 * side**3 / fastest_s / 1e9


def processor_name() -> str:
    found = re.search(r"^model name\s*: (.*)", CPU_INFO.read_text(), re.MULTILINE)
    return found[1] if found else platform.processor()


def tensorflow_version() -> str:
    try:
        return version("tensorflow-cpu")
    except ModuleNotFoundError:  # PackageNotFoundError is one: another wheel of it
        return version("tensorflow")
