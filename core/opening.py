"""Which medium a file is, by what is in it."""

from pathlib import Path

from core.animation import OUTPUTS as ANIMATED
from core.animation import Animation, is_animation
from core.clips import ClipLimits, ClipWish
from core.decoding import Decoder
from core.images import FORMATS as PICTURES
from core.images import OUTPUT_FORMATS
from core.media import Medium
from core.pictures import open_pictures
from core.video import CONTAINERS, Video, sniff

TAKEN = (*PICTURES, *(container.name for container in CONTAINERS.values()), "ZIP")
"""Formats of files that can be opened; GIF, PNG and WebP also where they move."""

STILL = tuple(name for name in OUTPUT_FORMATS if name not in ANIMATED)
"""Formats that hold one picture, whatever they are made of."""

ONE_FRAME = 1


def open_medium(
    path: Path, limits: ClipLimits, wish: ClipWish, *, decoder: Decoder, scale: int
) -> Medium:
    """A file as a medium that can be upscaled.

    Args:
        path: the file; its name says nothing.
        limits: what it may measure.
        wish: how the caller wants it.
        decoder: of pictures.
        scale: SR pixels per LR pixel, on each side.

    Raises:
        SuperResolutionError: as `core.video.Video`, `core.animation.Animation` and
            `core.pictures.open_pictures` do.
    """
    if sniff(path) is not None:
        return Video(path, limits, wish)
    with path.open("rb") as file:
        moves = is_animation(file)
    if moves and not is_still(path, limits, wish, decoder):
        return Animation(path, limits, wish, scale)
    return open_pictures(path, limits, wish, decoder=decoder)


def is_still(path: Path, limits: ClipLimits, wish: ClipWish, decoder: Decoder) -> bool:
    """Whether a file of a kind that can move is to become one picture."""
    if wish.format in STILL:
        return True
    if wish.format not in OUTPUT_FORMATS:
        return False
    with path.open("rb") as file:
        return decoder.read_header(file, limits.frame).frames == ONE_FRAME
