"""Read and write animated WebP files.

libwebp, through Pillow, decodes the complete frames of a file. The writer lets libwebp
compress the changed area of each frame, which replaces what is there, and assembles the file.

Source: RFC 9649, WebP Image Format, section 2.
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
from core.picture import PixelRows
from core.pixels import Uint8Array

WEBP = "WebP"
MILLISECOND = Fraction(1, 1000)

RIFF_TAG, WEBP_TAG = b"RIFF", b"WEBP"
FILE_HEADER_BYTES = 12
CHUNK_HEADER_BYTES = 8

FRAME_HEADER_BYTES = 16
"""Bytes of an ANMF chunk before the compressed frame."""

PIXEL_CHUNKS = (b"ALPH", b"VP8 ", b"VP8L")
"""Chunks that hold the pixels of a frame."""

HAS_ALPHA, HAS_XMP, IS_ANIMATED = 0x10, 0x04, 0x02
"""Flag bits of the VP8X chunk."""

REPLACE_CANVAS = 0x02
"""Flag of a frame that replaces the canvas instead of being blended, and stays."""

GRID = 2
"""Rows and columns of which a frame's position is a multiple."""

LOSSLESS = 100
"""Quality that means lossless compression."""

LOSSLESS_EFFORT = 75
"""Compression effort of lossless frames, of 100."""

MAX_DURATION = 2**24 - 1
MAX_PLAYS = 2**16 - 1


class RiffChunk(NamedTuple):
    """A RIFF chunk, without its length field and padding."""

    kind: bytes
    body: bytes

    def encode(self) -> bytes:
        """Return the chunk as stored in a file, padded to an even length."""
        padding = b"\0" * (len(self.body) % 2)
        return self.kind + struct.pack("<I", len(self.body)) + self.body + padding


def is_animated_webp(data: bytes) -> bool:
    """Return whether a file is a WebP with the animation flag."""
    if data[:4] != RIFF_TAG or data[8:FILE_HEADER_BYTES] != WEBP_TAG:
        return False
    first = next(split_chunks(data), None)
    if first is None or first.kind != b"VP8X":
        return False
    return bool(int.from_bytes(first.body[:1], "little") & IS_ANIMATED)


def read_webp(data: bytes, limits: Limits | None) -> DecodedAnimation:
    """Read an animated WebP.

    Raises:
        ImageTooLarge: if the canvas or the frame count exceeds `limits`.
        UnreadableImage: if there is no whole frame.
    """
    chunks = list(split_chunks(data))
    width, height = _parse_canvas_size(chunks[0].body)
    check_image(limits, height, width)
    frames = [chunk for chunk in chunks if _is_frame(chunk)]
    if limits is not None:
        limits.check_frames(len(frames))
    if not frames:
        raise UnreadableImage("Animation must have a whole frame. Received: a WebP without one.")
    plays = next((_parse_plays(chunk) for chunk in chunks if chunk.kind == b"ANIM"), 0)
    announced_bytes = FILE_HEADER_BYTES - 4 + struct.unpack_from("<I", data, 4)[0]
    return DecodedAnimation(
        WEBP,
        height,
        width,
        MILLISECOND,
        tuple(_parse_uint24(frame.body, 12) for frame in frames),
        plays,
        partial(_draw, join_chunks(chunks), len(frames)),
        damage="The file ends too early." if len(data) < announced_bytes else None,
    )


def split_chunks(data: bytes, start: int = FILE_HEADER_BYTES) -> Iterator[RiffChunk]:
    """Yield the complete chunks from byte `start` on."""
    while len(data) >= start + CHUNK_HEADER_BYTES:
        kind, length = struct.unpack_from("<4sI", data, start)
        start += CHUNK_HEADER_BYTES
        if len(data) < start + length:
            return
        yield RiffChunk(kind, data[start : start + length])
        start += length + length % 2


def join_chunks(chunks: Iterable[RiffChunk]) -> bytes:
    """Return a WebP file of the given chunks."""
    body = b"".join(chunk.encode() for chunk in chunks)
    return file_header(FILE_HEADER_BYTES + len(body)) + body


def file_header(file_bytes: int) -> bytes:
    """Return the header of a WebP file of the given total length."""
    return RIFF_TAG + struct.pack("<I", max(file_bytes, FILE_HEADER_BYTES) - 8) + WEBP_TAG


