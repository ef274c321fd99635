"""What an animation shows: patches drawn one over the other, and taken away again.

Source: GIF89a specification, section 23; Portable Network Graphics, third edition,
section 11.3.6.
"""

from typing import NamedTuple

import numpy as np

from core.pixels import LEVELS, Uint8Array
from core.tiles import Box

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
