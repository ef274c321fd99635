"""Messages that a confined process sends to the server: JSON and raw bytes, never pickle.

A file that takes over its decoder decides what the decoder's process sends. Unpickling that
would let the file run code in the server. So the server states the type that it expects, and
a message can only fill in the fields of that type: numbers, texts, bytes and pixels. Whatever
does not fit is refused with InvalidMessage.

A message is the length of a JSON text (4 bytes), the text, and the bytes of its buffers. The
text holds the kind of message, its content and the sizes of the buffers.
"""

import json
import socket
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import numpy as np

from core import errors
from core.picture import PixelRows
from core.pixels import Uint8Array
from core.sandbox.codecs import Buffer, codec_of, encodable, of_type, size_of

LENGTH = struct.Struct("<I")
"""Length of the JSON text, in bytes."""

MAX_TEXT_BYTES = 1_000_000
"""Longest JSON text that is accepted. Pixels and lists of times are buffers, not text."""

MAPPED_BYTES = 16 * 1024**2
"""Size from which a buffer is mapped by itself: the heap would keep its memory."""

VALUE, ERROR, END = "value", "error", "end"


class InvalidMessage(Exception):
    """A message that is malformed, too large, or not of the expected type."""


class WorkerFault(Exception):
    """An unexpected error in a confined process; the text is its traceback."""


class UnfinishedMessage(BaseException):
    """An error while a message was sent: the receiver cannot be told, as it waits for the rest."""


class OutOfTime(BaseException):
    """The processor time of a task is used up; no `except Exception` stops it."""


ANSWERED_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error
    for error in (
        errors.UnreadableImage,
        errors.UnsupportedImage,
        errors.ImageTooLarge,
        errors.UnreadableClip,
        errors.UnsupportedClip,
        errors.ClipTooLarge,
        errors.InvalidOptions,
        errors.TooMuchMemory,
        MemoryError,
        WorkerFault,
    )
} | {OutOfTime.__name__: TimeoutError}
"""The only errors that a message can make the server raise, by name."""


@dataclass(frozen=True)
class ExpectedAnswer:
    """What the server accepts as an answer.

    Attributes:
        type: of the value. It may be a scalar, bytes, Fraction, an array of pixels, a tuple, or
            a dataclass or NamedTuple of these; `X | None` is possible, too.
        max_bytes: largest sum of all buffers.
        check: raises ValueError or SuperResolutionError to refuse a value; None accepts all.
    """

    type: Any
    max_bytes: int
    check: Callable[[Any], None] | None = None


class EndOfItems:
    """Answer that says that a stream has no more items."""


def send_value(connection: socket.socket, expected_type: Any, value: Any) -> None:
    """Send a value of the type that the server expects."""
    buffers: list[Buffer] = []
    _send(connection, VALUE, codec_of(expected_type).pack(value, buffers), buffers)


def send_error(connection: socket.socket, error: BaseException) -> None:
    """Send an error of `ANSWERED_ERRORS`; send any other one as WorkerFault."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError):  # libraries have their own subclasses
        name = MemoryError.__name__
    elif name not in ANSWERED_ERRORS:
        name, text = WorkerFault.__name__, "".join(traceback.format_exception(error))
    _send(connection, ERROR, [name, encodable(text)])


def send_end(connection: socket.socket) -> None:
    """Say that a stream has no more items."""
    _send(connection, END, None)


def _send(
    connection: socket.socket, kind: str, content: Any, buffers: Sequence[Buffer] = ()
) -> None:
    sizes = [buffer.nbytes for buffer in buffers]
    text = json.dumps([kind, content, sizes]).encode()
    connection.sendall(LENGTH.pack(len(text)) + text)
    try:
        for buffer in buffers:
            for part in buffer.blocks() if isinstance(buffer, PixelRows) else [buffer]:
                if part.size:  # the receiver may be gone without having waited for nothing
                    connection.sendall(part.data)
    except OSError:  # the receiver is gone
        raise
    except BaseException as error:
        raise UnfinishedMessage from error


def receive(connection: socket.socket, expected: ExpectedAnswer, deadline: float) -> Any:
    """Receive an answer and check it.

    Args:
        connection: to the confined process.
        expected: type and size of the answer.
        deadline: on the clock of `time.monotonic`, s.

    Returns:
        The value, an instance (not raised) of an error of `ANSWERED_ERRORS`, or EndOfItems.

    Raises:
        InvalidMessage: if the message is not such an answer.
        TimeoutError: if it is not complete at the deadline.
        EOFError: if the other end is closed.
    """
    kind, content, sizes = _receive_text(connection, deadline)
    max_bytes = expected.max_bytes if kind == VALUE else 0
    if sum(sizes) > max_bytes:
        raise InvalidMessage(f"{sum(sizes)} bytes, more than {max_bytes}")
    buffers = (_receive_bytes(connection, size, deadline) for size in sizes)
    if kind == VALUE:
        return _checked_value(expected, content, list(buffers))
    if kind == ERROR:
        return _error(content)
    if kind == END:
        return EndOfItems()
    raise InvalidMessage("a message of unknown kind")


def _receive_text(connection: socket.socket, deadline: float) -> tuple[Any, Any, list[int]]:
    (length,) = LENGTH.unpack(_receive_bytes(connection, LENGTH.size, deadline).data)
    if length > MAX_TEXT_BYTES:
        raise InvalidMessage(f"a text of {length} bytes")
    text = _receive_bytes(connection, length, deadline).tobytes()
    try:
        kind, content, sizes = json.loads(text)
        return kind, content, [size_of(size) for size in sizes]
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidMessage(f"a malformed text: {error}") from error


def _receive_bytes(connection: socket.socket, size: int, deadline: float) -> Uint8Array:
    """Receive exactly so many bytes, (size,) uint8."""
    received = _memory(size)
    missing = received.data
    while missing:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        count = connection.recv_into(missing)
        if not count:
            raise EOFError
        missing = missing[count:]
    return received


def _memory(size: int) -> Uint8Array:
    """Return memory for a buffer; a large one returns to the system when it is freed."""
    if size < MAPPED_BYTES:
        return np.empty(size, np.uint8)
    return np.frombuffer(mmap(-1, size, MAP_PRIVATE | MAP_ANONYMOUS), np.uint8)


def _checked_value(expected: ExpectedAnswer, content: Any, buffers: list[Uint8Array]) -> Any:
    unread = iter(buffers)
    try:
        value = codec_of(expected.type).unpack(content, unread)
        if next(unread, None) is not None:
            raise InvalidMessage("more buffers than fields")
        if expected.check is not None:
            expected.check(value)
    except (ValueError, TypeError, StopIteration, errors.SuperResolutionError) as error:
        raise InvalidMessage(f"not of the expected type or size: {error}") from error
    return value


def _error(content: Any) -> Exception:
    try:
        name, text = content
        return ANSWERED_ERRORS[name](of_type(str, text))
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidMessage("an error that is not known") from error
