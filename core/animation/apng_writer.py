"""Frames to animated PNG: of each, the part that has changed replaces what is there.

Source: Portable Network Graphics, third edition, section 11.3.6.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from typing import IO

import numpy as np
from PIL import Image

from core.animation.apng import Control, split_chunks
from core.animation.film import Film, changed_area, rgba
from core.chunks import RELATIVE_COLORIMETRIC, Chunk, colour_chunk, xmp_chunk
from core.clips import ClipWish
from core.pixels import Uint8Array
from core.png import COLOUR_TYPES, SIGNATURE

MOST = 2**16 - 1
"""Of a duration's numerator and denominator."""

KEEP, REPLACE = 0, 0
"""What becomes of a frame before the next one, and of what was there before it."""


def write_apng(film: Film, wish: ClipWish, file: IO[bytes]) -> None:
    """Write a film without loss, whatever is wished.

    Durations are exact, or as near as numerators and denominators of 16 bits are.
    """
    del wish
    file.write(SIGNATURE)
    for chunk in _chunks(film):
        file.write(chunk.encode())


def as_fraction(seconds: Fraction) -> tuple[int, int]:
    """Numerator and denominator for a file.

    >>> as_fraction(Fraction(3, 100)), as_fraction(Fraction(70_001, 1000))
    ((3, 100), (65521, 936))
    """
    denominator = min(MOST, int(MOST / seconds)) if seconds > 1 else MOST
    near = seconds.limit_denominator(max(denominator, 1))
    return min(near.numerator, MOST), near.denominator


def _chunks(film: Film) -> Iterator[Chunk]:
    channels = 4 if film.has_alpha else 3
    kind = COLOUR_TYPES[channels]
    yield Chunk(b"IHDR", struct.pack(">IIBBBBB", film.width, film.height, 8, kind, 0, 0, 0))
    yield Chunk(b"acTL", struct.pack(">II", len(film.durations), film.plays))
    yield colour_chunk(None, RELATIVE_COLORIMETRIC)
    if film.xmp is not None:
        yield xmp_chunk(film.xmp)
    numbers, before = count(), None
    for picture, duration in zip(film.pictures(), film.durations, strict=True):
        now = rgba(picture)[..., :channels]
        yield from _frame(before, now, duration * film.time_base, numbers)
        before = now
    yield Chunk(b"IEND", b"")


def _frame(
    before: Uint8Array | None, now: Uint8Array, seconds: Fraction, numbers: Iterator[int]
) -> Iterator[Chunk]:
    area = changed_area(before, now)
    size = area.width, area.height, area.left, area.top
    control = Control(next(numbers), *size, *as_fraction(seconds), KEEP, REPLACE)
    yield Chunk(b"fcTL", struct.pack(">5I2H2B", *control))
    for body in _compress(area.crop(now)):
        if before is None:
            yield Chunk(b"IDAT", body)
        else:
            yield Chunk(b"fdAT", struct.pack(">I", next(numbers)) + body)


def _compress(pixels: Uint8Array) -> Iterator[bytes]:
    """What a PNG of them would have in its chunks IDAT."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return (chunk.body for chunk in split_chunks(file.getvalue()) if chunk.kind == b"IDAT")
