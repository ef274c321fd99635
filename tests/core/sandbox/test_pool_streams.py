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
from core.pixels import Uint8Array
from core.sandbox.messages import ExpectedAnswer, WorkerFault
from core.sandbox.pool import ReadRequest, stream_items
from core.sandbox.process import WorkerDied
from tests.support import hostile, streams
from tests.support.waiting import wait_until

MEMORY_BYTES = 100_000_000


def read(function, *arguments, item_type=int, max_bytes=MEMORY_BYTES, wall_s=20.0):
    expected = ExpectedAnswer(item_type, max_bytes)
    return stream_items(ReadRequest(function, arguments, expected, MEMORY_BYTES, wall_s))


def is_alive(process):
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_items_come_in_order_and_then_it_ends():
    assert list(read(streams.count, 100)) == list(range(100))
    assert list(read(streams.count, 0)) == []


def test_arrays_come_as_they_are():
    for value, array in enumerate(read(streams.arrays, 3, (700, 900, 3), item_type=Uint8Array)):
        np.testing.assert_array_equal(array, np.full((700, 900, 3), value, np.uint8))


def test_items_come_from_another_process_that_ends_with_the_generator():
    with closing(read(streams.process)) as items:
        process = next(items)
        assert process != os.getpid()
        assert is_alive(process)
    wait_until(lambda: not is_alive(process))


def test_a_process_is_one_item_ahead_and_waits(tmp_path):
    path = tmp_path / "progress"
    with closing(read(streams.write_progress, path, item_type=Uint8Array)) as items:
        next(items)
        wait_until(lambda: path.read_text() == "1")
        time.sleep(0.3)
        assert path.read_text() == "1"
        next(items)
        wait_until(lambda: path.read_text() == "2")


def test_errors_of_core_arrive_after_the_items_before_them():
    items = read(streams.then, streams.too_large, item_type=str)
    assert next(items) == "first"
    with pytest.raises(ImageTooLarge, match="must be small"):
        next(items)


def test_a_fault_arrives_with_its_traceback():
    with pytest.raises(WorkerFault, match=r"(?s)in fault.*KeyError: .unexpected"):
        list(read(streams.then, streams.fault, item_type=str))


@pytest.mark.parametrize(
    ("last", "arguments", "end"),
    [(streams.segfault, (), "SIGSEGV"), (streams.leave, (3,), "exit code 3")],
)
def test_a_process_that_dies_is_named(last, arguments, end):
    items = read(streams.then, last, *arguments, item_type=str)
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
    with closing(read(streams.then, streams.sleep, wall_s=0.5, item_type=str)) as items:
        next(items)
        with pytest.raises(TimeoutError):
            next(items)
    assert time.monotonic() - began < streams.FOREVER_S / 10


def test_a_process_that_takes_too_much_memory_raises_a_memory_error():
    items = read(streams.then, streams.take_memory, 2 * MEMORY_BYTES, item_type=str)
    next(items)
    with pytest.raises(MemoryError):
        next(items)


def test_a_process_ends_when_its_parent_is_killed():
    program = (
        "import sys, time\n"
        "from core.sandbox.messages import ExpectedAnswer\n"
        "from core.sandbox.pool import ReadRequest, stream_items\n"
        "from tests.support import streams\n"
        "request = ReadRequest(streams.process, (), ExpectedAnswer(int, 0), 10**8, 20.0)\n"
        "items = stream_items(request)\n"
        "print(next(items), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        process = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not is_alive(process))


@pytest.mark.parametrize("send", [hostile.send_pickle, hostile.send_pickle_as_text])
def test_a_pickle_from_a_stream_is_refused_and_runs_nothing(tmp_path, send):
    path = tmp_path / "written"
    with pytest.raises(WorkerDied, match="invalid answer"):
        list(read(streams.call_with_file, send, str(path).encode()))
    assert not path.exists()


def test_an_array_that_is_larger_than_announced_is_refused():
    items = read(streams.arrays, 1, (10, 10, 3), item_type=Uint8Array, max_bytes=299)
    with pytest.raises(WorkerDied, match="300 bytes, more than 299"):
        next(items)


def test_an_item_that_never_ends_is_cut_off():
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        list(read(streams.then, streams.send_half_a_message, item_type=str, wall_s=0.5))
    assert time.monotonic() - began < streams.FOREVER_S / 10


def test_no_descriptors_are_left_over():
    def descriptors():
        return set(Path("/proc/self/fd").iterdir())

    list(read(streams.count, 1))
    before = descriptors()
    list(read(streams.count, 3))
    with closing(read(streams.process)) as items:
        next(items)
    assert descriptors() == before
