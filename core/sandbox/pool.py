"""Functions that run on untrusted files in confined processes.

A `SandboxPool` keeps a few processes, each of which runs one task at a time and returns one
result. `stream_items` starts a process of its own, which yields many results, such as the
frames of a clip.

Tasks are pickled on their way to a process, as this process is trusted. Answers are not: see
`core.sandbox.messages`. Each process has a socket of its own, so one that is killed in the
middle of a message disturbs no other.
"""

import io
import logging
import os
import secrets
import shutil
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import LifoQueue
from typing import IO, Any

from core.sandbox.messages import (
    EndOfItems,
    ExpectedAnswer,
    OutOfTime,
    UnfinishedMessage,
    send_end,
    send_error,
    send_value,
)
from core.sandbox.process import (
    ConfinedProcess,
    WorkerDied,
    confine,
    memory_limited,
    process_context,
    processor_time,
)

COPIED_BYTES = 1_000_000
"""Size up to which a file is copied into memory for a process.

A larger file is opened where it is, if it is on disk. An upload that is kept in memory would
be written to disk by asking for its descriptor.
"""

TASKS = 500
"""Number of tasks after which a process is replaced, with all that it leaked."""

ATTEMPTS = 2
"""Number of times that a task is tried if its process dies, perhaps for another reason."""

START_S = 30.0
"""Time that a process may take to start."""

READY = ExpectedAnswer(bool, max_bytes=0)
"""First answer of a process of a pool."""

TOKEN, TOKEN_BITS = ExpectedAnswer(int, max_bytes=0), 62
"""Answer that says that a task was read: a number that nobody can send before."""

OUT_OF_PROCESSOR_TIME = signal.SIGXCPU.name

log = logging.getLogger("enhancer.workers")


@dataclass(frozen=True)
class SandboxTask:
    """A function to run on a file.

    Attributes:
        function: called with the file and `arguments`; must be importable.
        expected: the result that is accepted.
        processor_s: processor time that it may take, s.
        wall_s: time after which its process is killed, s.
        memory_bytes: memory that it may take; None for all that its process may take.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    expected: ExpectedAnswer
    processor_s: float
    wall_s: float
    memory_bytes: int | None = None


@dataclass(frozen=True)
class ReadRequest:
    """A function that yields items, and what it may take.

    Attributes:
        function: called with `arguments`, yields the items; must be importable.
        arguments: such as the path of a file.
        expected: an item that is accepted.
        memory_bytes: memory that the process may take beyond what it starts with.
        wall_s: time for each item from the moment that it is waited for, s.
    """

    function: Callable[..., Iterable[Any]]
    arguments: tuple[Any, ...]
    expected: ExpectedAnswer
    memory_bytes: int
    wall_s: float


class SandboxPool:
    """A few confined processes, each with one task at a time.

    They start with the first task, or with `start`, and end with this process.

    Args:
        count: number of processes, at least 1.
        memory_bytes: memory that a process may take beyond what it starts with.
    """

    def __init__(self, count: int, memory_bytes: int) -> None:
        self._workers = [_Worker(memory_bytes) for _ in range(count)]
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self.close = weakref.finalize(self, _close, self._workers)
        """End the processes; also called when the pool is collected or the interpreter exits."""

    def start(self, task: SandboxTask, file: IO[bytes]) -> list[Any]:
        """Start all processes, run the same task in each, and return the results."""
        with shared_path(file) as path, ThreadPoolExecutor(len(self._workers)) as threads:
            return list(threads.map(lambda worker: worker.run(task, path), self._workers))

    def run(self, task: SandboxTask, file: IO[bytes]) -> Any:
        """Run a task as soon as a process is free, and return its result.

        Raises:
            SuperResolutionError: raised by the task.
            MemoryError: if the task takes more memory than it may.
            TimeoutError: if it takes more time than it may.
            WorkerDied: if it ends every process that tries, or a process sends an answer that
                is not as expected.
            WorkerFault: if it raises another error.
        """
        self._check_open()
        for _ in range(ATTEMPTS - 1):
            try:
                return self._attempt(task, file)
            except WorkerDied:
                self._check_open()
        return self._attempt(task, file)

    def _check_open(self) -> None:
        if not self.close.alive:
            raise RuntimeError("The pool must be open to run a task. It has been closed.")

    def _attempt(self, task: SandboxTask, file: IO[bytes]) -> Any:
        with self._borrowed_worker() as worker, shared_path(file) as path:
            return worker.run(task, path)

    @contextmanager
    def _borrowed_worker(self) -> Iterator["_Worker"]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)


class _Worker:
    """One process of a pool at a time: it is replaced when it dies, and after `TASKS` tasks."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._process: _PoolProcess | None = None
        self._has_ended = False
        self._busy = threading.Lock()

    def run(self, task: SandboxTask, path: str) -> Any:
        """Run a task in the process; raise as `SandboxPool.run` does."""
        with self._busy:
            result = self._run(task, path)
        if isinstance(result, Exception):
            raise result
        return result

    def end(self) -> None:
        """End the process for good, even if it has a task."""
        self._has_ended = True
        if self._process is not None:
            self._process.kill()
        with self._busy:
            self._end_process()

    def _run(self, task: SandboxTask, path: str) -> Any:
        process = self._running_process()
        try:
            result = process.run(task, path)
        except BaseException as error:
            reason = str(error) or "it did not answer in time"
            self._replace(reason)
            if reason == OUT_OF_PROCESSOR_TIME:
                raise TimeoutError from error
            raise
        if isinstance(result, MemoryError):
            self._replace("it ran out of memory, and may not have got all of it back")
        elif process.tasks_left == 0:
            self._end_process()
        return result

    def _running_process(self) -> "_PoolProcess":
        if self._process is not None and not self._process.is_alive:
            self._replace("it died while it had no task")
        elif self._process is not None and self._process.has_unread_answer:
            self._replace("it sent an answer while it had no task")
        if self._has_ended:
            raise WorkerDied("the pool is closed")
        if self._process is None:
            self._process = _PoolProcess(self._memory_bytes)
        return self._process

    def _replace(self, reason: str) -> None:
        """End the process; the next task starts another one."""
        if self._has_ended:  # this is why the process is gone
            raise WorkerDied(reason)
        log.warning("A decoder process is replaced: %s", reason)
        self._end_process()

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None


