"""What a process that works on files of strangers may use: memory, time, and no more life
than that of the process it works for.
"""

import math
import multiprocessing
import os
import resource
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from pathlib import Path
from types import FrameType

from core.heap import give_back_arrays
from core.machine import data_memory

OOM_SCORE = Path("/proc/self/oom_score_adj")
FIRST_TO_GO = "1000"
"""Where the container's memory is at an end, the kernel takes this process, not the server."""

REPEAT_S = 0.1
"""Until the interruption comes again: native code may swallow the first."""

STANDARD_ERROR = 2

GRACE_S = 1
"""Of processor time, to be interrupted in; then the kernel ends the process."""


class OutOfTime(BaseException):
    """The processor time is used up; no `except Exception` stops it."""


def confine(memory_bytes: int) -> None:
    """Confine this process, once and for all.

    Args:
        memory_bytes: that it may take beyond what it has now.
    """
    give_back_arrays()  # or one task leaves less than that to the next
    most = data_memory() + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # not every sandbox has it
        OOM_SCORE.write_text(FIRST_TO_GO)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, also from within native code
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    _fall_silent()


def _fall_silent() -> None:
    """Decoders have a line to say about every damaged file, and nobody is to fill the log."""
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), STANDARD_ERROR)


@contextmanager
def processor_time(limit_s: float) -> Iterator[None]:
    """Interrupt the block with OutOfTime after so many seconds of processor time.

    Native code that does not come back to be interrupted is ended with the process, by
    SIGXCPU, a little later.
    """
    used_s = resource.getrusage(resource.RUSAGE_SELF)
    last_s = math.ceil(used_s.ru_utime + used_s.ru_stime + limit_s + GRACE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (last_s, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _interrupt)
    signal.setitimer(signal.ITIMER_PROF, limit_s, REPEAT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)  # an interruption under way comes here


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTime


def _end_with_parent() -> None:
    """Whoever is killed cannot tell its helpers to stop: they have to see it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
