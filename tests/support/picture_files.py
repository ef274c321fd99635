"""Encoded pictures for tests: by Pillow, and byte by byte where Pillow cannot write a kind."""

import io
import struct
import zlib
from typing import NamedTuple

import imagecodecs
import numpy as np
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels

SHORT, LONG, BYTES = 3, 4, 7  # types of a TIFF's values

D65 = [0.3127, 0.3290, 1.0]
P3_PRIMARIES = [0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1]
"""Primaries of Display P3: x, y and 1 of red, green and blue."""


def encoded(picture, file_format="PNG", **options):
    """Return a picture, an array or an image of Pillow, as a file written by Pillow."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind, body):
    """Return a chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(levels, before=(), after=(), size=None, bits=None, colour_type=None):
    """Return a PNG of unfiltered rows.

    Args:
        levels: (H, W, C) uint8 or uint16.
        before, after: chunks, as (kind, body), before and after the pixels.
        size: height and width in the header; those of `levels` by default.
        bits, colour_type: in the header; with bits below 8, levels are packed bytes.
    """
    height, width = size or levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(levels.dtype.newbyteorder(">")).tobytes() for row in levels)
    return png_of_rows(
        height,
        width,
        rows,
        bits=bits or 8 * levels.itemsize,
        colour_type=COLOUR_TYPES[levels.shape[2]] if colour_type is None else colour_type,
        before=before,
        after=after,
    )


def png_of_rows(height, width, rows, *, bits=8, colour_type=2, before=(), after=()):
    """Return a PNG with any bytes for its filtered rows, whatever the header says."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)),
        *before,
        (b"IDAT", zlib.compress(rows, 1)),
        *after,
        (b"IEND", b""),
    ]
    return PNG_SIGNATURE + b"".join(chunk(*each) for each in chunks)


class Tag(NamedTuple):
    """Entry of the directory of a TIFF."""

    number: int
    values: list
    type: int = SHORT


def tiff(levels, order="<", photometric=None, planar=1, extras=(), tags=(), next_offset=0):
    """Return an uncompressed TIFF.

    Args:
        levels: (H, W, C) uint8 or uint16.
        order: of bytes, "<" or ">".
        photometric: 0 white is zero, 1 black is zero, 2 RGB; None to match the channels.
        planar: 1 for interleaved pixels, 2 for planes.
        extras: values of the tag ExtraSamples.
        tags: further tags, or replacements.
        next_offset: offset of the next directory.
    """
    height, width, channels = levels.shape
    stored = levels.astype(levels.dtype.newbyteorder(order))
    planes = [stored[..., i].tobytes() for i in range(channels)]
    strips = planes if planar == 2 else [stored.tobytes()]
    if photometric is None:
        photometric = 1 if channels < 3 else 2
    entries = {
        256: Tag(256, [width]),
        257: Tag(257, [height]),
        258: Tag(258, [8 * levels.itemsize] * channels),
        259: Tag(259, [1]),
        262: Tag(262, [photometric]),
        273: Tag(273, [0] * len(strips), LONG),
        277: Tag(277, [channels]),
        278: Tag(278, [height]),
        279: Tag(279, [len(strip) for strip in strips], LONG),
        284: Tag(284, [planar]),
    }
    if extras:
        entries[338] = Tag(338, list(extras))
    entries |= {tag.number: tag for tag in tags}
    return _write_tiff(entries, strips, order, next_offset)


def _write_tiff(entries, strips, order, next_offset):
    end = 8 + 2 + 12 * len(entries) + 4
    end += sum(len(value) for value in map(_pack, entries.values()) if len(value) > 4)
    ends = np.cumsum([len(strip) for strip in strips])
    entries[273] = Tag(273, [end, *(end + int(e) for e in ends[:-1])], LONG)
    table, values = b"", b""
    offset = 8 + 2 + 12 * len(entries) + 4
    for number in sorted(entries):
        tag, value = entries[number], _pack(entries[number], order)
        table += struct.pack(f"{order}HHI", number, tag.type, len(tag.values))
        if len(value) > 4:
            table += struct.pack(f"{order}I", offset + len(values))
            values += value
        else:
            table += value.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    count = struct.pack(f"{order}H", len(entries))
    return head + count + table + struct.pack(f"{order}I", next_offset) + values + b"".join(strips)


def _pack(tag, order="<"):
    code = {SHORT: "H", LONG: "I", BYTES: "B"}[tag.type]
    return struct.pack(f"{order}{len(tag.values)}{code}", *tag.values)


def gif_of_frames(count):
    """Return a GIF of frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0b1000_0000, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * count + b";"


def display_p3(gamma=2.2):
    """Return a profile of wider primaries than sRGB, with a power curve."""
    return imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=P3_PRIMARIES, gamma=gamma)


def grey_profile(gamma=1.8):
    """Return a grey profile with a power curve."""
    return imagecodecs.cms_profile("gray", gamma=gamma)
