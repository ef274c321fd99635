import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from config import ROOT
from core.errors import ImageTooLarge
from core.sandbox.pool import WorkerDied, WorkerFault
from core.sandbox.stream import ReadRequest, read_apart
from tests.support import streams
from tests.support.waiting import wait_until

MEMORY_BYTES = 100_000_000


def read(function, *arguments, wall_s=20.0):
    return read_apart(ReadRequest(function, arguments, MEMORY_BYTES, wall_s))


def is_alive(process):
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_items_come_in_order_and_then_it_ends():
    assert list(read(streams.count, 100)) == list(range(100))
    assert list(read(streams.count, 0)) == []


def test_arrays_come_as_they_are():
    for value, array in enumerate(read(streams.arrays, 3, (700, 900, 3))):
        np.testing.assert_array_equal(array, np.full((700, 900, 3), value, np.uint8))


def test_it_happens_in_another_process_that_ends_when_nobody_wants_more():
    with closing(read(streams.process)) as items:
        process = next(items)
        assert process != os.getpid()
        assert is_alive(process)
    wait_until(lambda: not is_alive(process))


def test_a_process_is_one_item_ahead_and_waits(tmp_path):
    path = tmp_path / "progress"
    with closing(read(streams.note_progress, path)) as items:
        next(items)
        wait_until(lambda: path.read_text() == "1")
        time.sleep(0.3)
        assert path.read_text() == "1"
        next(items)
        wait_until(lambda: path.read_text() == "2")


def test_errors_of_ours_arrive_after_what_came_before():
    items = read(streams.then, streams.too_large)
    assert next(items) == "first"
    with pytest.raises(ImageTooLarge, match="must be small"):
        next(items)


def test_a_fault_arrives_with_its_traceback():
    with pytest.raises(WorkerFault, match=r"(?s)in fault.*KeyError: .unexpected"):
        list(read(streams.then, streams.fault))


@pytest.mark.parametrize(
    ("last", "arguments", "end"),
    [(streams.segfault, (), "SIGSEGV"), (streams.leave, (3,), "exit code 3")],
)
def test_a_process_that_dies_is_named(last, arguments, end):
    items = read(streams.then, last, *arguments)
    assert next(items) == "first"
    with pytest.raises(WorkerDied, match=end):
        next(items)


def test_a_process_that_is_killed_is_noticed():
    items = read(streams.process)
    os.kill(next(items), signal.SIGKILL)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        list(items)


def test_a_process_that_hangs_is_ended():
    began = time.monotonic()
    with closing(read(streams.then, streams.sleep, wall_s=0.5)) as items:
        next(items)
        with pytest.raises(TimeoutError):
            next(items)
    assert time.monotonic() - began < streams.FOREVER_S / 10


def test_a_process_that_takes_too_much_memory_is_told_so():
    items = read(streams.then, streams.take_memory, 2 * MEMORY_BYTES)
    next(items)
    with pytest.raises(MemoryError):
        next(items)


def test_a_process_ends_with_the_one_it_works_for():
    program = (
        "import sys, time\n"
        "from core.sandbox.stream import ReadRequest, read_apart\n"
        "from tests.support import streams\n"
        f"items = read_apart(ReadRequest(streams.process, (), {MEMORY_BYTES}, 20.0))\n"
        "print(next(items), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        process = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not is_alive(process))
