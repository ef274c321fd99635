from dataclasses import replace

import numpy as np
import pytest

from core.animation.animation import enlarge_mask, with_contours
from core.picture import Picture
from tests.support.stand_ins import noise


@pytest.fixture
def disc():
    y, x = np.mgrid[:20, :24]
    return np.where((y - 9) ** 2 + (x - 12) ** 2 < 50, 255, 0).astype(np.uint8)


def roughness(disc):
    """How much the distance of its edge from the middle varies, px."""
    edge = disc.copy()
    edge[1:-1, 1:-1] &= ~(disc[2:, 1:-1] & disc[:-2, 1:-1] & disc[1:-1, 2:] & disc[1:-1, :-2])
    y, x = np.nonzero(edge)
    return np.hypot(y - 37.5, x - 49.5).std()


def test_a_contour_is_smooth(disc):
    enlarged = enlarge_mask(disc, 80, 96) >= 128
    blocks = disc.repeat(4, axis=0).repeat(4, axis=1) > 0
    assert roughness(enlarged) < 0.85 * roughness(blocks)


def test_what_is_far_from_a_contour_stays(disc):
    enlarged = enlarge_mask(disc, 80, 96)
    assert set(np.unique(enlarged[30:45, 40:55])) == {255}
    assert not enlarged[:4].any() and not enlarged[-4:].any()


def test_a_line_of_one_pixel_stays():
    line = np.eye(12, dtype=np.uint8) * 255
    enlarged = enlarge_mask(line, 48, 48)
    assert all(enlarged[place, place] >= 128 for place in range(4, 44))


@pytest.mark.parametrize("level", [0, 255])
def test_all_or_nothing_stays(level):
    assert (enlarge_mask(np.full((3, 5), level, np.uint8), 12, 20) == level).all()


def test_only_masks_are_contours(enlarge, disc):
    upscale = with_contours(enlarge)
    picture = Picture(noise(20, 24), disc)
    smooth = replace(picture, alpha=np.minimum(disc, 254))
    assert not np.array_equal(upscale(picture).alpha, enlarge(picture).alpha)
    assert np.array_equal(upscale(smooth).alpha, enlarge(smooth).alpha)
    assert upscale(Picture(noise(4, 5))).alpha is None
