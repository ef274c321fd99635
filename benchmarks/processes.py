"""Read the memory of processes from Linux."""

import re
from pathlib import Path


def resident_memory_mb(pid: int) -> float:
    """Return the resident memory of a server's processes together, MB."""
    return sum(field_mb(process, "VmRSS") for process in processes_of(pid))


def peak_memory_mb(pid: int) -> float:
    """Return the sum of the peak resident memory of a server's processes, MB."""
    return sum(peak_of_process_mb(process) for process in processes_of(pid))


def peak_of_process_mb(pid: str) -> float:
    """Return the peak resident memory of one process, MB."""
    return field_mb(pid, "VmHWM")


def processes_of(pid: int) -> list[str]:
    """Return the ids of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [str(pid), *children]


def field_mb(pid: str, name: str) -> float:
    """Return a field of /proc/PID/status, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024 / 1e6