def _parse_canvas_size(body: bytes) -> tuple[int, int]:
    """Return width and height from the body of a VP8X chunk."""
    return 1 + _parse_uint24(body, 4), 1 + _parse_uint24(body, 7)


def _parse_uint24(body: bytes, offset: int) -> int:
    return int.from_bytes(body[offset : offset + 3], "little")


def _parse_plays(chunk: RiffChunk) -> int:
    return int.from_bytes(chunk.body[4:6], "little")


def _is_frame(chunk: RiffChunk) -> bool:
    return chunk.kind == b"ANMF" and len(chunk.body) > FRAME_HEADER_BYTES


def _draw(data: bytes, frames: int) -> Iterator[DrawnFrame]:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        for number in range(frames):
            image.seek(number)
            pixels = np.asarray(image.convert("RGBA"))
            colour = _to_srgb(pixels[..., :3], image.info.get("icc_profile"))
            yield DrawnFrame(colour, np.ascontiguousarray(pixels[..., 3]))


def _to_srgb(colour: Uint8Array, profile: object) -> Uint8Array:
    samples = Samples(RGB, PixelRows.of(np.ascontiguousarray(colour)), None)
    return np.asarray(to_srgb(samples, profile)[0].assemble(), np.uint8)


def write_webp(animation: UpscaledAnimation, options: OutputOptions, file: IO[bytes]) -> None:
    """Write an animation with the quality of `options`, 100 for lossless.

    `file` must be seekable: the header is written last, when the length is known.
    """
    quality = DEFAULT_QUALITY["webp"] if options.quality is None else options.quality
    start = file.tell()
    file.write(file_header(0))
    for chunk in _encode_chunks(animation, quality):
        file.write(chunk.encode())
    length = file.tell() - start
    file.seek(start)
    file.write(file_header(length))
    file.seek(start + length)


def _encode_chunks(animation: UpscaledAnimation, quality: int) -> Iterator[RiffChunk]:
    yield _encode_header(animation)
    yield _encode_plays(animation.plays)
    yield from _encode_frames(animation, quality)
    if animation.xmp is not None:
        yield RiffChunk(b"XMP ", animation.xmp)


def _encode_header(animation: UpscaledAnimation) -> RiffChunk:
    flags = IS_ANIMATED | HAS_ALPHA * animation.has_alpha | HAS_XMP * (animation.xmp is not None)
    size = _encode_uint24(animation.width - 1, animation.height - 1)
    return RiffChunk(b"VP8X", struct.pack("<I", flags) + size)


def _encode_plays(plays: int) -> RiffChunk:
    """Encode the number of plays, after a background colour that no viewer shows."""
    return RiffChunk(b"ANIM", struct.pack("<IH", 0, min(plays, MAX_PLAYS)))


def _encode_uint24(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(3, "little") for number in numbers)


def _encode_frames(animation: UpscaledAnimation, quality: int) -> Iterator[RiffChunk]:
    channels = 4 if animation.has_alpha else 3
    previous = None
    durations = animation.durations_in(MILLISECOND, minimum=1)
    for picture, duration in zip(animation.pictures(), durations, strict=True):
        current = rgba(picture)
        area = changed_area(previous, current, GRID)
        pixels = area.crop(current)[..., :channels]
        yield _encode_frame(area, pixels, min(duration, MAX_DURATION), quality)
        previous = current


def _encode_frame(area: Box, pixels: Uint8Array, milliseconds: int, quality: int) -> RiffChunk:
    position = area.left // GRID, area.top // GRID
    header = _encode_uint24(*position, area.width - 1, area.height - 1, milliseconds)
    return RiffChunk(b"ANMF", header + bytes([REPLACE_CANVAS]) + _compress(pixels, quality))


def _compress(pixels: Uint8Array, quality: int) -> bytes:
    """Return the pixel chunks of a still WebP of the pixels."""
    file = io.BytesIO()
    is_lossless = quality == LOSSLESS
    image = Image.fromarray(np.ascontiguousarray(pixels))
    effort = LOSSLESS_EFFORT if is_lossless else quality
    image.save(file, "WEBP", quality=effort, lossless=is_lossless)
    chunks = split_chunks(file.getvalue())
    return b"".join(chunk.encode() for chunk in chunks if chunk.kind in PIXEL_CHUNKS)
