"""Describe the machine: its processor, memory, versions and speed."""

import os
import platform
import re
import sys
import time
from importlib.metadata import version
from typing import Any

from benchmarks.isolated import CallFailed, call_isolated
from config import Settings
from core.runtime.machine import CPU_INFO, count_cores, has_bfloat16

GEMM_SECONDS = 3.0  # time to spend on each data type
DTYPES = ("float32", "bfloat16")


def describe_machine(gemm_side: int) -> dict[str, Any]:
    """Return processor, memory, versions and peak speeds, as the field `machine` of Results."""
    return {
        "processor": processor_name(),
        "cores": count_cores(),
        "memory_gb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        "bfloat16_instructions": has_bfloat16(),
        "python": platform.python_version(),
        "tensorflow": tensorflow_version(),
        "gemm_gflops": {dtype: gemm_gflops(dtype, gemm_side) for dtype in DTYPES},
    }


def gemm_gflops(dtype: str, side: int) -> float | None:
    """Return the peak of the machine for a data type, GFLOP/s; None if it fails."""
    threads = Settings.from_env().inference_threads
    try:
        peak, _ = call_isolated(measure_gemm, dtype=dtype, side=side, threads=threads)
    except CallFailed as failure:
        sys.stderr.write(f"GEMM in {dtype}: {failure}\n")
        return None
    return peak


def measure_gemm(dtype: str, side: int, threads: int) -> float:
    """Return the speed of the fastest of several matrix products in TensorFlow, GFLOP/s.

    Args:
        dtype: name of the data type.
        side: number of rows and columns of both matrices.
        threads: number of threads; 0 for one per core.
    """
    from core.model.graph import tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    left, right = (tf.cast(tf.random.normal((side, side), seed=s), dtype) for s in (1, 2))
    fastest_s, deadline = float("inf"), time.monotonic() + GEMM_SECONDS
    while time.monotonic() < deadline:
        started = time.perf_counter()
        tf.matmul(left, right).numpy()
        fastest_s = min(fastest_s, time.perf_counter() - started)
    return 2 * side**3 / fastest_s / 1e9


def processor_name() -> str:
    """Return the name of the processor."""
    found = re.search(r"^model name\s*: (.*)", CPU_INFO.read_text(), re.MULTILINE)
    return found[1] if found else platform.processor()


def tensorflow_version() -> str:
    """Return the version of TensorFlow, whichever of its packages is installed."""
    try:
        return version("tensorflow-cpu")
    except ModuleNotFoundError:  # the base class of PackageNotFoundError
        return version("tensorflow")
