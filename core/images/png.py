"""Streaming PNG encoder: upper rows are sent while lower rows are still being made.

It writes grey or colour, with or without alpha, of 8 or 16 bits, never interlaced.
`core.images.encode` encodes whole pictures.

Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/; section 11.3
for the chunks about colour space, density and metadata.
"""

import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

from core.picture import Extras
from core.pixels import PixelArray, Uint8Array

SIGNATURE = b"\x89PNG\r\n\x1a\n"

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Colour type in the header by number of channels: grey, grey and alpha, RGB, RGBA."""

SAMPLE_TYPES = {8: "u1", 16: ">u2"}
"""Type of a sample in the file, by its bits."""

MAX_SIDE = 2**31 - 1
"""Highest height and width, px."""

PERCEPTUAL, RELATIVE_COLORIMETRIC = 0, 1  # rendering intents of the sRGB chunk

INCHES_PER_METRE = 1 / 0.0254
METRES = 1  # unit of the pHYs chunk
MAX_PIXELS_PER_METRE = 2**31 - 1

TEXT_ENCODING = "latin-1"  # of the tEXt chunk

PAETH = 4
"""Filter type of every row. Source: PNG, section 9.4."""

COMPRESSION_LEVEL = 1
"""Level of ISA-L, from 0 to 3. Levels 2 and 3 take longer for the same size, see
benchmarks/README.md."""

BLOCK_BYTES = 64 * 1024
"""Number of pixel bytes filtered and compressed at a time; they fit into a core's cache."""


class PngChunk(NamedTuple):
    """A chunk of a PNG, without its length and checksum."""

    kind: bytes
    body: bytes

    def encode(self) -> bytes:
        """Return the chunk as it is written, with length and checksum."""
        checksum = isal_zlib.crc32(self.body, isal_zlib.crc32(self.kind))
        length = struct.pack(">I", len(self.body))
        return b"".join([length, self.kind, self.body, struct.pack(">I", checksum)])


def extra_chunks(extras: Extras, intent: int = PERCEPTUAL) -> list[PngChunk]:
    """Return the chunks for the extras of a picture.

    Args:
        extras: without a profile, the pixels are declared as sRGB.
        intent: rendering intent of pixels that are declared as sRGB.
    """
    chunks = [colour_chunk(extras.icc_profile, intent)]
    if extras.dpi is not None:
        chunks.append(density_chunk(extras.dpi))
    if extras.exif is not None:
        chunks.append(PngChunk(b"eXIf", extras.exif))
    if extras.xmp is not None:
        chunks.append(xmp_chunk(extras.xmp))
    return chunks


def colour_chunk(icc_profile: bytes | None, intent: int) -> PngChunk:
    """Return the chunk for a colour profile, or for sRGB if there is none."""
    if icc_profile is None:
        return PngChunk(b"sRGB", bytes([intent]))
    return PngChunk(b"iCCP", b"ICC Profile\0\0" + isal_zlib.compress(icc_profile))


def density_chunk(dpi: tuple[float, float]) -> PngChunk:
    """Return the chunk for pixels per inch, horizontal and vertical, as pixels per metre."""
    across, down = (min(round(d * INCHES_PER_METRE), MAX_PIXELS_PER_METRE) for d in dpi)
    return PngChunk(b"pHYs", struct.pack(">IIB", across, down, METRES))


def xmp_chunk(packet: bytes) -> PngChunk:
    """Return the chunk for an XMP packet. Source: XMP specification, part 3, section 1.1.5."""
    return PngChunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def text_chunk(keyword: str, text: str) -> PngChunk:
    """Return the chunk for a line of Latin-1 text."""
    return PngChunk(b"tEXt", f"{keyword}\0{text}".encode(TEXT_ENCODING))


