"""Damage files at random, as faulty transfers or attackers do."""

import struct
import zlib
from collections.abc import Sequence
from random import Random
from typing import Literal

MOST_MUTATIONS = 6
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Values at which counters overflow."""

ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def damage(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds with a few mutations; half of the PNG get valid checksums."""
    data = random.choice(seeds)
    for _ in range(random.randint(1, MOST_MUTATIONS)):
        data = random.choice(MUTATIONS)(random, data, seeds)
    return fix_checksums(data) if random.random() < 0.5 else data


def cut_end(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Cut the end off."""
    return data[: choose_position(random, data)]


def delete_bytes(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Delete 1 to 16 bytes."""
    begin = choose_position(random, data)
    return data[:begin] + data[begin + random.randint(1, 16) :]


def repeat_bytes(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Repeat 1 to 64 bytes."""
    begin = choose_position(random, data)
    return data[: begin + random.randint(1, 64)] + data[begin:]


def replace_bytes(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Replace 1 to 4 bytes by random ones."""
    position = choose_position(random, data)
    return overwrite(data, position, random.randbytes(random.randint(1, 4)))


def flip_bit(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Flip one bit."""
    begin = choose_position(random, data)
    old = data[begin : begin + 1] or b"\0"
    return overwrite(data, begin, bytes([old[0] ^ 1 << random.randrange(8)]))


def replace_number(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Replace 2 or 4 bytes by a number at which counters overflow."""
    size, order = random.choice((2, 4)), random.choice(ORDERS)
    number = random.choice(NUMBERS) % 256**size
    return overwrite(data, choose_position(random, data), number.to_bytes(size, order))


def replace_end(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Replace the end by the end of another seed."""
    other = random.choice(seeds)
    return data[: choose_position(random, data)] + other[choose_position(random, other) :]


MUTATIONS = (
    cut_end,
    delete_bytes,
    repeat_bytes,
    replace_bytes,
    flip_bit,
    replace_number,
    replace_end,
)


def choose_position(random: Random, data: bytes) -> int:
    """Return a position in the file; half of them in the first bytes, where the header is."""
    most = min(len(data), 64) if random.random() < 0.5 else len(data)
    return random.randint(0, most)


def overwrite(data: bytes, begin: int, piece: bytes) -> bytes:
    """Replace bytes from a position on."""
    return data[:begin] + piece + data[begin + len(piece) :]


def fix_checksums(data: bytes) -> bytes:
    """Give a PNG valid checksums; otherwise a decoder rejects it before it reads the damage."""
    if not data.startswith(SIGNATURE):
        return data
    parts, begin = [SIGNATURE], len(SIGNATURE)
    while begin + 8 <= len(data):
        end = begin + 8 + struct.unpack_from(">I", data, begin)[0]
        chunk = data[begin:end]
        parts.append(chunk + struct.pack(">I", zlib.crc32(chunk[4:])))
        begin = end + 4
    return b"".join(parts)
