"""Processes that work on files of strangers, so that this process need not.

Each is a pool of its own with one process in it. In a pool of several they would share
a pipe and its locks, and one that is killed while it holds a lock stops all the others.
"""

import logging
import multiprocessing
import signal
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import util
from multiprocessing.context import BaseContext
from pathlib import Path
from queue import LifoQueue
from typing import IO, Any

from pebble import ProcessExpired, ProcessPool

from core.errors import SuperResolutionError
from core.sandbox.process import (
    OutOfTime,
    Sizes,
    confine,
    lent,
    memory_file,
    processor_time,
    put,
    take,
)

PRELOADED = ["core.images", "core.video", "core.sandbox.pool"]
"""Modules that a new process finds imported."""

TASKS = 500
"""Of a process, before a fresh one takes its place: whatever leaked is gone with it."""

ATTEMPTS = 2
"""At a task whose process dies: it may have been the process, or something else on the machine."""

START_S = 30.0
"""That a process may take to begin."""

log = logging.getLogger("enhancer.workers")


class WorkerDied(Exception):
    """The process ended instead of answering; the text says by what."""


class WorkerFault(Exception):
    """The task raised what nobody expects it to raise; the text is its traceback."""


@dataclass(frozen=True)
class SandboxTask:
    """What is to be done with a file.

    Attributes:
        function: called with the file and `arguments`; known to the process by its name.
        processor_s: seconds of computing that it may take.
        wall_s: seconds that may pass before its process is killed.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    processor_s: float
    wall_s: float


class SandboxPool:
    """A few processes, each with one task at a time.

    They begin with the first task, or with `start`, and end with this process, whatever
    ends it.

    Args:
        count: processes, at least 1.
        memory_bytes: that a process may take beyond what it begins with.
    """

    def __init__(self, count: int, memory_bytes: int) -> None:
        self._all = [_Worker(memory_bytes) for _ in range(count)]
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._all:
            self._idle.put(worker)
        self.close = weakref.finalize(self, _close, self._all)
        """End the processes; called when this object is forgotten, or the interpreter ends."""
        # A process of `multiprocessing` ends without that, and waits for its children.
        util.Finalize(self, self.close, exitpriority=0)

    def start(self, task: SandboxTask, file: IO[bytes]) -> list[Any]:
        """Begin all processes, each with the same task; returns when all have done it."""
        with lent(file) as path, ThreadPoolExecutor(len(self._all)) as threads:
            return list(threads.map(lambda worker: worker.do(task, path), self._all))

    def do(self, task: SandboxTask, file: IO[bytes]) -> Any:
        """The result of a task, as soon as a process is free and has done it.

        Raises:
            SuperResolutionError: raised by the task.
            MemoryError: if the task takes more than it may.
            TimeoutError: likewise, of time.
            WorkerDied: if it ends every process that tries.
            WorkerFault: if it raises something else.
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
            raise RuntimeError("Workers must be open to do anything. They have been closed.")

    def _attempt(self, task: SandboxTask, file: IO[bytes]) -> Any:
        with self._borrowed() as worker, lent(file) as path:
            return worker.do(task, path)

    @contextmanager
    def _borrowed(self) -> Iterator["_Worker"]:
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, and another one when it is gone."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._has_ended = False
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=1,
            max_tasks=TASKS,
            initializer=_begin,
            initargs=(self._memory_bytes,),
            context=process_context(),
        )

    def do(self, task: SandboxTask, path: str) -> Any:
        with memory_file() as (file, result_path):
            result = take(file, self._sizes(task, path, result_path))
        if isinstance(result, MemoryError):
            self._replace("it ran out of memory, and may not have got all of it back")
        if isinstance(result, BaseException):
            raise TimeoutError if isinstance(result, OutOfTime) else result
        return result

    def _sizes(self, task: SandboxTask, path: str, result_path: str) -> Sizes:
        """Wait for the process; if it is gone, the next task will have another one."""
        try:
            future = self._pool.schedule(_do, (task, path, result_path), timeout=task.wall_s)
            sizes: Sizes = future.result(START_S + task.wall_s)
            return sizes
        except TimeoutError as error:
            self._replace("it did not come to an end")
            if future.done():  # by the time it took, not by that which we waited
                raise
            raise WorkerDied("no answer") from error
        except (ProcessExpired, BrokenProcessPool, RuntimeError) as error:
            reason = describe_end(error)
            self._replace(reason)
            if is_out_of_time(error):
                raise TimeoutError from error
            raise WorkerDied(reason) from error

    def _replace(self, reason: str) -> None:
        if self._has_ended:  # that is why it is gone
            raise WorkerDied(reason)
        log.warning("A worker process is replaced: %s", reason)
        self._stop()
        self._pool = self._new_pool()

    def end(self) -> None:
        self._has_ended = True
        self._stop()

    def _stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def process_context() -> BaseContext:
    """How processes begin: TensorFlow's threads do not survive a fork of this one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def is_out_of_time(error: Exception) -> bool:
    """Whether the kernel ended a process for the processor time it took."""
    return isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGXCPU


def describe_end(error: Exception) -> str:
    """What ended a process: a signal by its name, or an exit code."""
    if not isinstance(error, ProcessExpired):
        return "it was gone"
    if error.exitcode < 0:
        return signal.Signals(-error.exitcode).name
    return f"exit code {error.exitcode}"


def _close(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.end()


def _begin(memory_bytes: int) -> None:
    """In the process: what it is to find imported belongs to what it begins with.

    It is there already, unless somebody else began the fork server, or there is none.
    """
    for name in PRELOADED:
        import_module(name)
    confine(memory_bytes)


def _do(task: SandboxTask, path: str, result_path: str) -> Sizes:
    """In the process: put the result there, or the error."""
    try:
        return put(result_path, _result(task, path))
    except MemoryError as error:  # perhaps of a kind that only some library knows
        return put(result_path, MemoryError(str(error)))


def _result(task: SandboxTask, path: str) -> Any:
    try:
        with processor_time(task.processor_s), Path(path).open("rb") as file:
            return task.function(file, *task.arguments)
    except (SuperResolutionError, OutOfTime) as error:
        return error
    except MemoryError:
        raise
    except Exception:
        return WorkerFault(traceback.format_exc())