class _PoolProcess(ConfinedProcess):
    """A confined process that runs tasks until its end of the pipe is closed."""

    def __init__(self, memory_bytes: int) -> None:
        tasks_end, self._tasks = process_context().Pipe(duplex=False)
        with tasks_end:
            super().__init__(_run_tasks, tasks_end, memory_bytes)
        os.set_blocking(self._tasks.fileno(), False)  # it has room unless tasks are not read
        self._is_ready = False
        self.tasks_left = TASKS

    def run(self, task: SandboxTask, path: str) -> Any:
        """Return the result of a task, or the error that it raised."""
        if not self._is_ready:
            self._wait_until_ready()
        self.tasks_left -= 1
        deadline, token = time.monotonic() + task.wall_s, secrets.randbits(TOKEN_BITS)
        self._send(task, path, token)
        if self._receive_value(TOKEN, task.wall_s) != token:
            raise WorkerDied("it answered before it had read the task")
        return self._receive_value(task.expected, deadline - time.monotonic())

    def end(self) -> None:
        """Kill the process, wait until it is gone, and close its connections."""
        super().end()
        self._tasks.close()

    def _send(self, task: SandboxTask, path: str, token: int) -> None:
        try:
            self._tasks.send((task, path, token))
        except BlockingIOError as error:
            raise WorkerDied("it does not read its tasks") from error
        except BrokenPipeError:  # `receive` finds out why it died
            pass

    def _receive_value(self, expected: ExpectedAnswer, timeout_s: float) -> Any:
        answer = self.receive(expected, timeout_s)
        if isinstance(answer, EndOfItems):
            raise WorkerDied("invalid answer: the end of items instead of a value")
        return answer

    def _wait_until_ready(self) -> None:
        try:
            self._receive_value(READY, START_S)
        except TimeoutError as error:
            raise WorkerDied(f"it did not start within {START_S:g} s") from error
        self._is_ready = True


def _close(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.end()


def _run_tasks(answers: socket.socket, tasks: Connection, memory_bytes: int) -> None:
    """Run tasks in a process of a pool."""
    confine(memory_bytes)
    send_value(answers, READY.type, True)
    with suppress(EOFError):  # the pool is gone
        while True:
            _run_task(answers, *tasks.recv())


def _run_task(answers: socket.socket, task: SandboxTask, path: str, token: int) -> None:
    send_value(answers, TOKEN.type, token)
    try:
        with (
            memory_limited(task.memory_bytes),
            processor_time(task.processor_s),
            Path(path).open("rb") as file,
        ):
            send_value(answers, task.expected.type, task.function(file, *task.arguments))
    except UnfinishedMessage as error:
        if isinstance(error.__cause__, OutOfTime):
            signal.raise_signal(signal.SIGXCPU)
        raise
    except BaseException as error:
        send_error(answers, error)


def stream_items(request: ReadRequest) -> Generator[Any]:
    """Yield the items of a function that runs in a confined process of its own.

    The process computes one item ahead, then waits until that is taken. It ends with this
    generator.

    Raises:
        SuperResolutionError: raised by the function.
        MemoryError: if it takes more memory than it may.
        TimeoutError: if an item takes more time than it may.
        WorkerDied: if its process ends instead, or an item is not as expected.
        WorkerFault: if it raises another error.
    """
    process = ConfinedProcess(_send_items, request)
    try:
        timeout_s = START_S + request.wall_s
        while not isinstance(item := process.receive(request.expected, timeout_s), EndOfItems):
            if isinstance(item, Exception):
                raise item
            yield item
            del item  # frees it while the next one is made
            timeout_s = request.wall_s
    finally:
        process.end()


def _send_items(answers: socket.socket, request: ReadRequest) -> None:
    """Send the items of a stream, in its process."""
    confine(request.memory_bytes)
    try:
        for item in request.function(*request.arguments):
            send_value(answers, request.expected.type, item)
            del item
        send_end(answers)
    except BrokenPipeError:  # nobody wants more
        pass
    except Exception as error:
        send_error(answers, error)


@contextmanager
def shared_path(file: IO[bytes]) -> Iterator[str]:
    """Yield a path under which other processes of this user can open a file meanwhile.

    Whoever opens it reads from the beginning. The path leads to a descriptor of this process,
    so nothing is left over when a process is killed.
    """
    descriptor = _descriptor(file) if file.seek(0, io.SEEK_END) > COPIED_BYTES else None
    if descriptor is not None:
        yield _path(descriptor)
        return
    file.seek(0)
    with os.fdopen(os.memfd_create("upload"), "w+b") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield _path(copy.fileno())


def _descriptor(file: IO[bytes]) -> int | None:
    try:
        return file.fileno()
    except io.UnsupportedOperation:
        return None


def _path(descriptor: int) -> str:
    return f"/proc/{os.getpid()}/fd/{descriptor}"
