from functools import partial

import pytest

from core.model.grid import output_grid
from core.model.passes import plan_result, take_rows
from core.model.tiles import plan_tiles
from core.options import OutputOptions

PLAN = partial(plan_tiles, window=16, halo=3)
RESTORING = partial(plan_tiles, window=24, halo=7)


def plan(height, width, factor, *, is_restored=False):
    grid = output_grid(OutputOptions(scale=factor), height, width, 4)
    return plan_result(grid, PLAN, RESTORING if is_restored else None)


def covered(tiles):
    """Number of pixels in the cores of tiles, which never overlap."""
    return sum(tile.core.pixels for tile in tiles)


@pytest.mark.parametrize("is_restored", [False, True])
@pytest.mark.parametrize(
    ("factor", "first", "last"),
    [(1, 0, 0), (2, 0, 50 * 40), (4, 0, 50 * 40), (6, 50 * 40, 75 * 60), (16, 50 * 40, 200 * 160)],
)
def test_every_pixel_is_computed_once_in_each_pass(factor, first, last, is_restored):
    found = plan(50, 40, factor, is_restored=is_restored)
    tiles = {
        name: [tile for strip in found.strips for tile in getattr(strip, name)]
        for name in ("restored", "first", "last")
    }
    assert {name: covered(group) for name, group in tiles.items()} == {
        "restored": 50 * 40 if is_restored else 0,
        "first": first,
        "last": last,
    }
    assert found.tiles == sum(map(len, tiles.values()))
    assert found.pixels == sum(t.window.pixels for t in tiles["first"] + tiles["last"])
    assert found.restored_pixels == sum(t.window.pixels for t in tiles["restored"])


@pytest.mark.parametrize("factor", [1.5, 4, 4.1, 7, 16])
def test_restored_rows_are_there_before_they_are_needed(factor):
    reached = 0
    for strip in plan(90, 20, factor, is_restored=True).strips:
        reached = max([reached, *(tile.core.bottom for tile in strip.restored)])
        assert reached >= min(strip.lr_bottom, 90)
        assert all(reached >= tile.window.bottom for tile in strip.first)


@pytest.mark.parametrize("factor", [1, 1.5, 4, 4.1, 7, 16])
def test_no_strip_needs_rows_above_those_that_were_released(factor):
    strips = plan(90, 20, factor, is_restored=True).strips
    tops = [strip.lr_top for strip in strips]
    assert tops == sorted(tops)
    assert tops[0] == 0
    for strip in strips:
        first_pass = strip.first if factor > 4 else strip.last
        assert all(tile.window.top >= strip.lr_top for tile in first_pass)


def test_a_picture_that_stays_as_it_is_has_nothing_to_compute():
    found = plan(50, 40, 1)
    assert (found.strips, found.tiles, found.pixels) == ([], 0, 0)


def test_a_band_is_far_smaller_than_a_high_picture():
    assert plan(1000, 20, 8, is_restored=True).band_rows < 100


def test_rows_are_taken_in_order_as_they_are_needed():
    rows = PLAN(50, 10)
    taken = list(take_rows(rows, [5, 5, 30, 50]))
    assert [row for rows in taken for row in rows] == rows
    assert (len(taken[0]), taken[1]) == (1, [])
    assert list(take_rows([], [5, 9])) == [[], []]
