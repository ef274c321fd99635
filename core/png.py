"""Pixels to PNG, strip by strip: the upper rows are sent while the lower ones are made.

Only colour and alpha of 8 bits, never interlaced. Whole pictures are encoded, and all
pictures decoded, in `core/images.py`.

Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/.
"""

import struct
from collections.abc import Generator, Iterable, Iterator

import numpy as np
from isal import isal_zlib

from core.pixels import Uint8Array

SIGNATURE = b"\x89PNG\r\n\x1a\n"

COLOUR_TYPES = {3: 2, 4: 6}
"""How PNG calls RGB and RGBA, by their channels."""

MAX_SIDE = 2**31 - 1
"""Highest height and width, px."""

PAETH = 4
"""The row filter of every row. Source: PNG, section 9.4."""

LEVEL = 1
"""Of ISA-L, from 0 to 3: 2 and 3 take longer for the same size, see benchmarks/README.md."""

BLOCK_BYTES = 64 * 1024
"""Of pixels filtered and compressed at a time: little enough to stay in a core's cache."""


def encode_png_rows(
    strips: Iterable[Uint8Array],
    *,
    height: int,
    width: int,
    channels: int,
    icc_profile: bytes | None = None,
) -> Generator[bytes]:
    """Encode a picture that comes in strips, as they come.

    The header is out before the first strip is asked for, and nearly all of a strip
    before the next is. Of the pixels, one strip is held, and not while the next is made.

    Args:
        strips: from top to bottom, (h, W, C) uint8 in [0, 255], sRGB unless
            `icc_profile` is given; the fourth channel is opacity, 255 opaque.
        height: of all strips together.
        width: W.
        channels: C, 3 or 4.
        icc_profile: the colour space; None for sRGB.

    Returns:
        The parts of the file, none of them empty.

    Raises:
        ValueError: at once if the sizes are none of a PNG; on the way if a strip has
            another shape or type, or if all strips have not `height` rows.
    """
    if channels not in COLOUR_TYPES:
        raise ValueError(f"`channels` must be 3 or 4. Received: {channels}")
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(
            f"`height` and `width` must be from 1 to {MAX_SIDE}. "
            f"Received: height={height}, width={width}"
        )
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    return _parts(header, icc_profile, _filter(strips, height, width, channels))


def _parts(
    header: bytes, icc_profile: bytes | None, filtered: Iterator[Uint8Array]
) -> Generator[bytes]:
    yield SIGNATURE + _chunk(b"IHDR", header) + _profile(icc_profile)
    compressor = isal_zlib.compressobj(LEVEL)
    for rows in filtered:
        if compressed := compressor.compress(rows):
            yield _chunk(b"IDAT", compressed)
    yield _chunk(b"IDAT", compressor.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = isal_zlib.crc32(body, isal_zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)])


def _profile(icc_profile: bytes | None) -> bytes:
    if not icc_profile:
        return b""
    return _chunk(b"iCCP", b"ICC Profile\0\0" + isal_zlib.compress(icc_profile))


def _filter(
    strips: Iterable[Uint8Array], height: int, width: int, channels: int
) -> Iterator[Uint8Array]:
    """Strips to blocks of filtered rows, (h, 1 + W*C) uint8."""
    block = max(1, min(height, BLOCK_BYTES // (width * channels)))
    # Zeros left of every row and above the first one, as the filter wants them.
    framed = np.zeros((1 + block, 1 + width, channels), np.uint8)
    rows = 0
    for strip in strips:
        rows += len(strip)
        _check(strip, rows, height, width, channels)
        for top in range(0, len(strip), block):
            last = len(strip[top : top + block])
            framed[1 : 1 + last, 1:] = strip[top : top + block]
            yield _subtract_paeth(framed[: 1 + last])
            framed[0] = framed[last]
        del strip  # frees it while the next one is made
    if rows < height:
        raise ValueError(f"`strips` must have {height} rows in all. Received: {rows}")


def _check(strip: Uint8Array, rows: int, height: int, width: int, channels: int) -> None:
    if strip.ndim != 3 or strip.shape[1:] != (width, channels) or strip.dtype != np.uint8:
        raise ValueError(
            f"`strips` must be (h, {width}, {channels}) uint8. "
            f"Received: {strip.shape} {strip.dtype}"
        )
    if rows > height:
        raise ValueError(f"`strips` must have {height} rows in all. Received: {rows} or more")


def _subtract_paeth(framed: Uint8Array) -> Uint8Array:
    """What Paeth's prediction leaves of rows, modulo 256.

    The prediction is that of left, above and corner which is nearest to left + above -
    corner. Between the lower and the higher of left and above, no step needs more than
    8 bits: with the corner clipped to them, the prediction is the lower if the corner
    is at least twice as near to the higher, the other way round, or else the corner.

    Args:
        framed: (1 + h, 1 + W, C) uint8, a row above and a column on the left included.

    Returns:
        (h, 1 + W*C) uint8, each row after the number of its filter.
    """
    channels = framed.shape[2]
    flat = framed.reshape(len(framed), -1)
    here, left = flat[1:, channels:], flat[1:, :-channels]
    above, corner = flat[:-1, channels:], flat[:-1, :-channels]
    low, high = np.minimum(left, above), np.maximum(left, above)
    middle = np.minimum(np.maximum(corner, low), high)  # np.clip doubles the time
    to_low, to_high = middle - low, high - middle

    filtered = np.empty((len(here), 1 + here.shape[1]), np.uint8)
    filtered[:, 0] = PAETH
    residual = filtered[:, 1:]
    np.subtract(here, middle, out=residual)
    residual += to_low * (to_high <= to_low >> 1)
    residual -= to_high * (to_low <= to_high >> 1)
    return filtered
