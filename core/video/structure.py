"""The outermost structure of a file: how long it should be, and whether all of it is in it.

Source: ISO/IEC 14496-12, sec. 4.2 and 8.7.2; RFC 8794, sec. 4 to 6; RFC 9559, sec. 5.1.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from core.video.containers import CONTAINERS

SEGMENT = b"\x18\x53\x80\x67"
ID_BYTES = 4

LARGEST_INDEX = 64_000_000
"""Bytes of a `moov` box that are searched."""

REFERENCE = re.compile(rb"dref.{4}\0{3}.{5}(?:url |urn |alis).{3}(.)", re.DOTALL)
"""The last byte of a data reference's flags; its lowest bit says that the data is in the file."""


class Box(NamedTuple):
    """A box of MP4 or QuickTime, by its type and where it begins and ends in the file."""

    type: bytes
    begin: int
    end: int


def missing_bytes(path: Path, kind: str) -> int:
    """By how many bytes a file is shorter than it says; 0 if it is not, or does not say.

    Args:
        path: the file.
        kind: of it, one of `core.video.containers.FORMATS`.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if CONTAINERS[kind].demuxer == "mov":
            end = max((box.end for box in boxes(file, size)), default=0)
        else:
            end = end_of_segment(file)
    return max(0, end - size)


def boxes(file: IO[bytes], size: int) -> Iterator[Box]:
    """Those that are in no other."""
    begin = 0
    while begin + 8 <= size:
        file.seek(begin)
        length, name = int.from_bytes(file.read(4)), file.read(4)
        if length == 1:
            length = int.from_bytes(file.read(8))
        if length == 0:  # as far as the file goes
            length = size - begin
        if length < 8:  # no box
            return
        yield Box(name, begin, begin + length)
        begin += length


def end_of_segment(file: IO[bytes]) -> int:
    """Of Matroska: where the one element after the header ends; 0 if that is left open."""
    file.seek(ID_BYTES)
    file.seek(read_size(file) or 0, io.SEEK_CUR)
    if file.read(ID_BYTES) != SEGMENT:
        return 0
    length = read_size(file)
    return 0 if length is None else file.tell() + length


def read_size(file: IO[bytes]) -> int | None:
    """A size of 1 to 8 bytes, whose number is in its leading zeros; None if all bits are set."""
    first = int.from_bytes(file.read(1))
    length = 9 - first.bit_length()
    if length > 8:
        return None
    bits = 7 * length
    size = int.from_bytes(bytes([first]) + file.read(length - 1)) & (2**bits - 1)
    return None if size == 2**bits - 1 else size


def refers_elsewhere(path: Path) -> bool:
    """Whether a file of MP4 or QuickTime has samples that are in other files."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        for box in list(boxes(file, size)):
            if box.type == b"moov":
                file.seek(box.begin)
                index = file.read(min(box.end - box.begin, LARGEST_INDEX))
                return any(not flags[0] & 1 for flags in REFERENCE.findall(index))
    return False
