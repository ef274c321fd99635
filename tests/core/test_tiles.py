import numpy as np
import pytest

from core.tiles import Box, plan_cores, upscale_tiled
from tests.stand_ins import RADIUS, SCALE, blur_then_repeat, noise

TILE = 8


def upscale(lr, *, tile=TILE, halo=RADIUS, **kwargs):
    return upscale_tiled(lr, blur_then_repeat, scale=SCALE, tile=tile, halo=halo, **kwargs)


@pytest.mark.parametrize("tile", [1, 5, 8, 23, 64])
def test_tiling_changes_no_pixel_whatever_the_tile(tile):
    lr = noise(23, 41)
    np.testing.assert_array_equal(upscale(lr, tile=tile), blur_then_repeat(lr))


@pytest.mark.parametrize("height", range(1, 2 * TILE + 3))
def test_tiling_changes_no_pixel_whatever_the_size(height):
    for width in range(1, 2 * TILE + 3):
        lr = noise(height, width)
        np.testing.assert_array_equal(upscale(lr), blur_then_repeat(lr))


def test_a_halo_one_pixel_short_is_seen():
    lr = noise(23, 41)
    assert not np.array_equal(upscale(lr, halo=RADIUS - 1), blur_then_repeat(lr))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 100), (100, 7), (64, 65)])
def test_cores_cover_every_pixel_once(height, width):
    covered = np.zeros((height, width), int)
    for core in plan_cores(height, width, tile=TILE):
        core.crop(covered)[:] += 1
    assert (covered == 1).all()


def test_cores_are_no_longer_than_asked_for_and_nearly_equal():
    sides = {core.bottom - core.top for core in plan_cores(50, 50, tile=TILE)}
    assert max(sides) <= TILE
    assert max(sides) - min(sides) <= 1


def test_a_window_ends_where_the_picture_ends():
    assert Box(0, 8, 8, 16).grown(3, height=10, width=16) == Box(0, 5, 10, 16)


def test_progress_counts_the_tiles():
    seen = []
    upscale(noise(9, 17), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(1, 7)]
