"""Open animated GIF, PNG and WebP files: detect the format, check limits, decode.

The functions with `_in_sandbox` in their names decode in separate processes, which a hostile
file may crash without harm. See `core.sandbox.decoder`.
"""

from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from core.animation.apng import APNG, is_apng, read_apng
from core.animation.gif_reader import GIF, SIGNATURES, read_gif
from core.animation.model import DecodedAnimation
from core.animation.webp import WEBP, is_animated_webp, read_webp
from core.errors import ImageTooLarge, SuperResolutionError, UnsupportedImage
from core.images.decode import Limits, decoder_errors_translated
from core.media.medium import ClipHeader, ClipLimits, Frame
from core.sandbox.decoder import read_numbered, read_one

FormatReader = Callable[[bytes, Limits | None], DecodedAnimation]
"""Function that parses the bytes of a whole file."""

FORMATS: dict[FormatReader, str] = {read_gif: GIF, read_apng: APNG, read_webp: WEBP}
"""Name of the format that each function reads."""

DETECTION_BYTES = 1_000_000
"""Bytes read to find out whether a file is animated; only a colour profile can precede that
information."""


def find_format(file: IO[bytes]) -> str | None:
    """Return the format of a GIF, an animated PNG or an animated WebP; None for other files.

    Leaves the file at its beginning.
    """
    file.seek(0)
    reader = _find_reader(file.read(DETECTION_BYTES))
    file.seek(0)
    return None if reader is None else FORMATS[reader]


def is_animation(file: IO[bytes]) -> bool:
    """Return whether a file is a GIF, an animated PNG or an animated WebP.

    Leaves the file at its beginning.
    """
    return find_format(file) is not None


def has_several_frames(path: Path) -> bool:
    """Return whether a file is an animation of more than one frame.

    A damaged file may yield False.
    """
    try:
        with path.open("rb") as file:
            return is_animation(file) and parse_animation(file).header.frames > 1
    except (SuperResolutionError, OSError):
        return False


def read_animation_header(file: IO[bytes], limits: ClipLimits | None = None) -> ClipHeader:
    """Return the header of an animation; raises the errors of `read_animation`."""
    return read_animation(file, limits).header


def read_animation(
    file: IO[bytes], limits: ClipLimits | None = None, *, merges_undelayed: bool = False
) -> DecodedAnimation:
    """Read an animation, and check that all of its frames can be decoded.

    Frames after a damaged place are dropped, and `damage` says so.

    Args:
        file: a GIF, an animated PNG or an animated WebP.
        limits: checked on the header, before anything is decoded; None for no limit.
        merges_undelayed: whether a GIF's image without a delay and the next one make one frame.

    Raises:
        UnsupportedImage: if the file has another format.
        UnreadableImage: if there is no whole frame.
        ImageTooLarge: if the animation exceeds `limits` in size, frames or length.
    """
    with decoder_errors_translated():
        return parse_animation(file, limits, merges_undelayed=merges_undelayed).inspected()


def parse_animation(
    file: IO[bytes], limits: ClipLimits | None = None, *, merges_undelayed: bool = False
) -> DecodedAnimation:
    """Read an animation without decoding its frames; raises the errors of `read_animation`."""
    file.seek(0)
    data = file.read()
    reader = _find_reader(data)
    if reader is None:
        raise UnsupportedImage(
            "Animation must be a GIF, an animated PNG or an animated WebP. "
            f"Received: {len(data)} bytes that begin with {data[:8]!r}."
        )
    if reader is read_gif:
        reader = partial(read_gif, merges_undelayed=merges_undelayed)
    with decoder_errors_translated():
        animation = reader(data, limits.frame if limits else None)
        _check_length(animation.header, limits)
        return animation


class InspectedAnimation(NamedTuple):
    """What is known of an animation after all of its frames have been decoded once.

    Attributes:
        header: its header.
        plays: how many times it is to be shown, or `core.animation.model.FOREVER`.
    """

    header: ClipHeader
    plays: int


def inspect_in_sandbox(
    path: Path, limits: ClipLimits, *, merges_undelayed: bool = False
) -> InspectedAnimation:
    """Inspect an animation as `read_animation` does, in a confined process.

    Get the frames from `read_frames_in_sandbox`, with the same `merges_undelayed`.

    Raises:
        UnreadableClip: also if the file crashes its processes or takes too long.
        TooMuchMemory: if the file needs too much memory.
    """
    check = partial(check_inspected, limits=limits)
    arguments = path, limits, merges_undelayed
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


def read_frames_in_sandbox(
    path: Path, start: int, stop: int, max_pixels: int, *, merges_undelayed: bool = False
) -> Generator[Frame]:
    """Yield frames [start, stop); end early at a frame that crashes the process twice.

    Raises:
        TooMuchMemory: if a frame needs too much memory.
    """
    arguments = path, merges_undelayed
    return read_numbered(
        _read_frames, arguments, range(start, stop), max_pixels, lambda _frame, least: least
    )


def _find_reader(data: bytes) -> FormatReader | None:
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


def _inspect(
    path: Path, limits: ClipLimits, merges_undelayed: bool
) -> Iterator[InspectedAnimation]:
    with path.open("rb") as file:
        animation = read_animation(file, limits, merges_undelayed=merges_undelayed)
    yield InspectedAnimation(animation.header, animation.plays)


def _read_frames(path: Path, merges_undelayed: bool, start: int, stop: int) -> Iterator[Frame]:
    with path.open("rb") as file:
        yield from parse_animation(file, merges_undelayed=merges_undelayed).frames(start, stop)
