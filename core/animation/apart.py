"""Animations read in processes of their own, which a hostile file may end, see `core.reading`."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from core.animation.reading import read_animation, read_reel
from core.animation.reel import Drawn, Reel
from core.clips import ClipLimits, Frame
from core.reading import memory_reported, read, read_one
from core.workers import ATTEMPTS, WorkerDied

log = logging.getLogger("enhancer.animation")


def inspect_apart(path: Path, limits: ClipLimits) -> Reel:
    """As `read_animation`, but that frames can only be had by `frames_apart`.

    Raises:
        UnreadableClip: also if the file ends its processes or takes too long.
        TooMuchMemory: if it takes too much.
    """
    return read_one(_inspect, (path, limits), limits.frame.max_pixels)


def frames_apart(path: Path, start: int, stop: int, max_pixels: int) -> Generator[Frame]:
    """Frames [start, stop) of an animation; one that ends the process twice ends them.

    Raises:
        TooMuchMemory: if a frame takes too much.
    """
    failures = 0
    with memory_reported(max_pixels):
        while start < stop and failures < ATTEMPTS:
            try:
                with closing(read(_draw, (path, start, stop), max_pixels)) as frames:
                    for frame in frames:
                        start, failures = start + 1, 0
                        yield frame
                return
            except (WorkerDied, TimeoutError) as error:
                failures += 1
                log.warning("The process that drew an animation is gone: %s", error or "no answer")


def _inspect(path: Path, limits: ClipLimits) -> Iterator[Reel]:
    with path.open("rb") as file:
        yield replace(read_animation(file, limits), draw=_nothing)


def _draw(path: Path, start: int, stop: int) -> Iterator[Frame]:
    with path.open("rb") as file:
        yield from read_reel(file).frames(start, stop)


def _nothing() -> Iterator[Drawn]:
    return iter(())
