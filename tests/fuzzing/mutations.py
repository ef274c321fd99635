"""Damage to files: what goes wrong on its way, and what somebody makes go wrong."""

import struct
import zlib
from collections.abc import Sequence
from random import Random
from typing import Literal

MOST_DAMAGE = 6
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Where counters overflow."""

ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def damaged(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, damaged in a few ways; a PNG often with its checksums put right."""
    data = random.choice(seeds)
    for _ in range(random.randint(1, MOST_DAMAGE)):
        data = random.choice(DAMAGES)(random, data, seeds)
    return with_checksums(data) if random.random() < 0.5 else data


def cut(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    return data[: place(random, data)]


def without_a_piece(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    begin = place(random, data)
    return data[:begin] + data[begin + random.randint(1, 16) :]


def with_a_piece_twice(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    begin = place(random, data)
    return data[: begin + random.randint(1, 64)] + data[begin:]


def with_other_bytes(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    return put(data, place(random, data), random.randbytes(random.randint(1, 4)))


def with_another_bit(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    begin = place(random, data)
    old = data[begin : begin + 1] or b"\0"
    return put(data, begin, bytes([old[0] ^ 1 << random.randrange(8)]))


def with_another_number(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    size, order = random.choice((2, 4)), random.choice(ORDERS)
    number = random.choice(NUMBERS) % 256**size
    return put(data, place(random, data), number.to_bytes(size, order))


def with_another_end(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    return data[: place(random, data)] + other[place(random, other) :]


DAMAGES = (
    cut,
    without_a_piece,
    with_a_piece_twice,
    with_other_bytes,
    with_another_bit,
    with_another_number,
    with_another_end,
)


def place(random: Random, data: bytes) -> int:
    """Anywhere; every second time in the first bytes, where the header is."""
    most = min(len(data), 64) if random.random() < 0.5 else len(data)
    return random.randint(0, most)


def put(data: bytes, begin: int, piece: bytes) -> bytes:
    return data[:begin] + piece + data[begin + len(piece) :]


def with_checksums(data: bytes) -> bytes:
    """A PNG as if its writer had meant it: else its damage would be found before it is read."""
    if not data.startswith(SIGNATURE):
        return data
    parts, begin = [SIGNATURE], len(SIGNATURE)
    while begin + 8 <= len(data):
        end = begin + 8 + struct.unpack_from(">I", data, begin)[0]
        chunk = data[begin:end]
        parts.append(chunk + struct.pack(">I", zlib.crc32(chunk[4:])))
        begin = end + 4
    return b"".join(parts)
