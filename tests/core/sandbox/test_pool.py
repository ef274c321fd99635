import io
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from config import ROOT
from core.errors import ImageTooLarge
from core.sandbox import pool as pool_module
from core.sandbox import process as process_module
from core.sandbox.messages import ExpectedAnswer, WorkerFault
from core.sandbox.pool import COPIED_BYTES, SandboxPool, SandboxTask, shared_path
from core.sandbox.process import PRELOADED, WorkerDied
from tests.support import hostile
from tests.support.waiting import wait_until

MEMORY_BYTES = 100_000_000
FILE_KINDS = [io.BytesIO, tempfile.TemporaryFile, tempfile.SpooledTemporaryFile]


def task(function, returns=bytes, *, arguments=(None,), processor_s=10, wall_s=20):
    return SandboxTask(
        function, arguments, ExpectedAnswer(returns, MEMORY_BYTES), processor_s, wall_s
    )


@pytest.fixture(scope="module")
def pool():
    pool = SandboxPool(2, MEMORY_BYTES)
    yield pool
    pool.close()


@pytest.fixture
def run(pool):
    def run(function, data=b"", returns=bytes, **options):
        return pool.run(task(function, returns, **options), io.BytesIO(data))

    return run


@pytest.fixture(autouse=True)
def still_works_afterwards(run):
    yield
    assert {run(hostile.contents, b"well") for _ in range(3)} == {b"well"}


def test_a_task_is_done_in_another_process(run):
    assert run(hostile.process, returns=int) != os.getpid()


def test_a_worker_imports_what_it_needs_and_no_network(run):
    names = {name.split(".")[0] for name in run(hostile.modules, returns=tuple[str, ...])}
    assert "PIL" in names
    assert not names & {"tensorflow", "keras", "flask", "api", "app"}


def test_the_kernel_kills_a_worker_before_the_server_when_memory_is_short(run):
    assert run(hostile.first_to_go, returns=str) == "1000"


def test_a_fork_server_that_cannot_start_is_told_as_such(monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process_module.forkserver, "ensure_running", refuse)
    with pytest.raises(WorkerDied, match="it cannot start: .*temporarily unavailable"):
        process_module.ConfinedProcess(print)


def test_ctrl_c_never_reaches_the_fork_server(run):
    """It would print a traceback if it came during its imports."""
    worker = run(hostile.process, returns=int)
    server = Path(f"/proc/{worker}/stat").read_text().rpartition(") ")[2].split()[1]
    status = Path(f"/proc/{server}/status").read_text()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    assert blocked & 1 << (signal.SIGINT - 1)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_errors_of_core_arrive_as_themselves(run):
    with pytest.raises(ImageTooLarge, match="Image must be small"):
        run(hostile.too_large)


def test_errors_that_no_decoder_raises_arrive_as_faults(run):
    with pytest.raises(WorkerFault, match="Overloaded: Too many"):
        run(hostile.overloaded)


def test_a_fault_arrives_with_its_traceback(run):
    with pytest.raises(WorkerFault, match=r"(?s)in fault.*KeyError: .unexpected"):
        run(hostile.fault)


def test_a_crash_is_named_and_logged(run, caplog):
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        run(hostile.segfault)
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2
    assert "SIGSEGV" in caplog.text


def test_a_worker_that_exits_with_code_0_is_noticed(run):
    with pytest.raises(WorkerDied, match="exit code 0"):
        run(hostile.end_quietly)


def test_the_end_by_a_signal_without_a_name_is_described(run):
    with pytest.raises(WorkerDied, match="signal 35"):
        run(hostile.end_by_a_real_time_signal)


def test_a_task_that_sleeps_too_long_is_killed(run):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(hostile.sleep, wall_s=0.5)
    assert time.monotonic() - began < 5


def test_a_task_that_computes_too_long_is_interrupted_without_a_kill(run, caplog):
    with pytest.raises(TimeoutError):
        run(hostile.compute, processor_s=0.3)
    assert not caplog.records


def test_a_task_that_computes_too_long_in_native_code_is_killed_before_the_wall_clock_limit(
    run, caplog
):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(hostile.compute_in_native_code, processor_s=0.2, wall_s=60)
    assert time.monotonic() - began < 30
    assert "SIGXCPU" in caplog.text


def test_a_memory_bomb_is_refused(run):
    with pytest.raises(MemoryError):
        run(hostile.eat_memory)


def test_a_worker_that_ran_out_of_memory_is_replaced(run):
    before = run(hostile.process, returns=int)
    with pytest.raises(MemoryError):
        run(hostile.eat_memory)
    assert run(hostile.process, returns=int) != before


