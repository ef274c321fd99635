import numpy as np
import pytest

from core.model.tasks import neighbour_extreme, upscale_alpha
from core.model.tiles import plan_tiles
from tests.support.stand_ins import RADIUS, blur_then_repeat, noise, repeat


def whole(alpha, network, window=100):
    rows = plan_tiles(*alpha.shape, window=window, halo=RADIUS)
    strips = [
        np.concatenate([upscale_alpha(alpha, tile, network, 4) for tile in row], axis=1)
        for row in rows
    ]
    return np.concatenate(strips)[..., 0]


def disc():
    y, x = np.mgrid[:40, :50]
    return np.where((y - 20) ** 2 + (x - 25) ** 2 < 150, 255, 0).astype(np.uint8)


def test_alpha_is_upscaled_by_the_network():
    alpha = noise(20, 30, 1)[..., 0]
    np.testing.assert_array_equal(whole(alpha, repeat), repeat(alpha))


def test_transparent_and_opaque_areas_stay_so():
    alpha = disc()
    sr = whole(alpha, blur_then_repeat)
    for level, extreme in ((0, np.maximum), (255, np.minimum)):
        flat = repeat(neighbour_extreme(alpha, extreme)) == level
        assert flat.any()
        assert (sr[flat] == level).all()


def test_no_level_leaves_the_range_of_its_neighbours():
    alpha = np.clip(disc(), 50, 200)
    sr = whole(alpha, lambda lr: 255 - repeat(lr))
    assert (sr.min(), sr.max()) == (50, 200)


@pytest.mark.parametrize("window", [16, 30])
def test_tiles_do_not_show(window):
    alpha = disc()
    expected = whole(alpha, blur_then_repeat)
    np.testing.assert_array_equal(whole(alpha, blur_then_repeat, window), expected)


def test_a_tile_of_one_level_needs_no_run_of_the_network():
    alpha = np.full((9, 7), 40000, np.uint16)
    sr = whole(alpha, None)
    assert sr.dtype == np.uint16
    assert (sr == 40000).all()
