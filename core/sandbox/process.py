"""Confined processes: how one starts, what it may use, and how it ends.

A confined process has limits of memory and processor time, and ends when the server ends. It
answers through a socket of its own, whose messages `core.sandbox.messages` checks.
"""

import math
import multiprocessing
import os
import resource
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path
from types import FrameType
from typing import Any

from core.runtime.machine import data_memory, give_back_arrays
from core.sandbox.messages import ExpectedAnswer, InvalidMessage, OutOfTime, receive

PRELOADED = ["core.images", "core.video", "core.sandbox.pool"]
"""Modules that the fork server imports, so that a new process finds them imported."""

EXIT_S = 5.0
"""Time for a process that has closed its socket to exit, so that its exit code is known."""

FOLDER = str(Path(__file__).parents[2])
"""Where `PRELOADED` is found. The fork server of Python 3.11 takes over no search path: started in
another folder it would import nothing, silently, and each new process would import all anew."""

HAS_FORK_SERVER = "forkserver" in multiprocessing.get_all_start_methods()

OOM_SCORE = Path("/proc/self/oom_score_adj")
FIRST_TO_GO = "1000"
"""Score with which the kernel ends this process before the server if memory runs out."""

REPEAT_S = 0.1
"""Time until the interruption is repeated: native code may swallow the first."""

GRACE_S = 1
"""Processor time between the interruption and the end of the process by the kernel."""

STANDARD_ERROR = 2


class WorkerDied(Exception):
    """A confined process ended, or broke the protocol, instead of answering.

    The text is the name of a signal, an exit code, or what was wrong.
    """


class ConfinedProcess:
    """A process that works on untrusted files, and the socket through which it answers.

    It must be ended with `end`. It also ends with the process that started it.

    Args:
        target: runs in the process, called with its socket and `arguments`; must be importable.
        arguments: pickled by this process, which is trusted.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._answers, answers_end = socket.socketpair()
        with answers_end:
            self._process = process_context().Process(  # type: ignore[attr-defined]
                target=target, args=(answers_end, *arguments), daemon=True
            )
            try:
                start_fork_server()
                self._process.start()
            except (OSError, EOFError) as error:  # no more processes, or no fork server
                self._answers.close()
                raise WorkerDied(f"it cannot start: {error!r}") from error

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return bool(self._process.is_alive())

    @property
    def has_unread_answer(self) -> bool:
        """Whether the process has sent more than was received."""
        self._answers.setblocking(False)
        try:
            return bool(self._answers.recv(1, socket.MSG_PEEK))
        except (BlockingIOError, ConnectionError):
            return False

    def receive(self, expected: ExpectedAnswer, timeout_s: float) -> Any:
        """Return the next answer; see `core.sandbox.messages.receive`.

        Raises:
            TimeoutError: if it is not complete in time.
            WorkerDied: if the process ends instead, or what it sends is not such an answer.
        """
        try:
            return receive(self._answers, expected, time.monotonic() + timeout_s)
        except InvalidMessage as error:
            raise WorkerDied(f"invalid answer: {error}") from error
        except (EOFError, ConnectionError) as error:
            self._process.join(EXIT_S)
            raise WorkerDied(describe_exit(self._process.exitcode)) from error

    def kill(self) -> None:
        """Kill the process; a thread that receives from it then gets WorkerDied."""
        with suppress(ValueError, OSError):  # another thread has just called `end`
            self._kill_group()
            self._answers.shutdown(
                socket.SHUT_RDWR
            )  # its own children may still have the other end

    def end(self) -> None:
        """Kill the process, wait until it is gone, and close the socket."""
        self._kill_group()
        self._process.join()
        self._process.close()
        self._answers.close()

    def _kill_group(self) -> None:
        """Kill the process and those that it started, even if it is gone."""
        group = self._process.pid
        is_reused = not self._process.is_alive() and Path(f"/proc/{group}").exists()
        if group is not None and not is_reused:
            with suppress(ProcessLookupError):  # it is gone, or not confined yet
                os.killpg(group, signal.SIGKILL)
        self._process.kill()


def process_context() -> BaseContext:
    """Return how processes start: TensorFlow's threads do not survive a fork of this one."""
    if not HAS_FORK_SERVER:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _set_search_path() -> None:
    """Let Python processes that this one starts find modules here, and none in their folder.

    Without `PYTHONSAFEPATH`, the fork server would import a `random.py` that lies beside the
    pictures.
    """
    known = os.environ.get("PYTHONPATH")
    paths = known.split(os.pathsep) if known else []
    if FOLDER not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, FOLDER])
    os.environ["PYTHONSAFEPATH"] = "1"


_set_search_path()  # now, because another thread may read the environment later


def start_fork_server() -> None:
    """Start the fork server if processes start by it and it does not run. It never gets SIGINT.

    A terminal sends Ctrl+C to all processes. The fork server ignores it only after its imports,
    which take a second; before that it would print a traceback.
    """
    if not HAS_FORK_SERVER:
        return
    resource_tracker.ensure_running()  # it unblocks SIGINT when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def describe_exit(exit_code: int | None) -> str:
    """Return the name of the signal that ended a process, or its exit code."""
    if exit_code is None:
        return "it closed its socket"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # most real-time signals have no name
        return f"signal {-exit_code}"


def confine(memory_bytes: int) -> None:
    """Confine this process, once and for all.

    The preloaded modules are imported first, so that they do not count as memory of a task.
    They are missing if another module started the fork server, or if there is none.

    Args:
        memory_bytes: memory that it may take beyond what it has now.
    """
    with suppress(PermissionError):  # it leads a session already
        os.setsid()  # what it starts can then be ended with it
    for name in PRELOADED:
        import_module(name)
    give_back_arrays()  # otherwise one task leaves less memory to the next
    limit = data_memory() + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # some container runtimes do not have it
        OOM_SCORE.write_text(FIRST_TO_GO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the server, which ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends it at once, even in native code
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    _silence()


def _silence() -> None:
    """Discard warnings and standard error: decoders write a line about every damaged file."""
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), STANDARD_ERROR)


def _end_with_parent() -> None:
    """Wait for the end of the parent: if it is killed, it cannot end this process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


@contextmanager
def memory_limited(memory_bytes: int | None) -> Iterator[None]:
    """Limit the memory that the block may take beyond what this process has now, in bytes.

    Native code that is taken over by a file can lift this limit, but not that of `confine`.
    """
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if memory_bytes is not None:
        limit = data_memory() + memory_bytes
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


@contextmanager
def processor_time(limit_s: float) -> Iterator[None]:
    """Raise OutOfTime in the block after so many seconds of processor time.

    If native code does not return to the interpreter, the kernel ends the process a little
    later with SIGXCPU.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    kill_s = math.ceil(used.ru_utime + used.ru_stime + limit_s + GRACE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (kill_s, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _interrupt)
    signal.setitimer(signal.ITIMER_PROF, limit_s, REPEAT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)  # a pending interruption is raised here


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTime
