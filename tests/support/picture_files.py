"""Picture files made by hand: kinds that Pillow cannot write, and ways to be hostile."""

import struct
import zlib
from typing import NamedTuple

import imagecodecs
import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels

SHORT, LONG, BYTES = 3, 4, 7  # types of a TIFF's values

D65 = [0.3127, 0.3290, 1.0]
P3_PRIMARIES = [0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1]
"""Of Display P3; x, y and 1 of red, green and blue."""


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(levels, before=(), after=(), size=None, bits=None, colour_type=None):
    """A PNG of unfiltered rows.

    Args:
        levels: (H, W, C) uint8 or uint16.
        before, after: chunks, as (kind, body), before and after the pixels.
        size: height and width to announce, if other than those.
        bits, colour_type: to announce; with bits below 8, levels are packed bytes.
    """
    height, width = size or levels.shape[:2]
    depth = bits or 8 * levels.itemsize
    kind = COLOUR_TYPES[levels.shape[2]] if colour_type is None else colour_type
    rows = b"".join(b"\0" + row.astype(levels.dtype.newbyteorder(">")).tobytes() for row in levels)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)),
        *before,
        (b"IDAT", zlib.compress(rows)),
        *after,
        (b"IEND", b""),
    ]
    return PNG_SIGNATURE + b"".join(chunk(*each) for each in chunks)


class Tag(NamedTuple):
    """An entry of a TIFF's directory."""

    number: int
    values: list
    type: int = SHORT


def tiff(levels, order="<", photometric=None, planar=1, extras=(), tags=(), next_offset=0):
    """An uncompressed TIFF.

    Args:
        levels: (H, W, C) uint8 or uint16.
        order: of bytes, "<" or ">".
        photometric: 0 white is zero, 1 black is zero, 2 RGB; by the channels if None.
        planar: 1 for pixels, 2 for planes.
        extras: what the channels after colour are.
        tags: more of them, or other ones.
        next_offset: where the next directory is said to be.
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
    place = 8 + 2 + 12 * len(entries) + 4
    for number in sorted(entries):
        tag, value = entries[number], _pack(entries[number], order)
        table += struct.pack(f"{order}HHI", number, tag.type, len(tag.values))
        if len(value) > 4:
            table += struct.pack(f"{order}I", place + len(values))
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
    """A GIF of many frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0b1000_0000, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * count + b";"


def display_p3(gamma=2.2):
    """A profile of wider primaries than sRGB, with a plain power for its curve."""
    return imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=P3_PRIMARIES, gamma=gamma)


def grey_profile(gamma=1.8):
    return imagecodecs.cms_profile("gray", gamma=gamma)
