"""How many frames a file has, without decoding any, and never counting for long.

Source: GIF89a specification; TIFF 6.0, section 2; the design of BigTIFF.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import IO

from PIL import ImageFile

MOST_COUNTED = 1000
"""Frames that are counted where no limit says how many matter; beyond it is not known."""

GIF_HEADER_BYTES, GIF_FLAGS = 13, 10
GIF_IMAGE, GIF_IMAGE_BYTES, GIF_IMAGE_FLAGS = 0x2C, 11, 9
GIF_EXTENSION, GIF_EXTENSION_BYTES = 0x21, 2
COLOUR_TABLE = 0b1000_0000
"""The flag that says that a table follows; the lowest three bits give its size."""


def count_frames(image: ImageFile.ImageFile, file: IO[bytes], at_most: int | None) -> int:
    """Frames of a file, up to one beyond the limit; 0 if that is not known.

    Args:
        image: opened from `file`.
        at_most: limit beyond which the number does not matter; None for no limit.
    """
    limit = MOST_COUNTED if at_most is None else at_most
    frames = min(_frames(image, file, limit), limit + 1)
    return 0 if at_most is None and frames > limit else frames


def _frames(image: ImageFile.ImageFile, file: IO[bytes], limit: int) -> int:
    """Pillow counts those of GIF and TIFF by reading all of each."""
    if image.format == "MPO":  # a JPEG, with previews or depth behind it
        return 1
    if image.format not in ("GIF", "TIFF"):
        return int(getattr(image, "n_frames", 1))
    file.seek(0)
    data = file.read()
    return _count(_gif_frames(data) if image.format == "GIF" else _tiff_frames(data), limit)


def _count(frames: Iterator[int], limit: int) -> int:
    """What cannot be followed ends the count, not the picture."""
    counted = 0
    try:
        for _ in islice(frames, limit + 1):
            counted += 1
    except (IndexError, struct.error, OverflowError):
        pass
    return max(counted, 1)


def _gif_frames(data: bytes) -> Iterator[int]:
    """The position of each image descriptor."""
    position = GIF_HEADER_BYTES + _table_bytes(data[GIF_FLAGS])
    while True:
        if data[position] == GIF_IMAGE:
            yield position
            position += GIF_IMAGE_BYTES + _table_bytes(data[position + GIF_IMAGE_FLAGS])
        elif data[position] == GIF_EXTENSION:
            position += GIF_EXTENSION_BYTES
        else:
            return
        while length := data[position]:
            position += 1 + length
        position += 1


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & COLOUR_TABLE else 0


def _tiff_frames(data: bytes) -> Iterator[int]:
    """The position of each directory, none of them twice."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = 43 in data[2:4]
    count, entry_bytes, offset = ("Q", 20, "Q") if is_big else ("H", 12, "I")

    def read(code: str, position: int) -> int:
        return int(struct.unpack_from(order + code, data, position)[0])

    seen: set[int] = set()
    position = read(offset, 8 if is_big else 4)
    while position and position not in seen:
        seen.add(position)
        entries = read(count, position)
        yield position
        position = read(offset, position + struct.calcsize(count) + entries * entry_bytes)
