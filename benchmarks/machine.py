"""The machine: its name, its cores, and how fast it multiplies matrices."""

import os
import platform
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.apart import Failed, call_apart
from config import Settings

GEMM_SECONDS = 3.0  # for each kind of number
NUMBERS = ("float32", "bfloat16")


def describe_machine(gemm_side: int) -> dict[str, Any]:
    """Processor, memory, versions and peaks."""
    return {
        "processor": processor_name(),
        "cores": count_cores(),
        "memory_gb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        "bfloat16_instructions": has_bfloat16(processor_flags()),
        "python": platform.python_version(),
        "tensorflow": tensorflow_version(),
        "gemm_gflops": {kind: gemm_gflops(kind, gemm_side) for kind in NUMBERS},
    }


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


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
    from core.tensorflow import tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    left, right = (tf.cast(tf.random.normal((side, side), seed=s), kind) for s in (1, 2))
    fastest_s, deadline = float("inf"), time.monotonic() + GEMM_SECONDS
    while time.monotonic() < deadline:
        started = time.perf_counter()
        tf.matmul(left, right).numpy()
        fastest_s = min(fastest_s, time.perf_counter() - started)
    return 2 * side**3 / fastest_s / 1e9


def has_bfloat16(flags: set[str]) -> bool:
    """Whether a processor of these flags multiplies bfloat16 itself."""
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def processor_flags() -> set[str]:
    found = re.search(r"^flags\s*: (.*)", cpuinfo(), re.MULTILINE)
    return set(found[1].split()) if found else set()


def processor_name() -> str:
    found = re.search(r"^model name\s*: (.*)", cpuinfo(), re.MULTILINE)
    return found[1] if found else platform.processor()


def cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text()


def tensorflow_version() -> str:
    try:
        return version("tensorflow-cpu")
    except ModuleNotFoundError:  # PackageNotFoundError is one: another wheel of it
        return version("tensorflow")
