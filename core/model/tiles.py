"""Geometry of tiling: core + halo = window. No network here, only rectangles.

A core is what a tile answers for, its halo is the context around it, and the window
of both is what the network sees. Cores cover a picture once and without overlap. If
the halo is at least the network's radius, every pixel of a core sees exactly what it
would see in the whole picture, so nothing has to be blended.

All windows of a picture have one shape, since the network's library prepares itself
anew for each: at an edge a window is moved inwards, not made smaller. They are as small
as their number allows, so that little is computed twice.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from core.pixels import PixelArray

FEW = 9
"""Large windows of a picture at most."""

STEP = 8
"""Between lengths of windows, px: the network's library keeps what it prepared for each."""

Scalar = TypeVar("Scalar", bound=np.generic)

Network = Callable[[PixelArray], PixelArray]


class Span(NamedTuple):
    """Half-open range of pixels along one side: a core and the window around it."""

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
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.height * self.width

    def grown(self, halo: int, height: int, width: int) -> "Box":
        """This box plus `halo` pixels a side, clipped to a height x width picture."""
        return Box(
            max(self.top - halo, 0),
            max(self.left - halo, 0),
            min(self.bottom + halo, height),
            min(self.right + halo, width),
        )

    def relative_to(self, outer: "Box") -> "Box":
        """The same pixels, counted from the corner of `outer`."""
        dy, dx = outer.top, outer.left
        return Box(self.top - dy, self.left - dx, self.bottom - dy, self.right - dx)

    def scaled(self, scale: int) -> "Box":
        """The same rectangle on a grid `scale` times as fine."""
        return Box(*(scale * edge for edge in self))

    def crop(self, pixels: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """A view of the part of (H, W) or (H, W, C) inside this box."""
        return pixels[self.top : self.bottom, self.left : self.right]


class Tile(NamedTuple):
    """What one run of the network sees, and what of it is kept."""

    core: Box
    window: Box

    def upscale(self, lr: PixelArray, network: Network, scale: int) -> PixelArray:
        """LR picture (H, W, C) uint8 -> SR of the core, (scale*h, scale*w, C) uint8."""
        sr_window = network(self.window.crop(lr))
        return self.core.relative_to(self.window).scaled(scale).crop(sr_window)


class WindowSizes(NamedTuple):
    """How large windows are at most, by the picture they are of.

    Attributes:
        usual: height and width, LR px.
        large: likewise, of pictures that need at most `FEW` of them: less is computed twice,
            and nobody waits long until they are done.
    """

    usual: int
    large: int

    def plan(self, height: int, width: int, halo: int) -> list[list[Tile]]:
        """The tiles of a height x width picture, in rows; see `plan_tiles`."""
        count = count_windows(height, self.large, halo) * count_windows(width, self.large, halo)
        window = self.large if count <= FEW else self.usual
        return plan_tiles(height, width, window=window, halo=halo)


def plan_tiles(height: int, width: int, *, window: int, halo: int) -> list[list[Tile]]:
    """Cover a height x width picture with tiles, in rows from top to bottom.

    Args:
        height, width: of the LR picture, px.
        window: height and width of a window at most, LR px; the picture's where that is
            smaller.
        halo: context on each side of a core, LR px; less than half a window.
    """
    columns = list(plan_side(width, window, halo))
    return [
        [
            Tile(
                core=Box(rows.core[0], span.core[0], rows.core[1], span.core[1]),
                window=Box(rows.window[0], span.window[0], rows.window[1], span.window[1]),
            )
            for span in columns
        ]
        for rows in plan_side(height, window, halo)
    ]


def plan_side(length: int, window: int, halo: int) -> Iterator[Span]:
    """Cover [0, length) with cores, each in a window of the same length, at most `window`.

    At the ends of a picture there is nothing to see beyond, so the first and the last
    core reach to the end of their window.

    >>> [span.window for span in plan_side(40, window=32, halo=2)]
    [(0, 24), (16, 40)]
    >>> [span.core for span in plan_side(20, window=10, halo=2)]
    [(0, 8), (8, 14), (14, 20)]
    >>> [span.window for span in plan_side(20, window=10, halo=2)]
    [(0, 10), (6, 16), (10, 20)]
    """
    window = shorten(window, length, halo)
    core = 0
    while core < length:
        start = max(min(core - halo, length - window), 0)
        end = min(start + window, length)
        core_end = length if end == length else end - halo
        yield Span((core, core_end), (start, end))
        core = core_end


def count_windows(length: int, window: int, halo: int) -> int:
    """How many windows cover [0, length)."""
    return 1 + max(0, math.ceil((length - window) / (window - 2 * halo)))


def shorten(window: int, length: int, halo: int) -> int:
    """The shortest windows that are no more than these, a multiple of `STEP` if they can be."""
    count = count_windows(length, window, halo)
    least = math.ceil((length + 2 * halo * (count - 1)) / count)
    return min(window, STEP * math.ceil(least / STEP))
