"""Messages that a confined process sends to the server: JSON and raw bytes, never pickle.

A file that takes over its decoder decides what the decoder's process sends. Unpickling that
would let the file run code in the server. So the server states the type that it expects, and
a message can only fill in the fields of that type: numbers, texts, bytes and pixels. Whatever
does not fit is refused with InvalidMessage.

A message is the length of a JSON text (4 bytes), the text, and the bytes of its buffers. The
text holds the kind of message, its content and the sizes of the buffers.
"""

import json
import math
import socket
import struct
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from functools import cache
from types import NoneType, UnionType
from typing import Any, Protocol, get_args, get_origin, get_type_hints

import numpy as np

from core import errors
from core.pixels import Uint8Array

LENGTH = struct.Struct("<I")
"""Length of the JSON text, in bytes."""

MAX_TEXT_BYTES = 1_000_000
"""Longest JSON text that is accepted. Pixels and lists of times are buffers, not text."""

MAX_CHARACTERS = 20_000
"""Length of a text; of a longer one, such as a traceback, the end is sent."""

MAX_INTEGER = 2**63 - 1
"""Largest absolute value of an integer that is accepted."""

MAX_INTEGERS_BYTES = 64_000_000
"""Largest buffer of a tuple of integers: 8 million frames, or 37 hours at 60 a second."""

PIXEL_TYPES, MAX_DIMENSIONS = ("uint8", "uint16"), 3
"""Types of arrays that are accepted, and the number of dimensions up to which they are."""

VALUE, ERROR, END = "value", "error", "end"

Buffer = memoryview | bytes


class InvalidMessage(Exception):
    """A message that is malformed, too large, or not of the expected type."""


class WorkerFault(Exception):
    """An unexpected error in a confined process; the text is its traceback."""


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
    _send(connection, ERROR, [name, _encodable(text)])


def send_end(connection: socket.socket) -> None:
    """Say that a stream has no more items."""
    _send(connection, END, None)


def _send(
    connection: socket.socket, kind: str, content: Any, buffers: Sequence[Buffer] = ()
) -> None:
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    text = json.dumps([kind, content, sizes]).encode()
    connection.sendall(LENGTH.pack(len(text)) + text)
    for buffer in buffers:
        if buffer:
            connection.sendall(buffer)


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
        return kind, content, [_size(size) for size in sizes]
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidMessage(f"a malformed text: {error}") from error


def _receive_bytes(connection: socket.socket, size: int, deadline: float) -> Uint8Array:
    """Receive exactly so many bytes, (size,) uint8."""
    received = np.empty(size, np.uint8)
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
        return ANSWERED_ERRORS[name](_of_type(str, text))
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidMessage("an error that is not known") from error


class ValueCodec(Protocol):
    """How values of one type are written to JSON and buffers, and read again."""

    def pack(self, value: Any, buffers: list[Buffer]) -> Any:
        """Return what JSON holds of a value; append its bytes to `buffers`."""

    def unpack(self, content: Any, buffers: Iterator[Uint8Array]) -> Any:
        """Return the value; raise ValueError, TypeError or StopIteration if it is none."""


