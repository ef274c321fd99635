"""Plan of a result: which tiles of which networks are computed for each of its strips.

A result takes none, one or two passes of the upscaling network. One pass is reduced to the size of
the result. Before the second of two passes, the result of the first is reduced to the grid that
the second enlarges to the result. So no pass computes pixels that are thrown away, and only a band
of rows between the passes is in memory. The restorer works before the first pass only.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, floor
from typing import NamedTuple

from core.images.resample import rows_needed
from core.model.grid import OutputGrid
from core.model.tiles import ROWS_AHEAD, Tile

PlanTiles = Callable[[int, int], list[list[Tile]]]
"""Height and width of a picture -> its tiles, in rows."""

LAG_ROWS = 4
"""Number of LR rows by which a reduced result and its comparison with the LR picture lag behind."""


class StripPlan(NamedTuple):
    """Tiles that are computed for one strip of a result, in this order.

    Attributes:
        restored: tiles of the restorer.
        first: tiles of the first of two passes, whole rows of them.
        last: tiles of the last pass, whose SR rows are the strip; none if there is no pass.
        lr_top: first LR row that this strip or a later one needs.
        lr_bottom: LR row after the last one that this strip needs.
    """

    restored: list[Tile]
    first: list[Tile]
    last: list[Tile]
    lr_top: int
    lr_bottom: int


@dataclass(frozen=True)
class ResultPlan:
    """How a result is computed.

    Attributes:
        grid: pixels of the result.
        strips: its strips from top to bottom; none if there is nothing to compute.
    """

    grid: OutputGrid
    strips: list[StripPlan]

    @property
    def tiles(self) -> int:
        """Number of tiles of all networks and passes."""
        return sum(len(s.restored) + len(s.first) + len(s.last) for s in self.strips)

    @property
    def pixels(self) -> int:
        """Number of pixels in the windows of the upscaling network."""
        return sum(tile.window.pixels for s in self.strips for tile in (*s.first, *s.last))

    @property
    def restored_pixels(self) -> int:
        """Number of pixels in the windows of the restorer."""
        return sum(tile.window.pixels for s in self.strips for tile in s.restored)

    @property
    def max_results(self) -> int:
        """Number of tiles that may wait for the caller."""
        return ROWS_AHEAD * max(len(strip.last or strip.restored) for strip in self.strips)

    @property
    def band_rows(self) -> int:
        """Largest number of LR rows from the first to the last one that is needed at a time.

        Strips from the one that the caller holds to the last one that is computed ahead need them.
        """
        ahead = ROWS_AHEAD + 1
        last_strips = self.strips[ahead:] or self.strips[-1:]
        return max(
            last.lr_bottom - first.lr_top
            for first, last in zip(self.strips, last_strips, strict=False)
        )


def plan_result(grid: OutputGrid, plan: PlanTiles, restoring: PlanTiles | None) -> ResultPlan:
    """Return how to compute a result.

    Args:
        grid: pixels of the result.
        plan: plans tiles of the upscaling network.
        restoring: plans tiles of the restorer; None if the picture is not restored.
    """
    height, width = grid.shown.height, grid.shown.width
    restored = [] if restoring is None else restoring(height, width)
    if grid.passes == 0:
        return ResultPlan(grid, _strips_without_pass(restored))
    rows = plan(height, width)
    if grid.passes == 1:
        return ResultPlan(grid, _strips_of_one_pass(grid, rows, restored))
    between = grid.coarsened()
    second = plan(between.height, between.width)
    return ResultPlan(grid, _strips_of_two_passes(between, second, rows, restored))


def _strips_without_pass(restored: list[list[Tile]]) -> list[StripPlan]:
    return [
        StripPlan(row, [], [], lr_top=row[0].core.top, lr_bottom=row[0].core.bottom)
        for row in restored
    ]


def _strips_of_one_pass(
    grid: OutputGrid, rows: list[list[Tile]], restored: list[list[Tile]]
) -> list[StripPlan]:
    lag = 0 if grid.is_plain else LAG_ROWS
    bottoms = [row[0].window.bottom for row in rows]
    tops = [min(row[0].window.top, row[0].core.top - lag) for row in rows]
    return [
        StripPlan(flatten(before), [], row, max(top, 0), bottom)
        for before, row, top, bottom in zip(
            take_rows(restored, bottoms), rows, tops, bottoms, strict=True
        )
    ]


def _strips_of_two_passes(
    between: OutputGrid,
    second: list[list[Tile]],
    first: list[list[Tile]],
    restored: list[list[Tile]],
) -> list[StripPlan]:
    """Return the strips of a result.

    Args:
        between: grid of the picture between the passes.
        second: its tiles, in rows.
        first: tiles of the LR picture, in rows.
        restored: tiles of the restorer, in rows.
    """
    before = list(take_rows(first, first_pass_bottoms(between, second)))
    bottoms = list(accumulate((window_bottom(rows) for rows in before), max))
    return [
        StripPlan(flatten(restoring), flatten(rows), row, top, bottom)
        for restoring, rows, row, top, bottom in zip(
            take_rows(restored, bottoms),
            before,
            second,
            first_pass_tops(between, second, before),
            bottoms,
            strict=True,
        )
    ]


def first_pass_bottoms(between: OutputGrid, second: list[list[Tile]]) -> list[int]:
    """Return for each row of tiles of the second pass how many LR rows the first must upscale."""
    needed = rows_needed(between.rows.sampling(between.scale))
    return [ceil(needed[row[0].window.bottom - 1] / between.scale) for row in second]


def first_pass_tops(
    between: OutputGrid, second: list[list[Tile]], before: list[list[list[Tile]]]
) -> list[int]:
    """Return for each row of tiles of the second pass the first LR row that is needed from then on.

    The first pass needs it, or the comparison of the result with the LR picture.
    """
    start, pitch = between.rows.start, between.rows.pitch
    compared = [floor(start + row[0].core.top * pitch) - LAG_ROWS for row in second]
    tops = [
        min(top, *(row[0].window.top for row in rows)) if rows else top
        for top, rows in zip(compared, before, strict=True)
    ]
    return [max(top, 0) for top in reversed(list(accumulate(reversed(tops), min)))]


def window_bottom(rows: list[list[Tile]]) -> int:
    """Return the LR row after the last one that some rows of tiles see; 0 without any."""
    return rows[-1][0].window.bottom if rows else 0


def take_rows(rows: list[list[Tile]], bottoms: Iterable[int]) -> Iterator[list[list[Tile]]]:
    """Yield for each bottom those of the remaining rows of tiles whose cores reach down to it."""
    remaining = iter(rows)
    reached = 0
    for bottom in bottoms:
        taken = []
        while rows and reached < bottom:
            taken.append(next(remaining))
            reached = taken[-1][0].core.bottom
        yield taken


def flatten(rows: list[list[Tile]]) -> list[Tile]:
    """Return the tiles of rows of tiles."""
    return [tile for row in rows for tile in row]
