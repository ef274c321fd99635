"""A function called in a process of its own, so that its memory is its own."""

import importlib
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import peak_of_process_mb
from config import ROOT

PATIENCE_S = 3600  # with one process
RESERVE_BYTES = 1_000_000_000  # of memory, left to the rest of the machine
OUT_OF_MEMORY = "out of memory"

# What C++, Python, TensorFlow, oneDNN and the other engines say of it.
SIGNS_OF_NO_MEMORY = re.compile(
    r"bad_alloc|MemoryError|ResourceExhausted|OOM|[Oo]ut of memory|[Aa]llocat.*memory|memory object"
)


class Failed(Exception):
    """The function gave no result; the message is the reason, in a few words."""


def call_apart(
    function: Callable[..., Any], *, python: Path | str = sys.executable, **arguments: Any
) -> tuple[Any, float]:
    """Call a function of a module in a new process that may use what memory is free.

    Args:
        function: found by its module and name; takes and returns what JSON can hold.
        python: the interpreter.
        arguments: of the function.

    Returns:
        What the function returned, and the process's peak resident memory, MB.

    Raises:
        Failed: if it gave no result.
    """
    order = [function.__module__, function.__name__, free_memory_bytes(), arguments]
    command = [str(python), "-m", "benchmarks.apart", json.dumps(order)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except FileNotFoundError:
        raise Failed(f"there is no {python}") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"took more than {PATIENCE_S} s") from None
    if done.returncode != 0:
        raise Failed(describe_failure(done.returncode, done.stderr))
    result, peak_mb = json.loads(done.stdout.splitlines()[-1])
    return result, peak_mb


def describe_failure(code: int, stderr: str) -> str:
    """Why a process ended with another code than 0, from the end of what it wrote.

    >>> describe_failure(1, "Traceback ...\\nbenchmarks.engines.Unavailable: no bfloat16\\n")
    'no bfloat16'
    """
    if SIGNS_OF_NO_MEMORY.search(stderr):
        return OUT_OF_MEMORY
    lines = stderr.strip().splitlines()
    if code < 0 or not lines:
        return f"ended with {code}"
    return re.sub(r"^[\w.]+: ", "", lines[-1])


def free_memory_bytes() -> int:
    """What processes could still take without swapping, less a reserve."""
    meminfo = Path("/proc/meminfo").read_text()
    available = 1024 * int(re.search(r"MemAvailable:\s+(\d+) kB", meminfo)[1])
    return max(available - RESERVE_BYTES, RESERVE_BYTES)


def limit_memory(limit_bytes: int) -> None:
    """Have this process fail, rather than the machine, when it wants more memory."""
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def main() -> None:
    module, name, limit_bytes, arguments = json.loads(sys.argv[1])
    limit_memory(limit_bytes)
    result = getattr(importlib.import_module(module), name)(**arguments)
    sys.stdout.write(f"\n{json.dumps([result, peak_of_process_mb('self')])}\n")


if __name__ == "__main__":
    main()