@cache
def codec_of(expected: Any) -> ValueCodec:
    """Return the codec of a type; see `ExpectedAnswer` for the types that have one."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is UnionType:
        (inner,) = (kind for kind in arguments if kind is not NoneType)
        return _OptionalCodec(codec_of(inner))
    if origin is np.ndarray:
        return _ArrayCodec()
    if arguments == (int, ...):
        return _IntegersCodec()
    if origin is tuple:
        return _tuple_codec(arguments)
    if is_dataclass(expected) or hasattr(expected, "_fields"):
        return _record_codec(expected)
    return CODECS[expected]


def _tuple_codec(types: tuple[Any, ...]) -> ValueCodec:
    if types[1:] == (...,):
        return _SequenceCodec(codec_of(types[0]))
    return _RecordCodec(lambda *items: items, None, tuple(codec_of(kind) for kind in types))


def _record_codec(expected: Any) -> ValueCodec:
    names = getattr(expected, "_fields", None) or tuple(f.name for f in fields(expected))
    types = get_type_hints(expected)
    return _RecordCodec(expected, names, tuple(codec_of(types[name]) for name in names))


@dataclass(frozen=True)
class _ScalarCodec:
    """Codec of int, float, bool and str."""

    type: type[Any]

    def pack(self, value: Any, _buffers: list[Buffer]) -> Any:
        return _encodable(value) if self.type is str else self.type(value)

    def unpack(self, content: Any, _buffers: Iterator[Uint8Array]) -> Any:
        return _of_type(self.type, content)


class _BytesCodec:
    """Codec of bytes, which are a buffer."""

    def pack(self, value: bytes, buffers: list[Buffer]) -> bool:
        buffers.append(value)
        return True

    def unpack(self, _content: Any, buffers: Iterator[Uint8Array]) -> bytes:
        return next(buffers).tobytes()


class _FractionCodec:
    """Codec of Fraction: numerator and denominator."""

    def pack(self, value: Fraction, _buffers: list[Buffer]) -> list[int]:
        return [value.numerator, value.denominator]

    def unpack(self, content: Any, _buffers: Iterator[Uint8Array]) -> Fraction:
        numerator, denominator = content
        if _of_type(int, denominator) < 1:
            raise ValueError("a denominator below 1")
        return Fraction(_of_type(int, numerator), denominator)


class _IntegersCodec:
    """Codec of `tuple[int, ...]`: a buffer, as there may be an item for each frame of a clip."""

    def pack(self, value: tuple[int, ...], buffers: list[Buffer]) -> bool:
        buffers.append(np.array(value, np.int64).tobytes())
        return True

    def unpack(self, _content: Any, buffers: Iterator[Uint8Array]) -> tuple[int, ...]:
        buffer = next(buffers)
        if buffer.nbytes > MAX_INTEGERS_BYTES:
            raise ValueError(f"integers of {buffer.nbytes} bytes")
        return tuple(buffer.view(np.int64).tolist())


class _ArrayCodec:
    """Codec of pixels: the name of the type and the shape, and a buffer."""

    def pack(self, value: Any, buffers: list[Buffer]) -> list[Any]:
        array = np.ascontiguousarray(value)
        if array.dtype.name not in PIXEL_TYPES:
            raise TypeError(f"arrays of {array.dtype} have no codec")
        buffers.append(array.reshape(-1).view(np.uint8).data)
        return [array.dtype.name, *array.shape]

    def unpack(self, content: Any, buffers: Iterator[Uint8Array]) -> Any:
        name, *shape = content
        if name not in PIXEL_TYPES or len(shape) > MAX_DIMENSIONS:
            raise ValueError("an array that is not of pixels")
        buffer, dtype = next(buffers), np.dtype(name)
        if math.prod(map(_size, shape)) * dtype.itemsize != buffer.nbytes:
            raise ValueError("an array of another shape than its bytes")
        return buffer.view(dtype).reshape(shape)


@dataclass(frozen=True)
class _OptionalCodec:
    """Codec of `X | None`."""

    inner: ValueCodec

    def pack(self, value: Any, buffers: list[Buffer]) -> Any:
        return None if value is None else self.inner.pack(value, buffers)

    def unpack(self, content: Any, buffers: Iterator[Uint8Array]) -> Any:
        return None if content is None else self.inner.unpack(content, buffers)


@dataclass(frozen=True)
class _SequenceCodec:
    """Codec of `tuple[X, ...]`."""

    inner: ValueCodec

    def pack(self, value: Any, buffers: list[Buffer]) -> list[Any]:
        return [self.inner.pack(item, buffers) for item in value]

    def unpack(self, content: Any, buffers: Iterator[Uint8Array]) -> tuple[Any, ...]:
        return tuple(self.inner.unpack(item, buffers) for item in _of_type(list, content))


@dataclass(frozen=True)
class _RecordCodec:
    """Codec of dataclasses, NamedTuples and tuples of a fixed length.

    Attributes:
        create: makes the value from its items.
        names: names of the fields; None for a tuple.
        codecs: codecs of the items.
    """

    create: Callable[..., Any]
    names: tuple[str, ...] | None
    codecs: tuple[ValueCodec, ...]

    def pack(self, value: Any, buffers: list[Buffer]) -> list[Any]:
        items = value if self.names is None else [getattr(value, name) for name in self.names]
        return [codec.pack(item, buffers) for codec, item in zip(self.codecs, items, strict=True)]

    def unpack(self, content: Any, buffers: Iterator[Uint8Array]) -> Any:
        pairs = zip(self.codecs, _of_type(list, content), strict=True)
        return self.create(*[codec.unpack(item, buffers) for codec, item in pairs])


CODECS: dict[Any, ValueCodec] = {kind: _ScalarCodec(kind) for kind in (bool, int, float, str)}
"""Codecs of types without parts."""

CODECS |= {bytes: _BytesCodec(), Fraction: _FractionCodec()}


def _of_type(expected: type[Any], content: Any) -> Any:
    if type(content) is not expected:
        raise TypeError(f"{type(content).__name__} instead of {expected.__name__}")
    if expected is int and abs(content) > MAX_INTEGER:
        raise ValueError("an integer of more than 64 bits")
    if expected is float and not math.isfinite(content):
        raise ValueError("a number that is not finite")
    if expected is str and content != _encodable(content):
        raise ValueError("a text that is too long, or not Unicode")
    return content


def _encodable(text: str) -> str:
    """Return the end of a text, with "?" for what UTF-8 cannot encode."""
    return text[-MAX_CHARACTERS:].encode(errors="replace").decode()


def _size(content: Any) -> int:
    if _of_type(int, content) < 0:
        raise ValueError("a negative size")
    return int(content)
