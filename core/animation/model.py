"""Data model shared by the readers and writers of animations.

A reader draws the patches of a file onto a `Canvas` and returns a `DecodedAnimation`. A
writer encodes an `UpscaledAnimation`.

Source: GIF89a specification, section 23; Portable Network Graphics, third edition,
section 11.3.6.
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

KEEP, CLEAR, RESTORE = "keep", "clear", "restore"
"""Disposal of a patch before the next one is drawn: keep it, clear its area to transparent,
or restore what was there before."""

FOREVER = 0
"""Number of plays of an animation that repeats without end."""

VIEWER_DELAY = Fraction(1, 10)
"""Seconds for which viewers show a frame without a duration."""

LONGEST_IGNORED_DELAY = Fraction(1, 100)
"""Duration in seconds up to which viewers show a frame for `VIEWER_DELAY` instead."""


class Patch(NamedTuple):
    """A rectangle of pixels that is drawn onto a canvas.

    Attributes:
        left, top: position on the canvas, px; the patch may reach beyond the canvas.
        colour: (h, w, 3) uint8 sRGB.
        alpha: opacity, (h, w) uint8.
        disposal: KEEP, CLEAR or RESTORE.
        is_blended: whether the patch is blended over the canvas; if not, it replaces colour
            and alpha.
    """

    left: int
    top: int
    colour: Uint8Array
    alpha: Uint8Array
    disposal: str = KEEP
    is_blended: bool = True

    def area(self, height: int, width: int) -> Box:
        """Return the part of a (height, width) canvas that the patch covers."""
        bottom, right = self.top + len(self.alpha), self.left + self.alpha.shape[1]
        return Box(
            min(self.top, height), min(self.left, width), min(bottom, height), min(right, width)
        )


class Canvas:
    """Colour and opacity of the current frame; transparent at first.

    Attributes:
        colour: (H, W, 3) uint8 sRGB.
        alpha: (H, W) uint8.
    """

    def __init__(self, height: int, width: int) -> None:
        self.colour = np.zeros((height, width, 3), np.uint8)
        self.alpha = np.zeros((height, width), np.uint8)
        self._area = Box(0, 0, 0, 0)
        self._disposal = KEEP
        self._saved = self.colour[:0, :0], self.alpha[:0, :0]

    def draw(self, patch: Patch) -> None:
        """Dispose of the previous patch, then draw this one."""
        self._dispose()
        area = patch.area(*self.alpha.shape)
        self._area, self._disposal = area, patch.disposal
        if patch.disposal == RESTORE:
            self._saved = area.crop(self.colour).copy(), area.crop(self.alpha).copy()
        inside = Box(0, 0, area.height, area.width)
        colour, alpha = inside.crop(patch.colour), inside.crop(patch.alpha)
        if patch.is_blended:
            _blend(area.crop(self.colour), area.crop(self.alpha), colour, alpha)
        else:
            area.crop(self.colour)[:], area.crop(self.alpha)[:] = colour, alpha

    def _dispose(self) -> None:
        if self._disposal == CLEAR:
            self._area.crop(self.alpha)[:] = 0
        elif self._disposal == RESTORE:
            self._area.crop(self.colour)[:], self._area.crop(self.alpha)[:] = self._saved


class DrawnFrame(NamedTuple):
    """The canvas at one moment; the next frame may reuse its memory.

    Attributes:
        colour: (H, W, 3) uint8 sRGB.
        alpha: opacity, (H, W) uint8.
    """

    colour: Uint8Array
    alpha: Uint8Array


@dataclass(frozen=True)
class DecodedAnimation:
    """An animation whose file is parsed; its frames are decoded on demand.

    Attributes:
        format: name of the file's format, as in `core.animation.output`.
        height: height of the frames, px.
        width: width of the frames, px.
        time_base: seconds per time unit.
        durations: duration of each frame, in time units.
        plays: number of times that the animation is shown, or `FOREVER`.
        draw: yields the frames from the first one; may raise any error of a decoder.
        has_alpha: whether frames may have transparent pixels.
        damage: description of the damage to the file; None if there is none.
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
        """What is known of the animation without its pixels."""
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
        """Yield frames [start, stop); earlier frames are decoded too, and dropped."""
        stop = len(self.durations) if stop is None else stop
        starts = [0, *accumulate(self.durations)]
        for number, drawn in enumerate(islice(self.draw(), stop)):
            if number >= start:
                yield Frame(_to_picture(drawn), starts[number], self.durations[number])

    def inspected(self) -> "DecodedAnimation":
        """Decode every frame, and return a copy with what that reveals.

        The copy ends before the first frame that cannot be decoded, and its `has_alpha` is
        exact.

        Raises:
            Exception: the decoder's error, if the first frame cannot be decoded.
        """
        decoded, has_alpha, damage = 0, False, self.damage
        try:
            for drawn in self.draw():
                decoded += 1
                has_alpha = has_alpha or bool(drawn.alpha.min() < LEVELS)
        except Exception as error:  # decoders raise many kinds
            if not decoded:
                raise
            damage = f"After frame {decoded} the file is damaged: {error}"
        durations = self.durations[:decoded]
        return replace(self, durations=durations, has_alpha=has_alpha, damage=damage)