@dataclass(frozen=True)
class PngLayout:
    """Size and sample format of a PNG.

    Attributes:
        height: number of rows, px.
        width: number of columns, px.
        channels: from 1 to 4: grey, grey and alpha, RGB, RGBA.
        bits: bits of a sample, 8 or 16.
    """

    height: int
    width: int
    channels: int
    bits: int = 8

    def __post_init__(self) -> None:
        if self.channels not in COLOUR_TYPES or self.bits not in SAMPLE_TYPES:
            raise ValueError(
                "`channels` must be from 1 to 4 and `bits` 8 or 16. "
                f"Received: channels={self.channels}, bits={self.bits}"
            )
        if not (1 <= self.height <= MAX_SIDE and 1 <= self.width <= MAX_SIDE):
            raise ValueError(
                f"`height` and `width` must be from 1 to {MAX_SIDE}. "
                f"Received: height={self.height}, width={self.width}"
            )

    @property
    def pixel_bytes(self) -> int:
        """Number of uncompressed bytes of a pixel in the file."""
        return self.channels * self.bits // 8

    @property
    def header(self) -> PngChunk:
        """The IHDR chunk."""
        colour_type = COLOUR_TYPES[self.channels]
        return PngChunk(
            b"IHDR",
            struct.pack(">IIBBBBB", self.width, self.height, self.bits, colour_type, 0, 0, 0),
        )

    def bytes_of(self, pixels: PixelArray) -> Uint8Array:
        """Return (h, W, C) pixels as they are written: (h, W, pixel_bytes) uint8."""
        written = pixels.astype(SAMPLE_TYPES[self.bits]).tobytes()
        return np.frombuffer(written, np.uint8).reshape(len(pixels), self.width, self.pixel_bytes)

    def check(self, strip: PixelArray, rows: int) -> None:
        """Check that a strip fits into the picture.

        Args:
            strip: (h, W, C) pixels.
            rows: number of rows of the picture up to the end of the strip.

        Raises:
            ValueError: if the strip has another shape or type, or there are too many rows.
        """
        expected = np.dtype(f"u{self.bits // 8}")
        if strip.shape[1:] != (self.width, self.channels) or strip.dtype != expected:
            raise ValueError(
                f"`strips` must be (h, {self.width}, {self.channels}) {expected}. "
                f"Received: {strip.shape} {strip.dtype}"
            )
        if rows > self.height:
            raise ValueError(
                f"`strips` must have {self.height} rows in all. Received: {rows} or more"
            )


def encode_png_rows(
    strips: Iterable[PixelArray],
    layout: PngLayout,
    *,
    opening: Sequence[PngChunk] = (),
    closing: Callable[[], Sequence[PngChunk]] = tuple,
    holds_header: bool = False,
) -> Generator[bytes]:
    """Encode a picture strip by strip, while the strips are being made.

    Nearly all of a strip is yielded before the next one is requested. At most one strip
    is held, and none while the next one is made.

    Args:
        strips: from top to bottom, (h, W, C) uint8 in [0, 255] or, with 16 bits, uint16
            in [0, 65535]. With 2 or 4 channels, the last one is opacity.
        layout: layout of the whole picture.
        opening: chunks before the pixels.
        closing: called after the last strip; returns the chunks after the pixels.
        holds_header: whether the header waits for the first rows. If so, the first part
            of the file proves that these rows could be made. If not, the header is
            yielded before the first strip is requested.

    Yields:
        The parts of the file, none of them empty.

    Raises:
        ValueError: while strips are read, if one has another shape or type than `layout`,
            or if their heights do not add up to its height.
    """
    header = SIGNATURE + b"".join(chunk.encode() for chunk in (layout.header, *opening))
    pixels = _compress(strips, layout)
    if holds_header:
        header += b"".join(islice(pixels, 1))
    yield header
    yield from pixels
    yield b"".join(chunk.encode() for chunk in (*closing(), PngChunk(b"IEND", b"")))


def _compress(strips: Iterable[PixelArray], layout: PngLayout) -> Generator[bytes]:
    """Yield the encoded IDAT chunks of a picture."""
    compressor = isal_zlib.compressobj(COMPRESSION_LEVEL)
    for rows in _filter(strips, layout):
        if compressed := compressor.compress(rows):
            yield PngChunk(b"IDAT", compressed).encode()
    yield PngChunk(b"IDAT", compressor.flush()).encode()


def _filter(strips: Iterable[PixelArray], layout: PngLayout) -> Iterator[Uint8Array]:
    """Yield blocks of filtered rows, (h, 1 + W*pixel_bytes) uint8."""
    block = max(1, min(layout.height, BLOCK_BYTES // (layout.width * layout.pixel_bytes)))
    # The filter needs zeros left of every row and above the first one.
    framed = np.zeros((1 + block, 1 + layout.width, layout.pixel_bytes), np.uint8)
    rows = 0
    for strip in strips:
        rows += len(strip)
        layout.check(strip, rows)
        for top in range(0, len(strip), block):
            last = len(strip[top : top + block])
            framed[1 : 1 + last, 1:] = layout.bytes_of(strip[top : top + block])
            yield _subtract_paeth(framed[: 1 + last])
            framed[0] = framed[last]
        del strip  # frees it while the next one is made
    if rows < layout.height:
        raise ValueError(f"`strips` must have {layout.height} rows in all. Received: {rows}")


def _subtract_paeth(framed: Uint8Array) -> Uint8Array:
    """Subtract Paeth's prediction from rows, modulo 256.

    Paeth predicts whichever of left, above and corner is nearest to left + above - corner.
    This function computes it in 8 bits. Let low and high be the lower and the higher of
    left and above, and clip the corner to [low, high]. The prediction is low if the corner
    is at least twice as far from low as from high, high if it is the other way round, and
    else the corner.

    Args:
        framed: (1 + h, 1 + W, C) uint8, including the row above and a column on the left.

    Returns:
        (h, 1 + W*C) uint8; each row begins with its filter type.
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
