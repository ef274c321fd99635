"""Frames to animated WebP: of each, the part that has changed replaces what is there.

Source: RFC 9649, WebP Image Format, section 2.7.

Chunks of a WebP.

Source: RFC 9649, WebP Image Format, section 2.

Animated WebP: libwebp draws it, from what of the file is whole.

Source: RFC 9649, WebP Image Format, section 2.7.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from core.animation.model import (
    DecodedAnimation,
    DrawnFrame,
    UpscaledAnimation,
    changed_area,
    check_image,
    rgba,
)
from core.errors import UnreadableImage
from core.images.decode import Limits
from core.images.encode import DEFAULT_QUALITY
from core.images.profiles import to_srgb
from core.images.samples import RGB, Samples
from core.model.tiles import Box
from core.options import OutputOptions
from core.pixels import Uint8Array

RIFF, WEBP_TAG = b"RIFF", b"WEBP"
HEAD_BYTES = 12
CHUNK_HEAD_BYTES = 8


class RiffChunk(NamedTuple):
    """A chunk, without its length and what fills it up to an even one."""

    kind: bytes
    body: bytes

    def encode(self) -> bytes:
        """With them, as it stands in a file."""
        padding = b"\0" * (len(self.body) % 2)
        return self.kind + struct.pack("<I", len(self.body)) + self.body + padding


def is_webp(data: bytes) -> bool:
    """By its first bytes."""
    return data[:4] == RIFF and data[8:HEAD_BYTES] == WEBP_TAG


def split_chunks(data: bytes, start: int = HEAD_BYTES) -> Iterator[RiffChunk]:
    """Chunks that are there as a whole."""
    while len(data) >= start + CHUNK_HEAD_BYTES:
        kind, length = struct.unpack_from("<4sI", data, start)
        start += CHUNK_HEAD_BYTES
        if len(data) < start + length:
            return
        yield RiffChunk(kind, data[start : start + length])
        start += length + length % 2


def join_chunks(chunks: Iterable[RiffChunk]) -> bytes:
    """A file of them."""
    body = b"".join(chunk.encode() for chunk in chunks)
    return head_of_file(HEAD_BYTES + len(body)) + body


def head_of_file(length: int) -> bytes:
    """The first bytes of a file of so many bytes, `HEAD_BYTES` if it is only begun."""
    return RIFF + struct.pack("<I", max(length, HEAD_BYTES) - 8) + WEBP_TAG


WEBP = "WebP"
MILLISECOND = Fraction(1, 1000)
IS_ANIMATED = 0x02  # of the flags in VP8X
FRAME_BYTES = 16  # of a chunk ANMF before what is compressed


def is_animated_webp(data: bytes) -> bool:
    """Whether a WebP says that it is animated."""
    if not is_webp(data):
        return False
    first = next(split_chunks(data), None)
    if first is None or first.kind != b"VP8X":
        return False
    return bool(int.from_bytes(first.body[:1], "little") & IS_ANIMATED)


def read_webp(data: bytes, limits: Limits | None) -> DecodedAnimation:
    """Read an animated WebP.

    Raises:
        ImageTooLarge: as `limits` say.
        UnreadableImage: without a whole frame.
    """
    chunks = list(split_chunks(data))
    width, height = (1 + side for side in _read_sides(chunks[0].body))
    check_image(limits, height, width)
    frames = [chunk for chunk in chunks if _is_frame(chunk)]
    if limits is not None:
        limits.check_frames(len(frames))
    if not frames:
        raise UnreadableImage("Animation must have a whole frame. Received: a WebP without.")
    plays = next((_read_plays(chunk) for chunk in chunks if chunk.kind == b"ANIM"), 0)
    announced = HEAD_BYTES - 4 + struct.unpack_from("<I", data, 4)[0]
    return DecodedAnimation(
        WEBP,
        height,
        width,
        MILLISECOND,
        tuple(_read_uint24(frame.body, 12) for frame in frames),
        plays,
        partial(_draw, join_chunks(chunks), len(frames)),
        damage="The file ends too early." if len(data) < announced else None,
    )


def _read_sides(body: bytes) -> tuple[int, int]:
    """Width and height, each less one."""
    return _read_uint24(body, 4), _read_uint24(body, 7)


def _read_uint24(body: bytes, offset: int) -> int:
    return int.from_bytes(body[offset : offset + 3], "little")


def _read_plays(chunk: RiffChunk) -> int:
    return int.from_bytes(chunk.body[4:6], "little")


def _is_frame(chunk: RiffChunk) -> bool:
    return chunk.kind == b"ANMF" and len(chunk.body) > FRAME_BYTES


def _draw(data: bytes, frames: int) -> Iterator[DrawnFrame]:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        for number in range(frames):
            image.seek(number)
            drawn = np.asarray(image.convert("RGBA"))
            colour = _as_srgb(drawn[..., :3], image.info.get("icc_profile"))
            yield DrawnFrame(colour, np.ascontiguousarray(drawn[..., 3]))


def _as_srgb(colour: Uint8Array, profile: object) -> Uint8Array:
    samples = Samples(RGB, np.ascontiguousarray(colour), None)
    return np.asarray(to_srgb(samples, profile)[0], np.uint8)


HAS_ALPHA, HAS_XMP = 0x10, 0x04
REPLACED = 0x02  # what is under a frame; the frame itself stays
GRID = 2  # frames begin at even rows and columns
LOSSLESS = 100
LONGEST = 2**24 - 1
MOST_PLAYS = 2**16 - 1
PIXELS = (b"ALPH", b"VP8 ", b"VP8L")


def write_webp(film: UpscaledAnimation, wish: OutputOptions, file: IO[bytes]) -> None:
    """Write a film; `wish.quality` is obeyed, 100 is without loss.

    Frames are compressed one by one, and put together here. The file must be one in which
    its beginning can be written at the end.
    """
    quality = DEFAULT_QUALITY["webp"] if wish.quality is None else wish.quality
    start = file.tell()
    file.write(head_of_file(0))
    for chunk in _chunks(film, quality):
        file.write(chunk.encode())
    length = file.tell() - start
    file.seek(start)
    file.write(head_of_file(length))
    file.seek(start + length)


def _chunks(film: UpscaledAnimation, quality: int) -> Iterator[RiffChunk]:
    yield _head(film)
    yield _repetitions(film.plays)
    yield from _frames(film, quality)
    if film.xmp is not None:
        yield RiffChunk(b"XMP ", film.xmp)


def _head(film: UpscaledAnimation) -> RiffChunk:
    flags = IS_ANIMATED | HAS_ALPHA * film.has_alpha | HAS_XMP * (film.xmp is not None)
    return RiffChunk(b"VP8X", struct.pack("<I", flags) + _uint24(film.width - 1, film.height - 1))


def _repetitions(plays: int) -> RiffChunk:
    """How often it is shown, after a background that no viewer shows."""
    return RiffChunk(b"ANIM", struct.pack("<IH", 0, min(plays, MOST_PLAYS)))


def _uint24(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(3, "little") for number in numbers)


def _frames(film: UpscaledAnimation, quality: int) -> Iterator[RiffChunk]:
    channels = 4 if film.has_alpha else 3
    before = None
    durations = film.durations_in(MILLISECOND, least=1)
    for picture, duration in zip(film.pictures(), durations, strict=True):
        now = rgba(picture)
        area = changed_area(before, now, GRID)
        yield _frame(area, area.crop(now)[..., :channels], min(duration, LONGEST), quality)
        before = now


def _frame(area: Box, pixels: Uint8Array, milliseconds: int, quality: int) -> RiffChunk:
    place = area.left // GRID, area.top // GRID
    head = _uint24(*place, area.width - 1, area.height - 1, milliseconds) + bytes([REPLACED])
    return RiffChunk(b"ANMF", head + _compress(pixels, quality))


def _compress(pixels: Uint8Array, quality: int) -> bytes:
    """The chunks of a WebP by itself that hold its pixels."""
    file = io.BytesIO()
    is_lossless = quality == LOSSLESS
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(file, "WEBP", quality=quality if not is_lossless else 75, lossless=is_lossless)
    chunks = split_chunks(file.getvalue())
    return b"".join(chunk.encode() for chunk in chunks if chunk.kind in PIXELS)
