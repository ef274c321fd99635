"""Call a function in its own process, so that its memory can be measured and limited."""

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

TIMEOUT_S = 3600  # for one process
RESERVE_BYTES = 1_000_000_000  # memory that is left to the rest of the machine
OUT_OF_MEMORY = "out of memory"

# Messages of C++, Python, TensorFlow, oneDNN and the other engines.
OUT_OF_MEMORY_PATTERN = re.compile(
    r"bad_alloc|MemoryError|ResourceExhausted|OOM|[Oo]ut of memory|[Aa]llocat.*memory|memory object"
)


class CallFailed(Exception):
    """The function returned no result; the message is the reason, in a few words."""


def call_isolated(
    function: Callable[..., Any], *, python: Path | str = sys.executable, **arguments: Any
) -> tuple[Any, float]:
    """Call a function of a module in a new process that may use the free memory.

    Args:
        function: a function of a module; its arguments and result must fit into JSON.
        python: the interpreter.
        **arguments: arguments of the function.

    Returns:
        The result, and the peak resident memory of the process, MB.

    Raises:
        CallFailed: if it returned no result.
    """
    call = [function.__module__, function.__name__, free_memory_bytes(), arguments]
    command = [str(python), "-m", "benchmarks.isolated", json.dumps(call)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise CallFailed(f"there is no {python}") from None
    except subprocess.TimeoutExpired:
        raise CallFailed(f"took more than {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise CallFailed(find_reason(done.returncode, done.stderr))
    result, peak_mb = json.loads(done.stdout.splitlines()[-1])
    return result, peak_mb


def find_reason(code: int, stderr: str) -> str:
    r"""Return why a process failed, from its exit status and the end of its output.

    >>> find_reason(1, "Traceback ...\nbenchmarks.engines.Unavailable: no bfloat16\n")
    'no bfloat16'
    """
    if OUT_OF_MEMORY_PATTERN.search(stderr):
        return OUT_OF_MEMORY
    lines = stderr.strip().splitlines()
    if code < 0 or not lines:
        return f"ended with {code}"
    return re.sub(r"^[\w.]+: ", "", lines[-1])


def free_memory_bytes() -> int:
    """Return the memory that is available without swapping, less a reserve."""
    meminfo = Path("/proc/meminfo").read_text()
    available = 1024 * int(re.search(r"MemAvailable:\s+(\d+) kB", meminfo)[1])
    return max(available - RESERVE_BYTES, RESERVE_BYTES)


def limit_memory(limit_bytes: int) -> None:
    """Limit the address space of this process, so that it fails instead of the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def main() -> None:
    """Call the function that the parent process names; print its result and peak memory."""
    module, name, limit_bytes, arguments = json.loads(sys.argv[1])
    limit_memory(limit_bytes)
    result = getattr(importlib.import_module(module), name)(**arguments)
    sys.stdout.write(f"\n{json.dumps([result, peak_of_process_mb('self')])}\n")


if __name__ == "__main__":
    main()
