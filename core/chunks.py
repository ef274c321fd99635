"""Chunks of a PNG that say something about its pixels: colour space, density, metadata.

Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/, section 11.3.
"""

import struct
from typing import NamedTuple

from isal import isal_zlib

from core.picture import Extras

INCHES_PER_METRE = 1 / 0.0254
METRES = 1  # the unit of pHYs
PERCEPTUAL, RELATIVE_COLORIMETRIC = 0, 1  # rendering intents of sRGB
MOST_PER_METRE = 2**31 - 1
LATIN_1 = "latin-1"  # of tEXt


class Chunk(NamedTuple):
    """A chunk, without its length and its checksum."""

    kind: bytes
    body: bytes

    def encode(self) -> bytes:
        """With them, as it stands in a file."""
        checksum = isal_zlib.crc32(self.body, isal_zlib.crc32(self.kind))
        length = struct.pack(">I", len(self.body))
        return b"".join([length, self.kind, self.body, struct.pack(">I", checksum)])


def extra_chunks(extras: Extras, intent: int = PERCEPTUAL) -> list[Chunk]:
    """What goes with a picture; pixels without a profile are sRGB, of an intent, and said to be."""
    chunks = [colour_chunk(extras.icc_profile, intent)]
    if extras.dpi is not None:
        chunks.append(density_chunk(extras.dpi))
    if extras.exif is not None:
        chunks.append(Chunk(b"eXIf", extras.exif))
    if extras.xmp is not None:
        chunks.append(xmp_chunk(extras.xmp))
    return chunks


def colour_chunk(icc_profile: bytes | None, intent: int) -> Chunk:
    """A colour profile; without one, that it is sRGB."""
    if icc_profile is None:
        return Chunk(b"sRGB", bytes([intent]))
    return Chunk(b"iCCP", b"ICC Profile\0\0" + isal_zlib.compress(icc_profile))


def density_chunk(dpi: tuple[float, float]) -> Chunk:
    """Pixels per inch, across and down, as whole pixels per metre."""
    across, down = (min(round(d * INCHES_PER_METRE), MOST_PER_METRE) for d in dpi)
    return Chunk(b"pHYs", struct.pack(">IIB", across, down, METRES))


def xmp_chunk(packet: bytes) -> Chunk:
    """An XMP packet. Source: XMP specification, part 3, section 1.1.5."""
    return Chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def text_chunk(keyword: str, text: str) -> Chunk:
    """A line of text, Latin-1."""
    return Chunk(b"tEXt", f"{keyword}\0{text}".encode(LATIN_1))
