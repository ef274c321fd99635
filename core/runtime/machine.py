"""What this process may use: cores and memory, of the container or of the machine.

A container's limits are in its control group, version 1 or 2; what the operating
system reports is the whole machine.

What the C library does with memory that has been freed: keep it, or give it back.

By itself it asks the system anew for every large array and hands it back afterwards, and the
system must clear each page again: a tenth to a fifth of the time of a tile. Kept in one heap,
the same pages serve tile after tile, and peaks are no higher, as what one thread has freed
another can use.

It also learns: once a large array has been freed, arrays of that size come from the heap, of
which anything small above them keeps all. Where memory is counted, that is memory lost.

Source: mallopt(3), of the GNU C library; other libraries are left as they are.

Keeping native libraries from talking over a command line's own output.
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
KILOBYTE = 1024  # as /proc/self/status means it
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def count_cores() -> int:
    """Cores that this process may keep busy: its affinity, or its quota if that is less."""
    cores = len(os.sched_getaffinity(0))
    quota = _cpu_quota()
    return cores if quota is None else max(1, min(cores, ceil(quota)))


def memory_limit() -> int:
    """Bytes of memory that this process may take with all others of its container."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_number("memory.max"), _number("memory/memory.limit_in_bytes"))
    return min([physical, *(limit for limit in limits if limit is not None)])


def resident_memory() -> int:
    """Bytes of memory that this process has now."""
    return _status("VmRSS")


def held_memory() -> int:
    """Bytes of that memory which the system cannot take back when memory is short.

    Pages of files, most of them TensorFlow's libraries, can be dropped and read again. A
    sandbox that does not tell them apart is believed to have none.
    """
    try:
        return resident_memory() - _status("RssFile")
    except OSError:
        return resident_memory()


def data_memory() -> int:
    """Bytes that this process may write to and shares with no other, touched or not."""
    return _status("VmData")


def has_bfloat16() -> bool:
    """True if the processor has instructions for bfloat16."""
    if not CPU_INFO.exists():
        return False
    lines = (line.partition(":") for line in CPU_INFO.read_text().splitlines())
    flags = {flag for key, _, text in lines if key.strip() == "flags" for flag in text.split()}
    return bool(flags & BFLOAT16_FLAGS)


def _status(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KILOBYTE
    raise OSError(f"{STATUS} must state {name}.")


def _cpu_quota() -> float | None:
    """Cores' worth of time, None without a limit."""
    quota, _, period = _read("cpu.max").partition(" ")
    if period:  # version 2: "max 100000" or "150000 100000"
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = _number("cpu/cpu.cfs_quota_us"), _number("cpu/cpu.cfs_period_us")
    if quota_us is None or not period_us or quota_us < 0:
        return None
    return quota_us / period_us


def _number(name: str) -> int | None:
    """A file of the control group as a number; None if it is absent or says "max"."""
    text = _read(name)
    return int(text) if text.lstrip("-").isdigit() else None


def _read(name: str) -> str:
    path = CGROUP / name
    return path.read_text().strip() if path.exists() else ""


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MEBIBYTE = 1024**2

KEEP = {
    M_ARENA_MAX: 1,
    M_MMAP_THRESHOLD: 64 * MEBIBYTE,  # the largest array of a usual window takes 38
    M_TRIM_THRESHOLD: 128 * MEBIBYTE,  # free memory at the heap's end, beyond which it goes back
}

GIVE_BACK = {M_MMAP_THRESHOLD: MEBIBYTE}  # set once, it is not learned any more


def keep_heap() -> None:
    """Set the C library of this process so; best before it has started threads."""
    _set(KEEP)


def give_back_arrays() -> None:
    """Set the C library of this process to give arrays of a megabyte and more back when freed."""
    _set(GIVE_BACK)


def _set(options: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)


@contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Hold back what the block writes to file descriptor 2; show it if the block fails.

    TensorFlow logs a few lines while it is imported, whatever level is asked for.
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
