"""Clips of strangers are read where they can do no harm: in processes of their own.

What these do is told in `core.video` and `core.animation`; here is what they may take, and
what becomes of a file that ends them.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from core.clips import Frame
from core.errors import TooMuchMemory, UnreadableClip
from core.streaming import Reading, read_apart
from core.workers import ATTEMPTS, WorkerDied

BASE_BYTES = 256_000_000
"""That reading any clip may take: tables of its packets, what of it waits to be written."""

PIXEL_BYTES = 128
"""Of a frame's pixel, at most: decoders keep up to 16 frames that others refer to."""

MEGABYTE = 1_000_000

WALL_S = 30.0
"""In which the header, each frame, or the next packets of a file must be there."""

log = logging.getLogger("enhancer.clips")

Item = TypeVar("Item")


def read(
    function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], max_pixels: int
) -> Generator[Any]:
    """What a function makes of a clip, item by item, in a process that ends with this generator.

    Args:
        function: yields the items; known to the process by its name.
        arguments: such as the path of the clip.
        max_pixels: of a frame.
    """
    return read_apart(Reading(function, arguments, reading_bytes(max_pixels), WALL_S))


def read_one(
    function: Callable[..., Iterator[Item]], arguments: tuple[Any, ...], max_pixels: int
) -> Item:
    """The first item; tried again if the process dies: it may have been something else.

    Raises:
        UnreadableClip: if the file ends its processes or takes too long.
        TooMuchMemory: if it takes more than a clip may.
    """
    with trouble_reported(max_pixels):
        for _ in range(ATTEMPTS - 1):
            try:
                return _first(function, arguments, max_pixels)
            except WorkerDied as error:
                log.warning("The process that read a clip's header is replaced: %s", error)
        return _first(function, arguments, max_pixels)


def _first(
    function: Callable[..., Iterator[Item]], arguments: tuple[Any, ...], max_pixels: int
) -> Item:
    with closing(read(function, arguments, max_pixels)) as items:
        first: Item = next(items)
        return first


def read_numbered(
    function: Callable[..., Iterator[Frame]],
    arguments: tuple[Any, ...],
    numbers: range,
    max_pixels: int,
    number_of: Callable[[Frame, int], int],
) -> Generator[Frame]:
    """Frames of a clip; one that ends the process twice is left out, with those after it.

    Args:
        function: called with `arguments` and the numbers of the first frame and of the
            first one after the last, yields them; known to the process by its name.
        arguments: such as the path of the clip.
        numbers: of the frames that are wanted.
        max_pixels: of a frame.
        number_of: a frame, and the least number that it can have -> its number.

    Raises:
        TooMuchMemory: if a frame takes too much.
    """
    first, stop, failures = numbers.start, numbers.stop, 0
    with memory_reported(max_pixels):
        while first < stop and failures < ATTEMPTS:
            try:
                with closing(read(function, (*arguments, first, stop), max_pixels)) as frames:
                    for frame in frames:
                        first, failures = number_of(frame, first) + 1, 0
                        yield frame
                return
            except (WorkerDied, TimeoutError) as error:
                failures += 1
                log.warning("The process that decoded a clip is gone: %s", error or "no answer")


def reading_bytes(max_pixels: int) -> int:
    """Memory that is enough to read any clip whose frames have so many pixels."""
    return BASE_BYTES + PIXEL_BYTES * max_pixels


@contextmanager
def trouble_reported(max_pixels: int) -> Iterator[None]:
    """What ends a process within is told as an error of the clip's."""
    try:
        with memory_reported(max_pixels):
            yield
    except TimeoutError as error:
        raise UnreadableClip(
            f"Clip must be read within {WALL_S:g} s. Received: one that takes longer."
        ) from error
    except WorkerDied as error:
        raise UnreadableClip(
            f"Clip must be a file that its decoder survives. Received: one that ended it ({error})."
        ) from error


@contextmanager
def memory_reported(max_pixels: int) -> Iterator[None]:
    """The end of its memory is told as the clip's."""
    try:
        yield
    except MemoryError as error:
        raise TooMuchMemory(
            f"Clip must need at most {reading_bytes(max_pixels) // MEGABYTE} MB of memory "
            "to be read. Received: one that needs more."
        ) from error
