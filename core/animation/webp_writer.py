"""Frames to animated WebP: of each, the part that has changed replaces what is there.

Source: RFC 9649, WebP Image Format, section 2.7.
"""

import io
import struct
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image

from core.animation.film import Film, changed_area, rgba
from core.animation.riff import Chunk, head_of_file, split_chunks
from core.animation.webp import IS_ANIMATED, MILLISECOND
from core.clips import ClipWish
from core.images.output import QUALITIES
from core.pixels import Uint8Array
from core.tiles import Box

HAS_ALPHA, HAS_XMP = 0x10, 0x04
REPLACED = 0x02  # what is under a frame; the frame itself stays
GRID = 2  # frames begin at even rows and columns
LOSSLESS = 100
LONGEST = 2**24 - 1
MOST_PLAYS = 2**16 - 1
PIXELS = (b"ALPH", b"VP8 ", b"VP8L")


def write_webp(film: Film, wish: ClipWish, file: IO[bytes]) -> None:
    """Write a film; `wish.quality` is obeyed, 100 is without loss.

    Frames are compressed one by one, and put together here. The file must be one in which
    its beginning can be written at the end.
    """
    quality = QUALITIES["webp"] if wish.quality is None else wish.quality
    start = file.tell()
    file.write(head_of_file(0))
    for chunk in _chunks(film, quality):
        file.write(chunk.encode())
    length = file.tell() - start
    file.seek(start)
    file.write(head_of_file(length))
    file.seek(start + length)


def _chunks(film: Film, quality: int) -> Iterator[Chunk]:
    yield _head(film)
    yield _repetitions(film.plays)
    yield from _frames(film, quality)
    if film.xmp is not None:
        yield Chunk(b"XMP ", film.xmp)


def _head(film: Film) -> Chunk:
    flags = IS_ANIMATED | HAS_ALPHA * film.has_alpha | HAS_XMP * (film.xmp is not None)
    return Chunk(b"VP8X", struct.pack("<I", flags) + _uint24(film.width - 1, film.height - 1))


def _repetitions(plays: int) -> Chunk:
    """How often it is shown, after a background that no viewer shows."""
    return Chunk(b"ANIM", struct.pack("<IH", 0, min(plays, MOST_PLAYS)))


def _uint24(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(3, "little") for number in numbers)


def _frames(film: Film, quality: int) -> Iterator[Chunk]:
    channels = 4 if film.has_alpha else 3
    before = None
    durations = film.durations_in(MILLISECOND, least=1)
    for picture, duration in zip(film.pictures(), durations, strict=True):
        now = rgba(picture)
        area = changed_area(before, now, GRID)
        yield _frame(area, area.crop(now)[..., :channels], min(duration, LONGEST), quality)
        before = now


def _frame(area: Box, pixels: Uint8Array, milliseconds: int, quality: int) -> Chunk:
    place = area.left // GRID, area.top // GRID
    head = _uint24(*place, area.width - 1, area.height - 1, milliseconds) + bytes([REPLACED])
    return Chunk(b"ANMF", head + _compress(pixels, quality))


def _compress(pixels: Uint8Array, quality: int) -> bytes:
    """The chunks of a WebP by itself that hold its pixels."""
    file = io.BytesIO()
    is_lossless = quality == LOSSLESS
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(file, "WEBP", quality=quality if not is_lossless else 75, lossless=is_lossless)
    chunks = split_chunks(file.getvalue())
    return b"".join(chunk.encode() for chunk in chunks if chunk.kind in PIXELS)
