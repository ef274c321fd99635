import numpy as np
import pytest

from core.media.render import IDENTICAL_DB, Consistency, downscale
from core.picture import Picture
from tests.support.stand_ins import noise, repeat


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_every_block_becomes_its_mean(depth):
    sr = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (8, 12, 3), depth, endpoint=True)
    expected = [[sr[y : y + 4, x : x + 4].mean((0, 1)) for x in (0, 4, 8)] for y in (0, 4)]
    np.testing.assert_allclose(downscale(sr, 4), expected, rtol=1e-6)


def test_a_repeated_picture_is_wholly_consistent():
    lr = Picture(noise(6, 5))
    consistency = Consistency(lr, 4)
    for strip in np.split(repeat(lr.pixels), [4, 12]):
        consistency.add(strip)
    assert consistency.psnr_db == IDENTICAL_DB


@pytest.mark.parametrize(("highest", "depth"), [(255, np.uint8), (65535, np.uint16)])
def test_a_shift_of_a_tenth_is_twenty_decibels(highest, depth):
    lr = Picture(np.zeros((6, 5, 3), depth))
    consistency = Consistency(lr, 4)
    consistency.add(np.full((24, 20, 3), round(highest / 10), depth))
    assert consistency.psnr_db == pytest.approx(20, abs=0.2)


def test_grey_is_compared_with_grey():
    lr = Picture(np.repeat(noise(6, 5, 1), 3, axis=2), is_grey=True)
    consistency = Consistency(lr, 4)
    consistency.add(repeat(lr.pixels[..., :1]))
    assert consistency.psnr_db == IDENTICAL_DB


def test_what_is_under_full_transparency_does_not_count():
    alpha = np.full((6, 5), 255, np.uint8)
    alpha[2:] = 0
    lr = Picture(noise(6, 5), alpha)
    sr = np.concatenate([repeat(lr.pixels), repeat(alpha[..., None])], axis=2)
    sr[8:, :, :3] = 0
    consistency = Consistency(lr, 4)
    consistency.add(sr)
    assert consistency.psnr_db == IDENTICAL_DB
    sr[0, 0, :3] ^= 255
    consistency = Consistency(lr, 4)
    consistency.add(sr)
    assert consistency.psnr_db < IDENTICAL_DB
