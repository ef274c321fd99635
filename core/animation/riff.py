"""Chunks of a WebP.

Source: RFC 9649, WebP Image Format, section 2.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

RIFF, WEBP = b"RIFF", b"WEBP"
HEAD_BYTES = 12
CHUNK_HEAD_BYTES = 8


class Chunk(NamedTuple):
    """A chunk, without its length and what fills it up to an even one."""

    kind: bytes
    body: bytes

    def encode(self) -> bytes:
        """With them, as it stands in a file."""
        padding = b"\0" * (len(self.body) % 2)
        return self.kind + struct.pack("<I", len(self.body)) + self.body + padding


def is_webp(data: bytes) -> bool:
    """By its first bytes."""
    return data[:4] == RIFF and data[8:HEAD_BYTES] == WEBP


def split_chunks(data: bytes, start: int = HEAD_BYTES) -> Iterator[Chunk]:
    """Chunks that are there as a whole."""
    while len(data) >= start + CHUNK_HEAD_BYTES:
        kind, length = struct.unpack_from("<4sI", data, start)
        start += CHUNK_HEAD_BYTES
        if len(data) < start + length:
            return
        yield Chunk(kind, data[start : start + length])
        start += length + length % 2


def join_chunks(chunks: Iterable[Chunk]) -> bytes:
    """A file of them."""
    body = b"".join(chunk.encode() for chunk in chunks)
    return head_of_file(HEAD_BYTES + len(body)) + body


def head_of_file(length: int) -> bytes:
    """The first bytes of a file of so many bytes, `HEAD_BYTES` if it is only begun."""
    return RIFF + struct.pack("<I", max(length, HEAD_BYTES) - 8) + WEBP
