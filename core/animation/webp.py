"""Animated WebP: libwebp draws it, from what of the file is whole.

Source: RFC 9649, WebP Image Format, section 2.7.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np
from PIL import Image

from core.animation.reel import Drawn, Reel, check_image
from core.animation.riff import HEAD_BYTES, Chunk, is_webp, join_chunks, split_chunks
from core.errors import UnreadableImage
from core.images.colour import to_srgb
from core.images.limits import Limits
from core.images.samples import RGB, Samples
from core.pixels import Uint8Array

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


def read_webp(data: bytes, limits: Limits | None) -> Reel:
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
    return Reel(
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


def _read_plays(chunk: Chunk) -> int:
    return int.from_bytes(chunk.body[4:6], "little")


def _is_frame(chunk: Chunk) -> bool:
    return chunk.kind == b"ANMF" and len(chunk.body) > FRAME_BYTES


def _draw(data: bytes, frames: int) -> Iterator[Drawn]:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        for number in range(frames):
            image.seek(number)
            drawn = np.asarray(image.convert("RGBA"))
            colour = _as_srgb(drawn[..., :3], image.info.get("icc_profile"))
            yield Drawn(colour, np.ascontiguousarray(drawn[..., 3]))


def _as_srgb(colour: Uint8Array, profile: object) -> Uint8Array:
    samples = Samples(RGB, np.ascontiguousarray(colour), None)
    return np.asarray(to_srgb(samples, profile)[0], np.uint8)
