"""Keeps encoders from taking the processor away from everything else.

SVT-AV1 gives its threads, and the one that opens it, the highest real-time priority when it
runs as root. What such a thread starts inherits that, and on a machine of two cores nothing
else gets a turn while they work: neither the network nor answers to other requests.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

TASKS = Path("/proc/self/task")
"""Threads of this process, where the system is Linux; elsewhere nothing takes a priority."""


@contextlib.contextmanager
def priority_kept() -> Iterator[None]:
    """Give threads that became real-time ones meanwhile the caller's scheduling back."""
    if not TASKS.exists():
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in TASKS.iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(int(thread.name), policy, parameters)
