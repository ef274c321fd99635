"""The machine as this process may use it: cores, memory, and the C library's heap.

A container's limits are in its control group, version 1 or 2. What the operating system
reports is the whole machine.
"""

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
CPU_INFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")
KILOBYTE = 1024
"""Unit of `STATUS`, in bytes."""

BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags of `CPU_INFO` that announce instructions for bfloat16."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""

MEBIBYTE = 1024**2

KEEP = {
    M_ARENA_MAX: 1,
    M_MMAP_THRESHOLD: 64 * MEBIBYTE,  # the largest array of a usual window takes 38
    M_TRIM_THRESHOLD: 128 * MEBIBYTE,  # free memory at the end of the heap that is kept
}
"""Options of `keep_heap`."""

GIVE_BACK = {M_MMAP_THRESHOLD: MEBIBYTE}
"""Options of `give_back_arrays`. Once it is set, the C library no longer adapts the threshold."""


def count_cores() -> int:
    """Return how many cores this process may use: its affinity, or its quota if that is less."""
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota()
    return cores if quota is None else max(1, min(cores, ceil(quota)))


def has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16."""
    if not CPU_INFO.exists():
        return False
    lines = (line.partition(":") for line in CPU_INFO.read_text().splitlines())
    flags = {flag for key, _, text in lines if key.strip() == "flags" for flag in text.split()}
    return bool(flags & BFLOAT16_FLAGS)


def memory_limit() -> int:
    """Return how many bytes this process may use together with all others of its container."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_cgroup_number("memory.max"), _cgroup_number("memory/memory.limit_in_bytes"))
    return min([physical, *(limit for limit in limits if limit is not None)])


def resident_memory() -> int:
    """Return the resident memory of this process, in bytes."""
    return _status_bytes("VmRSS")


def held_memory() -> int:
    """Return the resident memory that the system cannot reclaim, in bytes.

    Pages of files, most of them of TensorFlow's libraries, can be dropped and read again. If
    the system does not report them separately, all resident memory counts.
    """
    try:
        return resident_memory() - _status_bytes("RssFile")
    except OSError:
        return resident_memory()


def data_memory() -> int:
    """Return the size of the private writable memory of this process, used or not, in bytes."""
    return _status_bytes("VmData")


def keep_heap() -> None:
    """Let the C library of this process keep freed memory; best before it starts threads.

    By default it requests each large array from the system and returns it afterwards. The
    system then clears each page again, which takes a tenth to a fifth of the time of a tile.
    In one heap, the same pages serve tile after tile. Peaks are no higher, as one thread can
    use what another has freed.

    Source: mallopt(3) of the GNU C library. Other C libraries are left as they are.
    """
    _set_malloc_options(KEEP)


def give_back_heap() -> None:
    """Return to the system what this process has freed but kept; it takes some milliseconds.

    Loading a network frees more memory than computing with it needs.

    Source: malloc_trim(3) of the GNU C library. Other C libraries are left as they are.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_arrays() -> None:
    """Let the C library of this process return arrays of a mebibyte or more when they are freed.

    By default it adapts: once a large array has been freed, arrays of that size come from the
    heap. A small array above them then keeps them from being returned. Where memory is limited,
    that memory is lost.

    Source: mallopt(3) of the GNU C library. Other C libraries are left as they are.
    """
    _set_malloc_options(GIVE_BACK)


@contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Discard what native code in the block writes to standard error, unless the block fails.

    TensorFlow logs a few lines while it is imported, whatever level is set.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(kept, held_back.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _status_bytes(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KILOBYTE
    raise OSError(f"{STATUS} must state {name}.")


def _cpu_quota() -> float | None:
    """Return the quota of the control group, in cores; None without one."""
    quota, _, period = _read_cgroup("cpu.max").partition(" ")
    if period:  # version 2: "max 100000" or "150000 100000"
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = (_cgroup_number(f"cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota_us is None or not period_us or quota_us < 0:
        return None
    return quota_us / period_us


def _cgroup_number(name: str) -> int | None:
    """Return the number in a file of the control group; None if it is absent or says "max"."""
    text = _read_cgroup(name)
    return int(text) if text.lstrip("-").isdigit() else None


def _read_cgroup(name: str) -> str:
    path = CGROUP / name
    return path.read_text().strip() if path.exists() else ""


def _set_malloc_options(options: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)
