"""What files of all formats are read as: frames one after the other, with their times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, islice
from typing import NamedTuple

import numpy as np

from core.clips import ClipHeader, Frame
from core.images.alpha import fill_transparent
from core.images.limits import Limits
from core.picture import Picture
from core.pixels import LEVELS, Uint8Array

FOR_EVER = 0
"""Times that an animation is played which does not end."""


class Drawn(NamedTuple):
    """What is seen at a time; the next one may be drawn in the same memory.

    Attributes:
        colour: (H, W, 3) uint8 sRGB.
        alpha: opacity, (H, W) uint8.
    """

    colour: Uint8Array
    alpha: Uint8Array


@dataclass(frozen=True)
class Reel:
    """An animation, read but not decoded.

    Attributes:
        format: of the file, as `core.animation.formats` calls it.
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
    draw: Callable[[], Iterator[Drawn]]
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

    def inspected(self) -> "Reel":
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


def _as_picture(drawn: Drawn) -> Picture:
    """A picture of its own: where nothing is seen, colour goes on; grey is known as grey."""
    is_grey = bool((drawn.colour == drawn.colour[..., :1]).all())
    if drawn.alpha.min() == LEVELS:
        return Picture(drawn.colour.copy(), is_grey=is_grey)
    colour = fill_transparent(drawn.colour, drawn.alpha)
    return Picture(np.array(colour), drawn.alpha.copy(), is_grey)