def test_a_task_can_use_the_memory_that_is_allowed(run):
    allowed = MEMORY_BYTES // 1_000_000
    assert (
        run(hostile.megabytes, returns=int, arguments=(allowed - 20,)) == (allowed - 20) * 1_000_000
    )
    with pytest.raises(MemoryError):
        run(hostile.megabytes, returns=int, arguments=(allowed + 1,))


def test_memory_that_one_task_has_freed_is_available_to_the_next(run):
    for _ in range(2):  # whichever worker it is
        run(hostile.litter)
    large = MEMORY_BYTES // 1_000_000 - 20
    assert run(hostile.megabytes, returns=int, arguments=(large,)) == large * 1_000_000


def kill_who_is_told_in(path):
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    os.kill(int(path.read_text()), signal.SIGKILL)


def test_a_task_is_tried_again_when_its_worker_is_killed(run, tmp_path):
    path = tmp_path / "workers"
    killer = threading.Thread(target=kill_who_is_told_in, args=(path,))
    killer.start()
    assert run(hostile.wait_to_be_killed_once, str(path).encode(), str) == "answered"
    killer.join()
    first, second = path.read_text().split()
    assert first != second


def test_idle_workers_that_are_killed_are_replaced(run):
    for _ in range(3):
        os.kill(run(hostile.process, returns=int), signal.SIGKILL)
        assert run(hostile.contents, b"here") == b"here"


def test_a_worker_that_dies_does_not_disturb_the_others(run, caplog):
    caplog.set_level(logging.ERROR)

    def attempt(number):
        if number % 4 == 0:
            with pytest.raises(WorkerDied):
                run(hostile.segfault)
            return b"crashed"
        return run(hostile.contents, bytes([number]))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(attempt, range(24)))
    assert answers == [bytes([n]) if n % 4 else b"crashed" for n in range(24)]


def test_no_descriptors_and_threads_are_left_over(run):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    run(hostile.contents)
    before, threads = descriptors(), threading.active_count()
    for function in (hostile.segfault, hostile.too_large, hostile.contents):
        try:
            run(function)
        except (WorkerDied, ImageTooLarge):
            continue
    assert descriptors() == before
    assert threading.active_count() == threads


def test_the_output_of_decoders_is_discarded(capfd):
    pool = SandboxPool(1, MEMORY_BYTES)
    pool.run(task(hostile.chatter, str), io.BytesIO())
    pool.close()
    assert capfd.readouterr().err == ""


def test_a_worker_is_replaced_after_a_number_of_tasks(monkeypatch):
    monkeypatch.setattr(pool_module, "TASKS", 3)
    pool = SandboxPool(1, MEMORY_BYTES)
    seen = [pool.run(task(hostile.process, int), io.BytesIO()) for _ in range(7)]
    pool.close()
    assert [seen.count(process) for process in dict.fromkeys(seen)] == [3, 3, 1]


def test_start_starts_all_processes():
    pool = SandboxPool(2, MEMORY_BYTES)
    processes = pool.start(task(hostile.process, int), io.BytesIO())
    assert len(set(processes)) == 2
    pool.close()
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


def test_a_closed_pool_runs_no_tasks():
    pool = SandboxPool(1, MEMORY_BYTES)
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.run(task(hostile.contents), io.BytesIO())


SERVER = """
import contextlib, io, threading
from core.sandbox.messages import ExpectedAnswer
from core.sandbox.pool import SandboxPool, SandboxTask
from tests.support import hostile

pool = SandboxPool(2, 100_000_000)
process = ExpectedAnswer(int, 0)
processes = pool.start(SandboxTask(hostile.process, (), process, 10, 20), io.BytesIO())
print(*processes, flush=True)
"""

BUSY = """
def wait_in_vain():
    with contextlib.suppress(Exception):
        pool.run(SandboxTask(hostile.sleep, (), process, 10, 600), io.BytesIO())

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
        printed, complaints = server.communicate(timeout=30)
        assert (server.returncode, complaints) == (0, "")
        assert not any(is_running(process) for process in printed.split())


PRELOADING = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from core.sandbox.process import PRELOADED, process_context
seen = "import sys; print([name in sys.modules for name in {{PRELOADED}}])"
process = process_context().Process(target=exec, args=(seen.format(PRELOADED=PRELOADED),))
process.start()
process.join()
"""


