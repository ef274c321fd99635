"""Clips, which are pictures that move: what is known of one, its frames, how it is wished for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from core.errors import InvalidWish
from core.images import Limits
from core.picture import Picture

UpscalePicture = Callable[[Picture], Picture]
"""A frame as it came -> the frame four times as wide and high, by itself."""

FRAME = "frame"
GLOBAL = "global"
PALETTES = (FRAME, GLOBAL)
"""Of a GIF: one for each frame, or one for all."""


class Frame(NamedTuple):
    """One frame of a clip.

    Attributes:
        picture: upright, sRGB, whole: what came before it is not needed to show it.
        start: when it is shown, in units of the clip's time base.
        duration: for how long; 0 if that is not known.
    """

    picture: Picture
    start: int
    duration: int


@dataclass(frozen=True)
class ClipHeader:
    """What is known of a clip before its frames are decoded for use.

    Attributes:
        format: of the file, as people write it.
        height: of the upright frames, LR px.
        width: likewise.
        frames: that can be shown.
        time_base: seconds of a unit of time.
        seconds: from the first frame to the end of the last.
        has_alpha: whether frames may be transparent in places.
        damage: what is wrong with the file, for its owner; None if nothing is.
    """

    format: str
    height: int
    width: int
    frames: int
    time_base: Fraction
    seconds: float
    has_alpha: bool = False
    damage: str | None = None


@dataclass(frozen=True)
class ClipLimits:
    """What a clip may measure.

    Attributes:
        frame: what one frame may measure, and how many there may be.
        max_seconds: that it may last.
    """

    frame: Limits
    max_seconds: float


@dataclass(frozen=True)
class ClipWish:
    """How a caller wants the upscaled clip.

    Attributes:
        format: of the file, in lower case; None for that of the clip.
        codec: of a video; None for the usual one.
        quality: from 1 to 100, of formats that lose something; None for the usual one.
        detail: how much is made up, in [0, 1].
        is_coherent: whether frames are made to agree with those before.
        palette: of a GIF, one of `PALETTES`.
        is_dithered: whether a GIF's colours are mixed of those of its palette.
        has_note: whether the file says that its detail is synthetic.
        keeps_profile: whether pictures are converted back to the profile they came in.
        keeps_metadata: whether EXIF and XMP of pictures go with them.
    """

    format: str | None = None
    codec: str | None = None
    quality: int | None = None
    detail: float = 1.0
    is_coherent: bool = True
    palette: str = FRAME
    is_dithered: bool = True
    has_note: bool = True
    keeps_profile: bool = False
    keeps_metadata: bool = False


OPTIONS: dict[str, Callable[[ClipWish], bool]] = {
    "codec": lambda wish: wish.codec is not None,
    "palette": lambda wish: wish.palette != FRAME,
    "dither": lambda wish: not wish.is_dithered,
    "profile": lambda wish: wish.keeps_profile,
    "metadata": lambda wish: wish.keeps_metadata,
}
"""What only some results have, and whether somebody wishes for it."""


def check_unwished(wish: ClipWish, options: Sequence[str], result: str) -> None:
    """Raise InvalidWish for an option that a result does not have.

    Args:
        wish: how the result is to be.
        options: of `OPTIONS`, those that it has.
        result: what it is, in words.
    """
    for name, is_wished in OPTIONS.items():
        if name not in options and is_wished(wish):
            raise InvalidWish(f"`{name}` must be left out, for {result}. Received: one.")
