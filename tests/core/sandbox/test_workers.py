import io
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config import ROOT
from core.errors import ImageTooLarge, Overloaded
from core.sandbox import pool as module
from core.sandbox.pool import SandboxPool, SandboxTask, WorkerDied, WorkerFault
from tests.support import hostile
from tests.support.waiting import wait_until

MEMORY_BYTES = 100_000_000


@pytest.fixture(scope="module")
def workers():
    workers = SandboxPool(2, MEMORY_BYTES)
    yield workers
    workers.close()


@pytest.fixture
def do(workers):
    def do(function, data=b"", *, arguments=(None,), processor_s=10, wall_s=20):
        return workers.do(SandboxTask(function, arguments, processor_s, wall_s), io.BytesIO(data))

    return do


@pytest.fixture(autouse=True)
def still_works_afterwards(do):
    yield
    assert {do(hostile.contents, b"well") for _ in range(3)} == {b"well"}


def test_a_task_is_done_in_another_process(do):
    assert do(hostile.process) != os.getpid()


def test_a_worker_imports_what_it_needs_and_no_network(do):
    names = {name.split(".")[0] for name in do(hostile.modules)}
    assert "PIL" in names
    assert not names & {"tensorflow", "keras", "flask", "api", "app"}


def test_a_worker_goes_before_the_server_when_memory_is_short(do):
    assert do(hostile.first_to_go) == "1000"


def test_errors_of_ours_arrive_as_themselves(do):
    with pytest.raises(ImageTooLarge, match="Image must be small"):
        do(hostile.too_large)
    with pytest.raises(Overloaded, match="Too many") as caught:
        do(hostile.overloaded)
    assert caught.value.retry_after_s == 7


def test_a_fault_arrives_with_its_traceback(do):
    with pytest.raises(WorkerFault, match=r"(?s)in fault.*KeyError: .unexpected"):
        do(hostile.fault)


def test_a_crash_is_named_and_logged(do, caplog):
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        do(hostile.segfault)
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2
    assert "SIGSEGV" in caplog.text


def test_a_worker_that_ends_as_if_all_were_well_is_noticed(do):
    with pytest.raises(TimeoutError):
        do(hostile.end_quietly, wall_s=1)


def test_who_waits_for_nothing_is_killed(do):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        do(hostile.sleep, wall_s=0.5)
    assert time.monotonic() - began < 5


def test_who_computes_too_long_is_interrupted_and_lives(do, caplog):
    with pytest.raises(TimeoutError):
        do(hostile.compute, processor_s=0.3)
    assert not caplog.records


def test_who_computes_too_long_in_native_code_is_ended_before_the_clock_strikes(do, caplog):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        do(hostile.compute_in_native_code, processor_s=0.2, wall_s=60)
    assert time.monotonic() - began < 30
    assert "SIGXCPU" in caplog.text


def test_a_memory_bomb_is_refused(do):
    with pytest.raises(MemoryError):
        do(hostile.eat_memory)


def test_who_ran_out_of_memory_is_replaced(do):
    before = do(hostile.process)
    with pytest.raises(MemoryError):
        do(hostile.eat_memory)
    assert do(hostile.process) != before


def test_the_memory_that_is_allowed_can_be_had(do):
    allowed = MEMORY_BYTES // 1_000_000
    assert do(hostile.megabytes, arguments=(allowed - 20,)) == (allowed - 20) * 1_000_000
    with pytest.raises(MemoryError):
        do(hostile.megabytes, arguments=(allowed + 1,))


def test_what_one_task_has_freed_another_can_have(do):
    for _ in range(2):  # whichever worker it is
        do(hostile.litter)
    large = MEMORY_BYTES // 1_000_000 - 20
    assert do(hostile.megabytes, arguments=(large,)) == large * 1_000_000


def kill_who_is_told_in(path):
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    os.kill(int(path.read_text()), signal.SIGKILL)


def test_a_killed_worker_costs_nothing_but_time(do, tmp_path):
    path = tmp_path / "workers"
    killer = threading.Thread(target=kill_who_is_told_in, args=(path,))
    killer.start()
    assert do(hostile.wait_to_be_killed_once, str(path).encode()) == "answered"
    killer.join()
    first, second = path.read_text().split()
    assert first != second


