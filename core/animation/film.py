"""What is to be written: upscaled frames, and when they are shown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np

from core.animation.areas import BoolArray, bounds
from core.picture import Picture
from core.pixels import LEVELS, Uint8Array
from core.tiles import Box

AS_VIEWERS_SHOW = Fraction(1, 10)
"""Seconds of a frame without a duration."""


@dataclass(frozen=True)
class Film:
    """An animation as it is to be written.

    Attributes:
        height: of the frames, px.
        width: likewise.
        has_alpha: whether frames may be transparent in places.
        time_base: seconds of a unit of time.
        durations: of the frames, in such units.
        plays: how many times it is shown, or `core.animation.reel.FOR_EVER`.
        pictures: the frames, from the first, each time it is called.
        xmp: a packet for the file; None for none.
    """

    height: int
    width: int
    has_alpha: bool
    time_base: Fraction
    durations: Sequence[int]
    plays: int
    pictures: Callable[[], Iterator[Picture]]
    xmp: bytes | None = None

    def durations_in(self, unit: Fraction, least: int) -> list[int]:
        """Whole units of another length; rounded, so that the ends of frames stay.

        What was less than half a unit becomes at least `least`, and what had no duration
        gets one that viewers would give it. In units of its own all stays as it is.

        >>> film = Film(1, 1, False, Fraction(1, 1000), (33, 33, 33, 0), 0, lambda: iter(()))
        >>> film.durations_in(Fraction(1, 100), least=2), film.durations_in(Fraction(1, 1000), 1)
        ([3, 4, 3, 10], [33, 33, 33, 0])
        """
        ratio = self.time_base / unit
        if ratio.denominator == 1:
            return [duration * ratio.numerator for duration in self.durations]
        units = [duration * ratio or AS_VIEWERS_SHOW / unit for duration in self.durations]
        ends = [round(end) for end in accumulate(units, initial=Fraction(0))]
        return [max(after - before, least) for before, after in pairwise(ends)]


def rgba(picture: Picture) -> Uint8Array:
    """Colour and opacity of a picture of 8 bits, (H, W, 4); what is transparent has no colour."""
    shown = np.full((picture.height, picture.width, 4), LEVELS, np.uint8)
    shown[..., :3] = picture.pixels
    if picture.alpha is not None:
        shown[..., 3] = picture.alpha
        shown[picture.alpha == 0] = 0
    return shown


def changed_area(before: Uint8Array | None, now: Uint8Array, grid: int = 1) -> Box:
    """The smallest area outside of which two frames are the same; never empty.

    Args:
        before: (H, W, 4) uint8; None for nothing, of which all is changed.
        now: likewise.
        grid: that top and left are multiples of.
    """
    height, width = now.shape[:2]
    if before is None:
        return Box(0, 0, height, width)
    changed: BoolArray = (before != now).any(axis=2)
    top, left, bottom, right = bounds(changed) or Box(0, 0, 1, 1)
    return Box(top // grid * grid, left // grid * grid, bottom, right)