def test_workers_have_their_modules_at_once_wherever_the_program_was_started(tmp_path):
    for name in ("random", "numpy", "core"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')")
    ours = ("PYTHONPATH", "PYTHONSAFEPATH")
    environ = {name: value for name, value in os.environ.items() if name not in ours}
    command = [sys.executable, "-P", "-c", PRELOADING]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (str([True] * len(PRELOADED)), "")


def test_memory_counts_from_what_a_worker_has_imported(monkeypatch):
    """Also where a process begins with nothing, as when others began the fork server."""
    for module in (pool_module, process_module):
        monkeypatch.setattr(module, "process_context", lambda: multiprocessing.get_context("spawn"))
    pool = SandboxPool(1, 20_000_000)
    try:
        assert pool.run(task(hostile.contents), io.BytesIO(b"well")) == b"well"
    finally:
        pool.close()


@pytest.mark.parametrize("send", [hostile.send_pickle, hostile.send_pickle_as_text])
def test_a_pickle_from_a_worker_is_refused_and_runs_nothing(run, tmp_path, send):
    path = tmp_path / "written"
    with pytest.raises(WorkerDied, match="invalid answer"):
        run(send, str(path).encode())
    assert not path.exists()


def test_an_answer_of_another_type_is_refused(run):
    with pytest.raises(WorkerDied, match="invalid answer: .* bool instead of int"):
        run(hostile.send_true, returns=int)


def test_an_answer_that_never_ends_is_cut_off(run):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(hostile.send_half_a_message, wall_s=0.5)
    assert time.monotonic() - began < 5


def test_a_task_that_a_full_pipe_cannot_take_replaces_the_process(caplog):
    pool = SandboxPool(1, MEMORY_BYTES)
    large = task(hostile.contents, arguments=(bytes(1_000_000),))
    pool.run(task(hostile.answer_once_and_stop_reading), io.BytesIO())
    began = time.monotonic()
    with suppress(WorkerDied):  # the new process may read the task fast enough, or not
        pool.run(large, io.BytesIO())
    assert time.monotonic() - began < 5
    assert "does not read its tasks" in caplog.text
    assert pool.run(task(hostile.contents), io.BytesIO(b"well")) == b"well"
    pool.close()


def test_an_end_of_items_is_no_answer_to_a_task(run, caplog):
    with pytest.raises(WorkerDied, match="end of items instead of a value"):
        run(hostile.send_end_of_items)
    assert len(caplog.records) == 2


def test_a_second_answer_is_not_taken_for_that_of_the_next_task(caplog):
    pool = SandboxPool(1, MEMORY_BYTES)
    first = pool.run(task(hostile.answer_twice), io.BytesIO())
    wait_until(lambda: pool._workers[0]._process.has_unread_answer)  # nothing public tells
    assert first == b"first"
    assert pool.run(task(hostile.contents), io.BytesIO(b"well")) == b"well"
    assert "an answer while it had no task" in caplog.text
    pool.close()


def test_processes_that_a_worker_leaves_behind_end_with_it(run, tmp_path):
    path = tmp_path / "process"
    with pytest.raises(TimeoutError):
        run(hostile.leave_a_process_behind, str(path).encode(), wall_s=0.5)
    wait_until(lambda: not is_running(path.read_text().strip()), 5)
    assert path.read_text().strip().isdigit()


def test_a_pool_closes_at_once_although_a_process_was_left_behind(tmp_path):
    path = tmp_path / "process"
    pool = SandboxPool(1, MEMORY_BYTES)

    def run_until_closed():
        with pytest.raises((WorkerDied, RuntimeError)):
            pool.run(task(hostile.leave_a_process_behind), io.BytesIO(str(path).encode()))

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(run_until_closed)
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
        began = time.monotonic()
        pool.close()
        assert time.monotonic() - began < 5
        assert ended.result(5) is None
    wait_until(lambda: not is_running(path.read_text().strip()), 5)


def test_an_answer_that_was_sent_before_a_task_is_not_taken_for_its_result(monkeypatch):
    """Also if the answer comes just after the pool has looked for one."""
    monkeypatch.setattr(process_module.ConfinedProcess, "has_unread_answer", False)
    pool = SandboxPool(1, MEMORY_BYTES)
    for _ in range(3):
        assert pool.run(task(hostile.answer_twice), io.BytesIO()) == b"first"
        assert pool.run(task(hostile.contents), io.BytesIO(b"well")) == b"well"
    pool.close()


@pytest.mark.parametrize("size", [0, 1, COPIED_BYTES + 1])
@pytest.mark.parametrize("kind", FILE_KINDS)
def test_a_shared_file_is_read_from_its_beginning(run, kind, size):
    with kind() as file:
        file.write(os.urandom(size))
        file.flush()
        with shared_path(file) as path:
            seen = run(hostile.contents_of, path.encode())
        file.seek(0)
        assert seen == file.read()


def test_a_small_upload_is_not_put_on_disk_and_a_large_file_is_not_copied():
    with tempfile.SpooledTemporaryFile(max_size=10) as small, shared_path(small):
        assert not small._rolled  # no public attribute says so
    with tempfile.TemporaryFile() as large:
        large.truncate(COPIED_BYTES + 1)
        with shared_path(large) as path:
            assert Path(path).stat().st_ino == os.fstat(large.fileno()).st_ino
