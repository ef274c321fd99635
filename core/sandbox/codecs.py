"""Codecs: how the values of a message are written to JSON and buffers, and read again.

Each type has a codec, which accepts values of this type and no others.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from functools import cache
from types import NoneType, UnionType
from typing import Any, Protocol, get_args, get_origin, get_type_hints

import numpy as np

from core.picture import PixelRows
from core.pixels import PixelArray, Uint8Array

MAX_CHARACTERS = 20_000
"""Length of a text; of a longer one, such as a traceback, the end is sent."""

MAX_INTEGER = 2**63 - 1
"""Largest absolute value of an integer that is accepted."""

MAX_INTEGERS_BYTES = 64_000_000
"""Largest buffer of a tuple of integers: 8 million frames, or 37 hours at 60 a second."""

PIXEL_TYPES, MAX_DIMENSIONS = ("uint8", "uint16"), 3
"""Types of arrays that are accepted, and the number of dimensions up to which they are."""

Buffer = PixelArray | PixelRows
"""Bytes of a message that are not in its text. Rows are computed while they are sent."""


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
        return encodable(value) if self.type is str else self.type(value)

    def unpack(self, content: Any, _buffers: Iterator[Uint8Array]) -> Any:
        return of_type(self.type, content)


class _BytesCodec:
    """Codec of bytes, which are a buffer."""

    def pack(self, value: bytes, buffers: list[Buffer]) -> bool:
        buffers.append(np.frombuffer(value, np.uint8))
        return True

    def unpack(self, _content: Any, buffers: Iterator[Uint8Array]) -> bytes:
        return next(buffers).tobytes()


class _FractionCodec:
    """Codec of Fraction: numerator and denominator."""

    def pack(self, value: Fraction, _buffers: list[Buffer]) -> list[int]:
        return [value.numerator, value.denominator]

    def unpack(self, content: Any, _buffers: Iterator[Uint8Array]) -> Fraction:
        numerator, denominator = content
        if of_type(int, denominator) < 1:
            raise ValueError("a denominator below 1")
        return Fraction(of_type(int, numerator), denominator)


class _IntegersCodec:
    """Codec of `tuple[int, ...]`: a buffer, as there may be an item for each frame of a clip."""

    def pack(self, value: tuple[int, ...], buffers: list[Buffer]) -> bool:
        buffers.append(np.array(value, np.int64).view(np.uint8))
        return True

    def unpack(self, _content: Any, buffers: Iterator[Uint8Array]) -> tuple[int, ...]:
        buffer = next(buffers)
        if buffer.nbytes > MAX_INTEGERS_BYTES:
            raise ValueError(f"integers of {buffer.nbytes} bytes")
        return tuple(buffer.view(np.int64).tolist())


class _ArrayCodec:
    """Codec of pixels, also of `PixelRows`: the name of the type and the shape, and a buffer."""

    def pack(self, value: Any, buffers: list[Buffer]) -> list[Any]:
        if value.dtype.name not in PIXEL_TYPES:
            raise TypeError(f"arrays of {value.dtype} have no codec")
        buffers.append(value if isinstance(value, PixelRows) else np.ascontiguousarray(value))
        return [value.dtype.name, *value.shape]

    def unpack(self, content: Any, buffers: Iterator[Uint8Array]) -> Any:
        name, *shape = content
        if name not in PIXEL_TYPES or len(shape) > MAX_DIMENSIONS:
            raise ValueError("an array that is not of pixels")
        buffer, dtype = next(buffers), np.dtype(name)
        if math.prod(map(size_of, shape)) * dtype.itemsize != buffer.nbytes:
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
        return tuple(self.inner.unpack(item, buffers) for item in of_type(list, content))


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
        pairs = zip(self.codecs, of_type(list, content), strict=True)
        return self.create(*[codec.unpack(item, buffers) for codec, item in pairs])


CODECS: dict[Any, ValueCodec] = {kind: _ScalarCodec(kind) for kind in (bool, int, float, str)}
"""Codecs of types without parts."""

CODECS |= {bytes: _BytesCodec(), Fraction: _FractionCodec()}


def of_type(expected: type[Any], content: Any) -> Any:
    """Return a scalar of exactly this type; raise TypeError or ValueError for any other."""
    if type(content) is not expected:
        raise TypeError(f"{type(content).__name__} instead of {expected.__name__}")
    if expected is int and abs(content) > MAX_INTEGER:
        raise ValueError("an integer of more than 64 bits")
    if expected is float and not math.isfinite(content):
        raise ValueError("a number that is not finite")
    if expected is str and content != encodable(content):
        raise ValueError("a text that is too long, or not Unicode")
    return content


def encodable(text: str) -> str:
    """Return the end of a text, with "?" for what UTF-8 cannot encode."""
    return text[-MAX_CHARACTERS:].encode(errors="replace").decode()


def size_of(content: Any) -> int:
    """Return a number of bytes or of pixels; raise TypeError or ValueError for what is none."""
    if of_type(int, content) < 0:
        raise ValueError("a negative size")
    return int(content)
