"""Animations built by hand: GIFs from blocks, APNGs from chunks."""

import struct
import zlib

import numpy as np

from tests.support.picture_files import PNG_SIGNATURE, chunk

BLACK, WHITE, RED, GREEN = range(4)
PALETTE = ((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0))
TRAILER = b";"
KEEP, BACKGROUND, PREVIOUS = 1, 2, 3


def gif(*blocks, size, palette=PALETTE, version=b"GIF89a", trailer=TRAILER):
    """Return a GIF of the given blocks; `size` is height and width."""
    height, width = size
    head = version + struct.pack("<HHBBB", width, height, _flags(palette), 0, 0)
    return head + _table(palette) + b"".join(blocks) + trailer


def image(rows, at=(0, 0), *, palette=(), interlaced=False, bits=2, size=None):
    """Return an image block of indices below 4; `at` is left and top, `size` the declared size."""
    indices = np.array(rows, np.uint8)
    height, width = size or indices.shape
    if interlaced:
        passes = [range(0, height, 8), range(4, height, 8), range(2, height, 4)]
        indices = indices[[row for rows in (*passes, range(1, height, 2)) for row in rows]]
    flags = _flags(palette) | (0x40 if interlaced else 0)
    head = b"," + struct.pack("<4HB", *at, width, height, flags)
    return head + _table(palette) + bytes([bits]) + sub_blocks(codes(indices.ravel(), bits))


def codes(indices, bits):
    """Return LZW codes of one index each; clear codes keep them at their initial length."""
    stream, clear = [1 << bits], 1 << bits
    for number, index in enumerate(indices):
        if number and number % (clear - 2) == 0:
            stream.append(clear)
        stream.append(int(index))
    stream.append(clear + 1)
    packed = sum(code << place * (bits + 1) for place, code in enumerate(stream))
    return packed.to_bytes(-(-len(stream) * (bits + 1) // 8), "little")


def control(delay=0, disposal=0, transparent=None):
    """Return a graphic control extension; `delay` is in 1/100 s."""
    flags = disposal << 2 | (transparent is not None)
    return struct.pack("<4BHBB", 0x21, 0xF9, 4, flags, delay, transparent or 0, 0)


def loops(count, name=b"NETSCAPE2.0"):
    """Return the extension that gives the number of repetitions."""
    return b"\x21\xff\x0b" + name + struct.pack("<BBHB", 3, 1, count, 0)


def comment(text):
    return b"\x21\xfe" + sub_blocks(text)


def sub_blocks(data):
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _flags(palette):
    return 0x80 | (len(palette).bit_length() - 2) if palette else 0


def _table(palette):
    return b"".join(map(bytes, palette))


def apng(*frames, size, plays=0, default=None, announced=None, extra=()):
    """Return an APNG of 8-bit RGBA; `default` is a still picture outside the animation."""
    height, width = size
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        (b"acTL", struct.pack(">II", len(frames) if announced is None else announced, plays)),
        *extra,
    ]
    if default is not None:
        chunks.append((b"IDAT", _rows(default)))
    number = 0
    for frame in frames:
        for kind, body in frame(number, is_first=number == 0 and default is None):
            chunks.append((kind, body))
            number += kind in (b"fcTL", b"fdAT")
    chunks.append((b"IEND", b""))
    return PNG_SIGNATURE + b"".join(chunk(*each) for each in chunks)


def frame(pixels, at=(0, 0), delay=(1, 10), disposal=0, over=False):
    """Return a frame of (h, w, 4) uint8 pixels for `apng`."""

    def chunks(number, is_first):
        height, width = pixels.shape[:2]
        fields = number, width, height, *at, *delay, disposal, int(over)
        yield b"fcTL", struct.pack(">5I2H2B", *fields)
        if is_first:
            yield b"IDAT", _rows(pixels)
        else:
            yield b"fdAT", struct.pack(">I", number + 1) + _rows(pixels)

    return chunks


def _rows(pixels):
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
