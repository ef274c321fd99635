"""Files to animations: which they are, and whether they may be that large.

Animations read in processes of their own, which a hostile file may end, see `core.sandbox.decoder`.
"""

from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from core.animation.apng import is_apng, read_apng
from core.animation.gif_reader import SIGNATURES, read_gif
from core.animation.model import DecodedAnimation
from core.animation.webp import is_animated_webp, read_webp
from core.errors import ImageTooLarge, SuperResolutionError, UnsupportedImage
from core.images.decode import Limits, damage_reported
from core.media.medium import ClipHeader, ClipLimits, Frame
from core.sandbox.decoder import read_numbered, read_one

Reader = Callable[[bytes, Limits | None], DecodedAnimation]
"""A whole file -> what it holds."""

BEGINNING = 1_000_000
"""Bytes in which a file says that it is animated: what comes before is colour, at most."""


def is_animation(file: IO[bytes]) -> bool:
    """Whether a file is one that is read here: any GIF, animated PNG and WebP.

    The file is at its beginning again afterwards.
    """
    file.seek(0)
    begun = file.read(BEGINNING)
    file.seek(0)
    return _reader_of(begun) is not None


def moves(path: Path) -> bool:
    """Whether a file is an animation of several frames; a damaged one may be said not to be."""
    try:
        with path.open("rb") as file:
            return is_animation(file) and read_reel(file).header.frames > 1
    except (SuperResolutionError, OSError):
        return False


def read_animation_header(file: IO[bytes], limits: ClipLimits | None = None) -> ClipHeader:
    """What is known of an animation; raises as `read_animation` does."""
    return read_animation(file, limits).header


def read_animation(file: IO[bytes], limits: ClipLimits | None = None) -> DecodedAnimation:
    """Read an animation, and try whether all of it can be decoded.

    What follows a damaged place is left out, and `damage` says so.

    Args:
        file: a GIF, an animated PNG or an animated WebP.
        limits: checked on the header, before anything is decoded; None for no limit.

    Raises:
        UnsupportedImage: if it is neither.
        UnreadableImage: if there is no whole frame.
        ImageTooLarge: if it is larger or longer than `limits`, or of more frames.
    """
    with damage_reported():
        return read_reel(file, limits).inspected()


def read_reel(file: IO[bytes], limits: ClipLimits | None = None) -> DecodedAnimation:
    """Read an animation without a look at its frames; raises as `read_animation` does."""
    file.seek(0)
    data = file.read()
    reader = _reader_of(data)
    if reader is None:
        raise UnsupportedImage(
            "Animation must be a GIF, an animated PNG or an animated WebP. "
            f"Received: {len(data)} bytes that begin with {data[:8]!r}."
        )
    with damage_reported():
        reel = reader(data, limits.frame if limits else None)
        _check_length(reel.header, limits)
        return reel


def _reader_of(data: bytes) -> Reader | None:
    if data.startswith(SIGNATURES):
        return read_gif
    if is_apng(data):
        return read_apng
    return read_webp if is_animated_webp(data) else None


def _check_length(header: ClipHeader, limits: ClipLimits | None) -> None:
    seconds = header.seconds
    if limits is not None and seconds > limits.max_seconds:
        raise ImageTooLarge(
            f"Animation must last at most {limits.max_seconds:g} s. Received: {seconds:g} s."
        )


class InspectedAnimation(NamedTuple):
    """What is known of an animation after all of its frames have been decoded once.

    Attributes:
        header: its header.
        plays: how many times it is to be shown, or `core.animation.model.FOR_EVER`.
    """

    header: ClipHeader
    plays: int


def inspect_apart(path: Path, limits: ClipLimits) -> InspectedAnimation:
    """Inspect an animation as `read_animation` does, in a confined process.

    Raises:
        UnreadableClip: also if the file ends its processes or takes too long.
        TooMuchMemory: if it takes too much.
    """
    check = partial(check_inspected, limits=limits)
    arguments = path, limits
    return read_one(_inspect, arguments, limits.frame.max_pixels, InspectedAnimation, check)


def check_inspected(animation: InspectedAnimation, limits: ClipLimits) -> None:
    """Raise ValueError or ImageTooLarge for what `_inspect` never yields."""
    header = animation.header
    if min(header.height, header.width, header.frames) < 1 or header.time_base <= 0:
        raise ValueError("an animation without size, frames or time")
    if header.seconds < 0 or animation.plays < 0:
        raise ValueError("an animation of negative length")
    limits.frame.check(header.height, header.width)
    limits.frame.check_frames(header.frames)
    _check_length(header, limits)


def frames_apart(path: Path, start: int, stop: int, max_pixels: int) -> Generator[Frame]:
    """Frames [start, stop) of an animation; one that ends the process twice ends them.

    Raises:
        TooMuchMemory: if a frame takes too much.
    """
    return read_numbered(
        _draw, (path,), range(start, stop), max_pixels, lambda _frame, least: least
    )


def _inspect(path: Path, limits: ClipLimits) -> Iterator[InspectedAnimation]:
    with path.open("rb") as file:
        animation = read_animation(file, limits)
    yield InspectedAnimation(animation.header, animation.plays)


def _draw(path: Path, start: int, stop: int) -> Iterator[Frame]:
    with path.open("rb") as file:
        yield from read_reel(file).frames(start, stop)