def test_idle_workers_that_are_killed_are_replaced(do):
    for _ in range(3):
        os.kill(do(hostile.process), signal.SIGKILL)
        assert do(hostile.contents, b"here") == b"here"


def test_one_that_dies_takes_no_other_with_it(do, caplog):
    caplog.set_level(logging.ERROR)

    def attempt(number):
        if number % 4 == 0:
            with pytest.raises(WorkerDied):
                do(hostile.segfault)
            return b"crashed"
        return do(hostile.contents, bytes([number]))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(attempt, range(24)))
    assert answers == [bytes([n]) if n % 4 else b"crashed" for n in range(24)]


def test_nothing_is_left_open(do):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    do(hostile.contents)
    before, threads = descriptors(), threading.active_count()
    for function in (hostile.segfault, hostile.too_large, hostile.contents):
        try:
            do(function)
        except (WorkerDied, ImageTooLarge):
            continue
    assert descriptors() == before
    assert threading.active_count() == threads


def test_what_decoders_say_does_not_fill_the_log(capfd):
    workers = SandboxPool(1, MEMORY_BYTES)
    workers.do(SandboxTask(hostile.chatter, (), 10, 20), io.BytesIO())
    workers.close()
    assert capfd.readouterr().err == ""


def test_a_worker_retires_after_its_tasks(monkeypatch):
    monkeypatch.setattr(module, "TASKS", 3)
    workers = SandboxPool(1, MEMORY_BYTES)
    task = SandboxTask(hostile.process, (), 10, 20)
    seen = [workers.do(task, io.BytesIO()) for _ in range(7)]
    workers.close()
    assert [seen.count(process) for process in dict.fromkeys(seen)] == [3, 3, 1]


def test_starting_begins_them_all():
    workers = SandboxPool(2, MEMORY_BYTES)
    processes = workers.start(SandboxTask(hostile.process, (), 10, 20), io.BytesIO())
    assert len(set(processes)) == 2
    workers.close()
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


def test_closed_workers_do_nothing():
    workers = SandboxPool(1, MEMORY_BYTES)
    workers.close()
    workers.close()
    with pytest.raises(RuntimeError, match="closed"):
        workers.do(SandboxTask(hostile.contents, (), 1, 1), io.BytesIO())


SERVER = """
import contextlib, io, threading
from core.sandbox.pool import SandboxTask, SandboxPool
from tests.support import hostile

workers = SandboxPool(2, 100_000_000)
processes = workers.start(SandboxTask(hostile.process, (), 10, 20), io.BytesIO())
print(*processes, flush=True)
"""

BUSY = """
def wait_in_vain():
    with contextlib.suppress(Exception):
        workers.do(SandboxTask(hostile.sleep, (), 10, 600), io.BytesIO())

threading.Thread(target=wait_in_vain, daemon=True).start()
"""

FOREVER = """
import time
time.sleep(600)
"""


def run_server(code):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_running(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("work", ["", BUSY])
def test_workers_end_when_the_server_is_killed(work):
    with run_server(SERVER + work + FOREVER) as server:
        processes = server.stdout.readline().split()
        assert len(processes) == 2
        assert all(is_running(process) for process in processes)
        server.kill()
        wait_until(lambda: not any(is_running(process) for process in processes), 5)


def test_workers_end_with_a_process_of_multiprocessing():
    process = multiprocessing.get_context("spawn").Process(target=hostile.work_and_leave)
    process.start()
    process.join(30)
    process.kill()
    assert process.exitcode == 0


@pytest.mark.parametrize("work", ["", BUSY])
def test_workers_end_silently_with_an_interpreter_that_exits(work):
    with run_server(SERVER + work) as server:
        told, complaints = server.communicate(timeout=30)
        assert (server.returncode, complaints) == (0, "")
        assert not any(is_running(process) for process in told.split())


def test_memory_counts_from_what_a_worker_has_imported(monkeypatch):
    """Also where a process begins with nothing, as when others began the fork server."""
    monkeypatch.setattr(module, "process_context", lambda: multiprocessing.get_context("spawn"))
    workers = SandboxPool(1, 20_000_000)
    try:
        task = SandboxTask(hostile.contents, (None,), processor_s=10, wall_s=20)
        assert workers.do(task, io.BytesIO(b"well")) == b"well"
    finally:
        workers.close()
