"""What files of all formats are read as: frames one after the other, with their times.

Where something is true of a picture.

What an animation shows: patches drawn one over the other, and taken away again.

Source: GIF89a specification, section 23; Portable Network Graphics, third edition,
section 11.3.6.

What is to be written: upscaled frames, and when they are shown.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.images.alpha import fill_transparent
from core.images.decode import Limits
from core.media.medium import ClipHeader, Frame
from core.model.tiles import Box
from core.picture import Picture
from core.pixels import LEVELS, Uint8Array

BoolArray = npt.NDArray[np.bool_]


def bounds(mask: BoolArray) -> Box | None:
    """The smallest box around all that is true of (H, W); None if nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


KEEP, CLEAR, RESTORE = "keep", "clear", "restore"
"""What becomes of a patch before the next is drawn: it stays, it leaves transparency, or
what was there before comes back."""


class Patch(NamedTuple):
    """A part of a frame, as a file holds it.

    Attributes:
        left, top: its place on the canvas, px; it may reach beyond.
        colour: (h, w, 3) uint8 sRGB.
        alpha: opacity, (h, w) uint8.
        disposal: KEEP, CLEAR or RESTORE.
        is_blended: whether the canvas shines through; if not, alpha is replaced as well.
    """

    left: int
    top: int
    colour: Uint8Array
    alpha: Uint8Array
    disposal: str = KEEP
    is_blended: bool = True

    def area(self, height: int, width: int) -> Box:
        """What of a canvas it covers."""
        bottom, right = self.top + len(self.alpha), self.left + self.alpha.shape[1]
        return Box(
            min(self.top, height), min(self.left, width), min(bottom, height), min(right, width)
        )


class Canvas:
    """Colour and opacity, transparent at first.

    Attributes:
        colour: (H, W, 3) uint8 sRGB.
        alpha: (H, W) uint8.
    """

    def __init__(self, height: int, width: int) -> None:
        self.colour = np.zeros((height, width, 3), np.uint8)
        self.alpha = np.zeros((height, width), np.uint8)
        self._area = Box(0, 0, 0, 0)
        self._disposal = KEEP
        self._before = self.colour[:0, :0], self.alpha[:0, :0]

    def draw(self, patch: Patch) -> None:
        """Take the patch before this one away, if it does not stay, and draw this one."""
        self._dispose()
        area = patch.area(*self.alpha.shape)
        self._area, self._disposal = area, patch.disposal
        if patch.disposal == RESTORE:
            self._before = area.crop(self.colour).copy(), area.crop(self.alpha).copy()
        seen = Box(0, 0, area.height, area.width)
        colour, alpha = seen.crop(patch.colour), seen.crop(patch.alpha)
        if patch.is_blended:
            _blend(area.crop(self.colour), area.crop(self.alpha), colour, alpha)
        else:
            area.crop(self.colour)[:], area.crop(self.alpha)[:] = colour, alpha

    def _dispose(self) -> None:
        if self._disposal == CLEAR:
            self._area.crop(self.alpha)[:] = 0
        elif self._disposal == RESTORE:
            self._area.crop(self.colour)[:], self._area.crop(self.alpha)[:] = self._before


def _blend(
    under: Uint8Array, under_alpha: Uint8Array, over: Uint8Array, over_alpha: Uint8Array
) -> None:
    """Draw in place: opaque pixels replace, transparent ones leave, others are mixed."""
    opaque = over_alpha == LEVELS
    np.copyto(under, over, where=opaque[..., None])
    np.copyto(under_alpha, over_alpha, where=opaque)
    mixed = (over_alpha > 0) & ~opaque
    if not mixed.any():
        return
    weight = over_alpha[mixed].astype(np.float32) / LEVELS
    behind = under_alpha[mixed].astype(np.float32) / LEVELS * (1 - weight)
    total = weight + behind
    colour = over[mixed] * weight[:, None] + under[mixed] * behind[:, None]
    under[mixed] = np.rint(colour / total[:, None])
    under_alpha[mixed] = np.rint(total * LEVELS)


FOR_EVER = 0
"""Times that an animation is played which does not end."""


class DrawnFrame(NamedTuple):
    """What is seen at a time; the next one may be drawn in the same memory.

    Attributes:
        colour: (H, W, 3) uint8 sRGB.
        alpha: opacity, (H, W) uint8.
    """

    colour: Uint8Array
    alpha: Uint8Array


@dataclass(frozen=True)
class DecodedAnimation:
    """An animation, read but not decoded.

    Attributes:
        format: of the file, as `core.animation.output` calls it.
        height: of the frames, px.
        width: likewise.
        time_base: seconds of a unit of time.
        durations: of the frames, in such units.
        plays: how many times it is to be shown, or `FOR_EVER`.
        draw: frames from the first one on; raises whatever decoders do at a damaged one.
        has_alpha: whether frames may be transparent in places.
        damage: what is wrong with the file; None if nothing is.
    """

    format: str
    height: int
    width: int
    time_base: Fraction
    durations: tuple[int, ...]
    plays: int
    draw: Callable[[], Iterator[DrawnFrame]]
    has_alpha: bool = True
    damage: str | None = None

    @property
    def header(self) -> ClipHeader:
        return ClipHeader(
            self.format,
            self.height,
            self.width,
            len(self.durations),
            self.time_base,
            float(sum(self.durations) * self.time_base),
            self.has_alpha,
            self.damage,
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames [start, stop); those before are drawn on the way."""
        stop = len(self.durations) if stop is None else stop
        starts = [0, *accumulate(self.durations)]
        for number, drawn in enumerate(islice(self.draw(), stop)):
            if number >= start:
                yield Frame(_as_picture(drawn), starts[number], self.durations[number])

    def inspected(self) -> "DecodedAnimation":
        """Itself as it turns out when all is decoded: up to a damaged frame, alpha or not.

        Raises: what the decoder does, if that is the first.
        """
        whole, has_alpha, damage = 0, False, self.damage
        try:
            for drawn in self.draw():
                whole += 1
                has_alpha = has_alpha or bool(drawn.alpha.min() < LEVELS)
        except Exception as error:  # decoders raise many kinds
            if not whole:
                raise
            damage = f"After frame {whole} the file is damaged: {error}"
        durations = self.durations[:whole]
        return replace(self, durations=durations, has_alpha=has_alpha, damage=damage)


def check_image(limits: Limits | None, height: int, width: int) -> None:
    """Raise ImageTooLarge, if there are limits, with the limit and what came."""
    if limits is not None:
        limits.check(height, width)


def _as_picture(drawn: DrawnFrame) -> Picture:
    """A picture of its own: where nothing is seen, colour goes on; grey is known as grey."""
    is_grey = bool((drawn.colour == drawn.colour[..., :1]).all())
    if drawn.alpha.min() == LEVELS:
        return Picture(drawn.colour.copy(), is_grey=is_grey)
    colour = fill_transparent(drawn.colour, drawn.alpha)
    return Picture(np.array(colour), drawn.alpha.copy(), is_grey)


AS_VIEWERS_SHOW = Fraction(1, 10)
"""Seconds of a frame without a duration."""


@dataclass(frozen=True)
class UpscaledAnimation:
    """An animation as it is to be written.

    Attributes:
        height: of the frames, px.
        width: likewise.
        has_alpha: whether frames may be transparent in places.
        time_base: seconds of a unit of time.
        durations: of the frames, in such units.
        plays: how many times it is shown, or `core.animation.model.FOR_EVER`.
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
