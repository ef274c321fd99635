"""Files and results handed from process to process in memory that both see.

Through a pipe goes the path only, under which the other process of the same user finds
the memory. So whoever is killed leaves no half of a message to those who come after,
and the memory goes when the last who has it open lets go of it, in whatever way.

A picture of 2000 x 2000 pixels of 8 bits comes over in 10 ms this way, in 26 ms through
a pipe and in 18 ms through `multiprocessing.shared_memory`; one of 500 x 500 in 1 ms.
Measured on two cores of Zen 4.
"""

import io
import mmap
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

COPIED_BYTES = 1_000_000
"""Up to here a file is copied into memory. A larger one is opened where it is, if it is on disk.

An upload that is kept in memory would be put on disk by asking where it is.
"""

ALIGNMENT = 64
"""Bytes; of the arrays of a result, as NumPy likes them."""

Sizes = list[int]
"""Bytes of the parts of a result: its pickle, then its arrays."""


@contextmanager
def memory_file() -> Iterator[tuple[IO[bytes], str]]:
    """A file in memory, and the path under which other processes may open it meanwhile."""
    with os.fdopen(os.memfd_create("handover"), "w+b") as file:
        yield file, _path(file.fileno())


@contextmanager
def lent(file: IO[bytes]) -> Iterator[str]:
    """A path under which other processes may open a file meanwhile, at its beginning."""
    descriptor = _descriptor(file) if file.seek(0, io.SEEK_END) > COPIED_BYTES else None
    if descriptor is not None:
        yield _path(descriptor)
        return
    file.seek(0)
    with memory_file() as (copy, path):
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield path


def put(path: str, result: Any) -> Sizes:
    """Write an object to a path of `memory_file`; the sizes are for `take`."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(result, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(head), *(array.raw() for array in arrays)]
    with Path(path).open("wb") as file:
        for part in parts:
            file.seek(_aligned(file.tell()))
            file.write(part)
    return [part.nbytes for part in parts]


def take(file: IO[bytes], sizes: Sizes) -> Any:
    """Read the object that another process has put; its arrays are views of the file's memory.

    They cannot be written to. The memory is kept for as long as they are.
    """
    memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    parts, begin = [], 0
    for size in sizes:
        parts.append(memory[begin : begin + size])
        begin = _aligned(begin + size)
    return pickle.loads(parts[0], buffers=parts[1:])


def _descriptor(file: IO[bytes]) -> int | None:
    try:
        return file.fileno()
    except io.UnsupportedOperation:
        return None


def _path(descriptor: int) -> str:
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT
