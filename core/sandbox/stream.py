"""What a process of its own makes of a stranger's file, one item after the other.

Where `core.sandbox.pool` hands over one result, this hands over many, as they are made: frames
of a clip. They come through a pipe. Nobody else writes to it, so whoever is killed leaves
half a message to nobody, and it holds less than a frame: the process is one item ahead and
waits there until that is taken.
"""

import pickle
import signal
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from core.errors import SuperResolutionError
from core.sandbox.pool import START_S, WorkerDied, WorkerFault, process_context
from core.sandbox.process import confine

ITEM, ERROR, END = "item", "error", "end"

LAST_WORD_S = 5.0
"""For a process whose pipe is closed to end, so that one knows by what."""


@dataclass(frozen=True)
class ReadRequest:
    """What is to be read, and what that may take.

    Attributes:
        function: called with `arguments`, yields the items; known to the process by its name.
        arguments: such as the path of a file.
        memory_bytes: that the process may take beyond what it begins with.
        wall_s: seconds in which each item must be there once it is waited for.
    """

    function: Callable[..., Iterable[Any]]
    arguments: tuple[Any, ...]
    memory_bytes: int
    wall_s: float


def read_apart(reading: ReadRequest) -> Generator[Any]:
    """The items, made in a confined process that ends with this generator.

    Raises:
        SuperResolutionError: raised by the function.
        MemoryError: if it takes more than it may.
        TimeoutError: likewise, of time.
        WorkerDied: if its process ends instead.
        WorkerFault: if it raises something else.
    """
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(  # type: ignore[attr-defined]  # every context has it
        target=_send_all, args=(reading, sender), daemon=True
    )
    process.start()
    sender.close()
    try:
        yield from _received(receiver, process, reading.wall_s)
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def _received(receiver: Connection, process: BaseProcess, wall_s: float) -> Generator[Any]:
    patience_s = START_S + wall_s
    while True:
        if not receiver.poll(patience_s):
            raise TimeoutError
        kind, content = _message(receiver, process)
        if kind == END:
            return
        if kind == ERROR:
            raise content
        yield content
        del content  # frees it while the next one is made
        patience_s = wall_s


def _message(receiver: Connection, process: BaseProcess) -> tuple[str, Any]:
    try:
        message: tuple[str, Any] = pickle.loads(receiver.recv_bytes())
    except (EOFError, OSError) as error:
        process.join(LAST_WORD_S)
        raise WorkerDied(_describe_end(process.exitcode)) from error
    return message


def _describe_end(exit_code: int | None) -> str:
    if exit_code is None:
        return "it closed its pipe"
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"


def _send_all(reading: ReadRequest, sender: Connection) -> None:
    """In the process."""
    confine(reading.memory_bytes)
    with suppress(BrokenPipeError):  # nobody wants more
        _send(sender, *_last_word(reading, sender))


def _last_word(reading: ReadRequest, sender: Connection) -> tuple[str, Any]:
    try:
        for item in reading.function(*reading.arguments):
            _send(sender, ITEM, item)
            del item
    except SuperResolutionError as error:
        return ERROR, error
    except MemoryError as error:  # perhaps of a kind that only some library knows
        return ERROR, MemoryError(str(error))
    except BrokenPipeError:
        raise
    except Exception:
        return ERROR, WorkerFault(traceback.format_exc())
    return END, None


def _send(sender: Connection, kind: str, content: Any) -> None:
    sender.send_bytes(pickle.dumps((kind, content), protocol=5))
