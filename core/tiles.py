"""Geometry of tiling: core + halo = window. No network here, only rectangles.

A core is what a tile answers for, its halo is the context around it, and the window
of both is what the network sees. Cores cover a picture once and without overlap. If
the halo is at least the network's radius, every pixel of a core sees exactly what it
would see in the whole picture, so nothing has to be blended.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from core.pixels import Uint8Array

Network = Callable[[Uint8Array], Uint8Array]
Progress = Callable[[int, int], None]


class Box(NamedTuple):
    """Half-open rectangle in pixels: rows [top, bottom), columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

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

    def crop(self, pixels: Uint8Array) -> Uint8Array:
        """View of the (H, W, C) picture inside this box."""
        return pixels[self.top : self.bottom, self.left : self.right]


def plan_cores(height: int, width: int, *, tile: int) -> list[Box]:
    """Cover a height x width picture with cores of at most `tile` pixels a side.

    Cores differ by at most one pixel in height and width: few window shapes, since
    the network's library prepares itself anew for each.
    """
    return [
        Box(top, left, bottom, right)
        for top, bottom in split_evenly(height, tile)
        for left, right in split_evenly(width, tile)
    ]


def split_evenly(length: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut [0, length) into as few near-equal parts of at most `longest` as it takes.

    >>> list(split_evenly(10, 4))
    [(0, 3), (3, 6), (6, 10)]
    """
    count = -(-length // longest)
    for index in range(count):
        yield length * index // count, length * (index + 1) // count


def upscale_tiled(
    lr: Uint8Array,
    network: Network,
    *,
    scale: int,
    tile: int,
    halo: int,
    progress: Progress | None = None,
) -> Uint8Array:
    """Upscale a picture window by window.

    Args:
        lr: LR picture, (H, W, C) uint8 in [0, 255].
        network: (h, w, C) -> (scale*h, scale*w, C), both uint8.
        scale: factor per side.
        tile: longest side of a core, LR px.
        halo: context around a core, LR px; the network's radius for exact results.
        progress: called after each tile with the tiles done and all tiles.

    Returns:
        SR picture, (scale*H, scale*W, C) uint8, equal to `network(lr)` if `halo` is
        at least the network's radius.
    """
    height, width, channels = lr.shape
    sr = np.empty((scale * height, scale * width, channels), np.uint8)
    cores = plan_cores(height, width, tile=tile)
    for done, core in enumerate(cores, start=1):
        window = core.grown(halo, height, width)
        sr_window = network(window.crop(lr))
        core.scaled(scale).crop(sr)[:] = core.relative_to(window).scaled(scale).crop(sr_window)
        if progress is not None:
            progress(done, len(cores))
    return sr
