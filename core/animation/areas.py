"""Rectangles of pixels, and where two pictures differ."""

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)


class Area(NamedTuple):
    """Rows [top, bottom) and columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def crop(self, pixels: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """A view of the part of (H, W) or (H, W, C)."""
        return pixels[self.top : self.bottom, self.left : self.right]


def bounds(mask: BoolArray) -> Area | None:
    """The smallest area around all that is true of (H, W); None if nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return Area(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