@dataclass(frozen=True)
class UpscaledAnimation:
    """An animation to be written.

    Attributes:
        height: height of the frames, px.
        width: width of the frames, px.
        has_alpha: whether frames may have transparent pixels.
        time_base: seconds per time unit.
        durations: duration of each frame, in time units.
        plays: number of times that the animation is shown, or `FOREVER`.
        pictures: yields the frames from the first one, on each call.
        xmp: XMP packet for the file; None for no packet.
    """

    height: int
    width: int
    has_alpha: bool
    time_base: Fraction
    durations: Sequence[int]
    plays: int
    pictures: Callable[[], Iterator[Picture]]
    xmp: bytes | None = None

    def durations_in(self, unit: Fraction, minimum: int) -> list[int]:
        """Return the durations in whole multiples of another unit.

        The end of each frame is rounded, so rounding errors do not add up. A duration below
        `minimum` becomes `minimum`; a zero duration becomes `VIEWER_DELAY`. If the unit
        divides `time_base`, durations are exact and none is changed.

        >>> times = (33, 33, 33, 0)
        >>> clip = UpscaledAnimation(1, 1, False, Fraction(1, 1000), times, 0, lambda: iter(()))
        >>> clip.durations_in(Fraction(1, 100), minimum=2)
        [3, 4, 3, 10]
        >>> clip.durations_in(Fraction(1, 1000), minimum=1)
        [33, 33, 33, 0]
        """
        ratio = self.time_base / unit
        if ratio.denominator == 1:
            return [duration * ratio.numerator for duration in self.durations]
        units = [duration * ratio or VIEWER_DELAY / unit for duration in self.durations]
        ends = [round(end) for end in accumulate(units, initial=Fraction(0))]
        return [max(after - before, minimum) for before, after in pairwise(ends)]


def check_image(limits: Limits | None, height: int, width: int) -> None:
    """Raise ImageTooLarge if a picture exceeds `limits`; None means no limits."""
    if limits is not None:
        limits.check(height, width)


def rgba(picture: Picture) -> Uint8Array:
    """Return an 8-bit picture as (H, W, 4); fully transparent pixels become all zero."""
    pixels = np.full((picture.height, picture.width, 4), LEVELS, np.uint8)
    pixels[..., :3] = picture.pixels
    if picture.alpha is not None:
        pixels[..., 3] = picture.alpha
        pixels[picture.alpha == 0] = 0
    return pixels


def changed_area(previous: Uint8Array | None, current: Uint8Array, grid: int = 1) -> Box:
    """Return the smallest box that holds every difference of two frames; never empty.

    Args:
        previous: (H, W, 4) uint8; None means that the whole frame has changed.
        current: (H, W, 4) uint8.
        grid: top and left are multiples of this, px.
    """
    height, width = current.shape[:2]
    if previous is None:
        return Box(0, 0, height, width)
    changed: BoolArray = (previous != current).any(axis=2)
    top, left, bottom, right = bounding_box(changed) or Box(0, 0, 1, 1)
    return Box(top // grid * grid, left // grid * grid, bottom, right)


def bounding_box(mask: BoolArray) -> Box | None:
    """Return the smallest box around all True elements of (H, W); None if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _blend(
    under: Uint8Array, under_alpha: Uint8Array, over: Uint8Array, over_alpha: Uint8Array
) -> None:
    """Draw `over` onto `under` in place: replace, keep or mix each pixel by its opacity."""
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


def _to_picture(drawn: DrawnFrame) -> Picture:
    """Copy a frame into a picture.

    Transparent pixels get the colour of their surroundings, so that upscaling draws no edge
    there.
    """
    is_grey = bool((drawn.colour == drawn.colour[..., :1]).all())
    if drawn.alpha.min() == LEVELS:
        return Picture(drawn.colour.copy(), is_grey=is_grey)
    colour = fill_transparent(drawn.colour, drawn.alpha)
    return Picture(np.array(colour), drawn.alpha.copy(), is_grey)
