"""Pixels to PNG, strip by strip: the upper rows are sent while the lower ones are made.

Grey or colour, alpha or not, of 8 or 16 bits, never interlaced. Whole pictures are encoded, and all
pictures decoded, in `core/images.py`.

Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/.

Chunks of a PNG that say something about its pixels: colour space, density, metadata.

Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/, section 11.3.
"""

import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

from core.picture import Extras
from core.pixels import PixelArray, Uint8Array

INCHES_PER_METRE = 1 / 0.0254
METRES = 1  # the unit of pHYs
PERCEPTUAL, RELATIVE_COLORIMETRIC = 0, 1  # rendering intents of sRGB
MOST_PER_METRE = 2**31 - 1
LATIN_1 = "latin-1"  # of tEXt


class PngChunk(NamedTuple):
    """A chunk, without its length and its checksum."""

    kind: bytes
    body: bytes

    def encode(self) -> bytes:
        """With them, as it stands in a file."""
        checksum = isal_zlib.crc32(self.body, isal_zlib.crc32(self.kind))
        length = struct.pack(">I", len(self.body))
        return b"".join([length, self.kind, self.body, struct.pack(">I", checksum)])


def extra_chunks(extras: Extras, intent: int = PERCEPTUAL) -> list[PngChunk]:
    """What goes with a picture; pixels without a profile are sRGB, of an intent, and said to be."""
    chunks = [colour_chunk(extras.icc_profile, intent)]
    if extras.dpi is not None:
        chunks.append(density_chunk(extras.dpi))
    if extras.exif is not None:
        chunks.append(PngChunk(b"eXIf", extras.exif))
    if extras.xmp is not None:
        chunks.append(xmp_chunk(extras.xmp))
    return chunks


def colour_chunk(icc_profile: bytes | None, intent: int) -> PngChunk:
    """A colour profile; without one, that it is sRGB."""
    if icc_profile is None:
        return PngChunk(b"sRGB", bytes([intent]))
    return PngChunk(b"iCCP", b"ICC Profile\0\0" + isal_zlib.compress(icc_profile))


def density_chunk(dpi: tuple[float, float]) -> PngChunk:
    """Pixels per inch, across and down, as whole pixels per metre."""
    across, down = (min(round(d * INCHES_PER_METRE), MOST_PER_METRE) for d in dpi)
    return PngChunk(b"pHYs", struct.pack(">IIB", across, down, METRES))


def xmp_chunk(packet: bytes) -> PngChunk:
    """An XMP packet. Source: XMP specification, part 3, section 1.1.5."""
    return PngChunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def text_chunk(keyword: str, text: str) -> PngChunk:
    """A line of text, Latin-1."""
    return PngChunk(b"tEXt", f"{keyword}\0{text}".encode(LATIN_1))


SIGNATURE = b"\x89PNG\r\n\x1a\n"

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""How PNG calls grey, grey with alpha, RGB and RGBA, by their channels."""

SAMPLE_TYPES = {8: "u1", 16: ">u2"}
"""How samples are written, by their bits."""

MAX_SIDE = 2**31 - 1
"""Highest height and width, px."""

PAETH = 4
"""The row filter of every row. Source: PNG, section 9.4."""

LEVEL = 1
"""Of ISA-L, from 0 to 3: 2 and 3 take longer for the same size, see benchmarks/README.md."""

BLOCK_BYTES = 64 * 1024
"""Of pixels filtered and compressed at a time: little enough to stay in a core's cache."""


@dataclass(frozen=True)
class PngLayout:
    """What the rows of a PNG are made of.

    Attributes:
        height, width: of the picture, px.
        channels: grey, grey and alpha, RGB or RGBA, from 1 to 4.
        bits: of a sample, 8 or 16.
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
        """Bytes of a pixel in the file, uncompressed."""
        return self.channels * self.bits // 8

    @property
    def header(self) -> PngChunk:
        """The chunk that says all this."""
        colour_type = COLOUR_TYPES[self.channels]
        return PngChunk(
            b"IHDR",
            struct.pack(">IIBBBBB", self.width, self.height, self.bits, colour_type, 0, 0, 0),
        )

    def samples(self, pixels: PixelArray) -> Uint8Array:
        """(h, W, C) of one of the sample types -> (h, W, pixel_bytes) uint8, as in the file."""
        written = pixels.astype(SAMPLE_TYPES[self.bits]).tobytes()
        return np.frombuffer(written, np.uint8).reshape(len(pixels), self.width, self.pixel_bytes)

    def check(self, strip: PixelArray, rows: int) -> None:
        """Raise ValueError unless a strip fits; `rows` are all up to its end."""
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
) -> Generator[bytes]:
    """Encode a picture that comes in strips, as they come.

    The header is out before the first strip is asked for, and nearly all of a strip
    before the next is. Of the pixels, one strip is held, and not while the next is made.

    Args:
        strips: from top to bottom, (h, W, C) uint8 in [0, 255] or, of 16 bits, uint16
            in [0, 65535]; the last channel of 2 or 4 is opacity.
        layout: of all strips together.
        opening: chunks that say something about the pixels.
        closing: asked after the last strip for chunks about what only then is known.

    Returns:
        The parts of the file, none of them empty.

    Raises:
        ValueError: on the way, if a strip has another shape or type, or if all strips
            have not the height of the layout.
    """
    yield SIGNATURE + b"".join(chunk.encode() for chunk in (layout.header, *opening))
    compressor = isal_zlib.compressobj(LEVEL)
    for rows in _filter(strips, layout):
        if compressed := compressor.compress(rows):
            yield PngChunk(b"IDAT", compressed).encode()
    yield PngChunk(b"IDAT", compressor.flush()).encode()
    yield b"".join(chunk.encode() for chunk in (*closing(), PngChunk(b"IEND", b"")))


def _filter(strips: Iterable[PixelArray], layout: PngLayout) -> Iterator[Uint8Array]:
    """Strips to blocks of filtered rows, (h, 1 + W*pixel_bytes) uint8."""
    block = max(1, min(layout.height, BLOCK_BYTES // (layout.width * layout.pixel_bytes)))
    # Zeros left of every row and above the first one, as the filter wants them.
    framed = np.zeros((1 + block, 1 + layout.width, layout.pixel_bytes), np.uint8)
    rows = 0
    for strip in strips:
        rows += len(strip)
        layout.check(strip, rows)
        for top in range(0, len(strip), block):
            last = len(strip[top : top + block])
            framed[1 : 1 + last, 1:] = layout.samples(strip[top : top + block])
            yield _subtract_paeth(framed[: 1 + last])
            framed[0] = framed[last]
        del strip  # frees it while the next one is made
    if rows < layout.height:
        raise ValueError(f"`strips` must have {layout.height} rows in all. Received: {rows}")


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
