"""Geometry of tiling: core + halo = window.

The core of a tile is the part that it contributes to the result. The halo is the context
around the core. The window is both: what the network sees. The cores of a picture cover it
once, without overlap. If the halo is at least the network's radius, every pixel of a core sees
exactly what it would see in the whole picture, so nothing has to be blended.

All windows of a picture have the same shape, as TensorFlow prepares itself for each new shape.
A window at an edge is moved inwards, not made smaller. Windows are as small as their number
allows, so that little is computed twice.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from core.pixels import PixelArray, WindowArray

MAX_LARGE_WINDOWS = 9
"""Largest number of large windows of a picture; if it needs more, it gets usual ones."""

ROWS_AHEAD = 2
"""Number of rows of tiles that may wait for the caller."""

LENGTH_STEP = 8
"""Step between lengths of windows, LR px: TensorFlow caches what it prepared for each."""

Scalar = TypeVar("Scalar", bound=np.generic)

Network = Callable[[WindowArray], WindowArray]
"""LR window (h, w, 3) -> SR window (scale*h, scale*w, 3) of the same type."""


class Span(NamedTuple):
    """A core and the window around it along one side, as half-open ranges of pixels."""

    core: tuple[int, int]
    window: tuple[int, int]


class Box(NamedTuple):
    """Half-open rectangle in pixels: rows [top, bottom), columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.height * self.width

    def grown(self, halo: int, height: int, width: int) -> "Box":
        """Return this box plus `halo` pixels on each side, clipped to a height x width picture."""
        return Box(
            max(self.top - halo, 0),
            max(self.left - halo, 0),
            min(self.bottom + halo, height),
            min(self.right + halo, width),
        )

    def relative_to(self, outer: "Box") -> "Box":
        """Return the same pixels, in coordinates of `outer`."""
        dy, dx = outer.top, outer.left
        return Box(self.top - dy, self.left - dx, self.bottom - dy, self.right - dx)

    def scaled(self, scale: int) -> "Box":
        """Return the same rectangle on a grid that is `scale` times as fine."""
        return Box(*(scale * edge for edge in self))

    def crop(self, pixels: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return a view of the part of (H, W) or (H, W, C) inside this box."""
        return pixels[self.top : self.bottom, self.left : self.right]


class Tile(NamedTuple):
    """One run of the network: it sees the window, and the SR pixels of the core are kept."""

    core: Box
    window: Box

    def upscale(self, lr: PixelArray, network: Network, scale: int) -> PixelArray:
        """Upscale the tile of an LR picture, (H, W, C) -> SR of the core, (scale*h, scale*w, C)."""
        return self.crop_core(network(self.window.crop(lr)).astype(lr.dtype, copy=False), scale)

    def crop_core(self, window: npt.NDArray[Scalar], scale: int) -> npt.NDArray[Scalar]:
        """Return the core of a computed window, (scale*h, scale*w, C)."""
        return self.core.relative_to(self.window).scaled(scale).crop(window)


class WindowSizes(NamedTuple):
    """Largest windows, by the size of the picture.

    Attributes:
        usual: height and width, LR px.
        large: height and width for pictures that need at most `MAX_LARGE_WINDOWS` of them,
            LR px. Less is computed twice then, and other requests do not wait for long.
    """

    usual: int
    large: int

    def plan(self, height: int, width: int, halo: int, stride: int = 1) -> list[list[Tile]]:
        """Return the tiles of a height x width picture, in rows; see `plan_tiles`."""
        count = count_windows(height, self.large, halo) * count_windows(width, self.large, halo)
        window = self.large if count <= MAX_LARGE_WINDOWS else self.usual
        return plan_tiles(height, width, window=window, halo=halo, stride=stride)


def plan_tiles(
    height: int, width: int, *, window: int, halo: int, stride: int = 1
) -> list[list[Tile]]:
    """Cover a height x width picture with tiles, in rows from top to bottom.

    Args:
        height: height of the LR picture, px.
        width: width of the LR picture, px.
        window: largest height and width of a window, LR px.
        halo: context on each side of a core, LR px; less than half a window.
        stride: all windows begin on multiples of it, LR px. It divides `LENGTH_STEP`; halo and
            window are rounded to multiples of it, the halo up and the window down.
    """
    halo, window = stride * math.ceil(halo / stride), window // stride * stride
    columns = list(plan_side(width, window, halo, stride))
    return [
        [
            Tile(
                core=Box(rows.core[0], span.core[0], rows.core[1], span.core[1]),
                window=Box(rows.window[0], span.window[0], rows.window[1], span.window[1]),
            )
            for span in columns
        ]
        for rows in plan_side(height, window, halo, stride)
    ]


def plan_side(length: int, window: int, halo: int, stride: int = 1) -> Iterator[Span]:
    """Cover [0, length) with cores, each in a window of the same length, at most `window`.

    There is no context beyond the ends of a picture, so the first and the last core reach to
    the end of their window. If `length` is not a multiple of the stride, the last window is
    shorter by the rest, as it must begin on a multiple, too.

    >>> [span.window for span in plan_side(40, window=32, halo=2)]
    [(0, 24), (16, 40)]
    >>> [span.core for span in plan_side(20, window=10, halo=2)]
    [(0, 8), (8, 14), (14, 20)]
    >>> [span.window for span in plan_side(20, window=10, halo=2)]
    [(0, 10), (6, 16), (10, 20)]
    >>> [span.window for span in plan_side(19, window=10, halo=2, stride=2)]
    [(0, 10), (6, 16), (10, 19)]
    """
    window = shorten_window(window, length, halo)
    core = 0
    while core < length:
        start = max(min(core - halo, stride * math.ceil((length - window) / stride)), 0)
        end = min(start + window, length)
        core_end = length if end == length else end - halo
        yield Span((core, core_end), (start, end))
        core = core_end


def count_windows(length: int, window: int, halo: int) -> int:
    """Return how many windows cover [0, length)."""
    return 1 + max(0, math.ceil((length - window) / (window - 2 * halo)))


def shorten_window(window: int, length: int, halo: int) -> int:
    """Return the shortest window that covers [0, length) in the same number of windows.

    It is a multiple of `LENGTH_STEP`, unless that is longer than `window`.
    """
    count = count_windows(length, window, halo)
    least = math.ceil((length + 2 * halo * (count - 1)) / count)
    return min(window, LENGTH_STEP * math.ceil(least / LENGTH_STEP))
