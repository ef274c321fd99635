"""Animations read in processes of their own, which a hostile file may end, see `core.reading`."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from core.animation.reading import read_animation, read_reel
from core.animation.reel import Drawn, Reel
from core.clips import ClipLimits, Frame
from core.reading import read_numbered, read_one


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
    return read_numbered(
        _draw, (path,), range(start, stop), max_pixels, lambda _frame, least: least
    )


def _inspect(path: Path, limits: ClipLimits) -> Iterator[Reel]:
    with path.open("rb") as file:
        yield replace(read_animation(file, limits), draw=_nothing)


def _draw(path: Path, start: int, stop: int) -> Iterator[Frame]:
    with path.open("rb") as file:
        yield from read_reel(file).frames(start, stop)


def _nothing() -> Iterator[Drawn]:
    return iter(())
