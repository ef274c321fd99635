"""Strips of a result: the tasks that compute them, and the way from tiles to rows."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from core.images.resample import BLOCK_ROWS, StripReducer
from core.model.band import RowBand
from core.model.grid import MOST_PASSES, OutputGrid
from core.model.passes import ResultPlan, StripPlan
from core.model.restorer import NOTHING, Restoration
from core.model.tasks import ComputeTile, restoring_tasks, upscale_tile, upscaling_tasks
from core.model.tiles import Box, Network, Tile
from core.picture import Picture
from core.pixels import PixelArray, pixels_from_levels, to_uint8, to_uint16
from core.runtime.tile_tasks import TileTask

STRIP_ROWS = 256
"""Number of rows in a strip of a picture that is already complete: a multiple of the scale."""


@dataclass(frozen=True)
class ResultNetworks:
    """Networks that compute one result.

    Attributes:
        network: maps an LR window to an SR window.
        restored: maps a restored window of float32 levels to SR levels.
        restore: restores a tile; None if the picture is not restored.
        restoring_cost: arithmetic of the restorer for an LR pixel; that of `network` is 1.
    """

    network: Network
    restored: Network | None = None
    restore: ComputeTile | None = None
    restoring_cost: float = 1.0


@dataclass(frozen=True)
class StripTasks:
    """Tasks of one strip, and what to do with their results.

    Attributes:
        preparing: tasks that run first and whose results are empty.
        upscaling: tasks whose results are the tiles of the strip.
        join: joins the tiles to rows of the strip.
        release: forgets rows that neither this strip nor a later one needs.
    """

    preparing: list[TileTask]
    upscaling: list[TileTask]
    join: Callable[[list[PixelArray]], Iterator[PixelArray]]
    release: Callable[[], None]


class IntermediatePicture:
    """The picture between two passes: its rows, as far as they are computed and still needed.

    Args:
        lr: the part of the LR picture that the result shows.
        grid: grid of this picture.
        first_pass: upscales a tile of `lr`.
        network: upscales windows of this picture.
    """

    def __init__(
        self, lr: Picture, grid: OutputGrid, first_pass: ComputeTile, network: Network
    ) -> None:
        self._lr, self._first_pass, self._network = lr, first_pass, network
        self._scale = grid.scale
        self._reducer = grid_reducer(lr, grid)
        self._band: RowBand[np.uint8 | np.uint16] = RowBand()
        self._pending: list[PixelArray] = []

    def compute_tile(self, tile: Tile) -> PixelArray:
        """Upscale a tile of the LR picture: the next one from left to right, then downwards."""
        self._pending.append(self._first_pass(tile))
        if tile.core.right == self._lr.width:
            self._band.append(self._reducer.add(np.concatenate(self._pending, axis=1)))
            self._pending = []
        return NOTHING

    def upscale_tile(self, tile: Tile) -> PixelArray:
        """Return the SR core of a tile of this picture, whose rows must be there."""
        pixels = self._band.crop(tile.window)
        colour = np.repeat(pixels[..., :1], 3, axis=2) if self._lr.is_grey else pixels[..., :3]
        alpha = None if self._lr.alpha is None else np.ascontiguousarray(pixels[..., -1])
        window = Picture(np.ascontiguousarray(colour), alpha, self._lr.is_grey)
        moved = Tile(tile.core.relative_to(tile.window), tile.window.relative_to(tile.window))
        return upscale_tile(window, moved, self._network, self._scale)

    def release(self, top: int) -> None:
        """Forget all rows above `top`, as far as they were added together."""
        self._band.release(top)


class ResultTasks:
    """Tasks of one result.

    Two passes compute 16 bits. Where tiles differ in rounding only, the second would enlarge a
    difference of one level of 8 bits.

    Args:
        lr: the part of the LR picture that the result shows.
        plan: tiles of the result.
        networks: networks that compute it.
        restoration: of `lr`; None to upscale it as it is.
    """

    def __init__(
        self,
        lr: Picture,
        plan: ResultPlan,
        networks: ResultNetworks,
        restoration: Restoration | None,
    ) -> None:
        lr = widen(lr) if plan.grid.passes == MOST_PASSES else lr
        self._lr, self._plan, self._networks = lr, plan, networks
        self._restoration = restoration
        self._first_pass: ComputeTile = partial(
            upscale_tile,
            lr,
            network=networks.network,
            scale=plan.grid.scale,
            restoration=restoration,
            restored=networks.restored,
        )
        self._last_pass: ComputeTile = self._first_pass
        self._release_between: Callable[[int], None] = lambda _top: None
        if plan.grid.passes == MOST_PASSES:
            self._insert_pass(lr, plan.grid.coarsened(), networks.network)

    def _insert_pass(self, lr: Picture, between: OutputGrid, network: Network) -> None:
        """Make what was the only pass the first of two."""
        picture = IntermediatePicture(lr, between, self._first_pass, network)
        self._first_pass, self._last_pass = picture.compute_tile, picture.upscale_tile
        self._release_between = picture.release

    def strips(self) -> list[StripTasks]:
        """Return the tasks of all strips, in the order in which they must run."""
        return [
            StripTasks(
                self._preparing(strip),
                upscaling_tasks(strip.last, self._last_pass),
                partial(self._join, strip),
                partial(self._release, strip),
            )
            for strip in self._plan.strips
        ]

    def _preparing(self, strip: StripPlan) -> list[TileTask]:
        first = upscaling_tasks(strip.first, self._first_pass)
        restore = self._networks.restore
        if restore is None:
            return first
        return [*restoring_tasks(strip.restored, restore, self._networks.restoring_cost), *first]

    def _join(self, strip: StripPlan, tiles: list[PixelArray]) -> Iterator[PixelArray]:
        if not tiles:
            yield restored_rows(self._lr, self._restoration, strip.lr_top, strip.lr_bottom)
            return
        # What is reduced is read in blocks. So tiles and strip are not in memory at the same time.
        is_reduced = self._plan.grid.passes == 1 and not self._plan.grid.is_plain
        height = BLOCK_ROWS if is_reduced else len(tiles[0])
        for top in range(0, len(tiles[0]), height):
            yield np.concatenate([tile[top : top + height] for tile in tiles], axis=1)

    def _release(self, strip: StripPlan) -> None:
        if self._restoration is not None:
            self._restoration.release(strip.lr_top)
        if strip.last:
            self._release_between(strip.last[0].window.top)


def restored_rows(
    lr: Picture, restoration: Restoration | None, top: int, bottom: int
) -> PixelArray:
    """Return rows of a picture that is not enlarged, (h, W, C), restored unless there is none.

    Args:
        lr: LR picture.
        restoration: of `lr`, with these rows; None for the rows of `lr` itself.
        top: first row.
        bottom: row after the last one; it may be beyond the picture.
    """
    rows = Box(top, 0, min(bottom, lr.height), lr.width)
    pixels = rows.crop(lr.pixels)
    if restoration is not None:
        pixels = pixels_from_levels(restoration.crop(rows), lr.pixels.dtype)
    colour = pixels[..., :1] if lr.is_grey else pixels
    return colour if lr.alpha is None else np.dstack([colour, rows.crop(lr.alpha)])


def picture_strips(picture: Picture) -> Generator[PixelArray]:
    """Yield the strips of a complete picture, (h, W, C) with alpha last."""
    for top in range(0, picture.height, STRIP_ROWS):
        yield restored_rows(picture, None, top, top + STRIP_ROWS)


def computed_strips(
    tasks: Iterable[StripTasks], results: Iterator[PixelArray]
) -> Iterator[PixelArray]:
    """Yield what the last pass makes of each strip.

    Args:
        tasks: tasks of the strips.
        results: results of all tasks in their order.
    """
    for strip in tasks:
        strip.release()
        for _ in strip.preparing:
            next(results)
        yield from strip.join(list(islice(results, len(strip.upscaling))))


def fitted_strips(
    strips: Iterator[PixelArray], lr: Picture, grid: OutputGrid
) -> Iterator[PixelArray]:
    """Yield the strips of a result, given what the last pass makes of them.

    One pass is reduced to the grid. Two passes end slightly beyond the grid and are cropped.

    Args:
        strips: strips of the last pass.
        lr: the part of the LR picture that the result shows.
        grid: grid of the result.
    """
    if grid.is_plain or not grid.passes:
        return strips
    if grid.passes == 1:
        return reduced_strips(strips, grid_reducer(lr, grid))
    return cropped_strips(strips, grid, lr.bits)


def grid_reducer(lr: Picture, grid: OutputGrid) -> StripReducer:
    """Return what reduces the result of the first pass to a grid."""
    rows, columns = (side.sampling(grid.scale) for side in (grid.rows, grid.columns))
    return StripReducer(rows, columns, has_alpha=lr.alpha is not None)


def reduced_strips(strips: Iterator[PixelArray], reducer: StripReducer) -> Iterator[PixelArray]:
    """Yield reduced strips; those without a complete row are left out."""
    for strip in strips:
        rows = reducer.add(strip)
        del strip  # frees it while the next one is computed
        if len(rows):
            yield rows


def cropped_strips(
    strips: Iterator[PixelArray], grid: OutputGrid, bits: int
) -> Iterator[PixelArray]:
    """Yield the part of strips that is inside a grid, which begins where they begin.

    Args:
        strips: strips of uint16.
        grid: grid of the result.
        bits: bits of a sample of the result, 8 or 16.
    """
    left = grid.height
    for strip in strips:
        rows = strip[:left, : grid.width]
        del strip
        left -= len(rows)
        for top in range(0, len(rows), BLOCK_ROWS):
            block = rows[top : top + BLOCK_ROWS]
            yield to_uint8(block) if bits == 8 else block
        del rows  # frees the strip while the next one is computed


def widen(picture: Picture) -> Picture:
    """Return a picture with 16 bits."""
    alpha = None if picture.alpha is None else to_uint16(picture.alpha)
    return replace(picture, pixels=to_uint16(picture.pixels), alpha=alpha)
