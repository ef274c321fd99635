import numpy as np
import pytest

from core.picture import Picture
from core.temporal.fusion import (
    BAND,
    FINER,
    HALO,
    Fusion,
    FusionState,
    Motion,
    add,
    bands,
    luma,
    sharpen,
)
from tests.support.stand_ins import noise

HEIGHT, WIDTH = 20, 28


def at_rest():
    flow = np.zeros((FINER * HEIGHT, FINER * WIDTH, 2), np.float32)
    return Motion(flow, np.ones((HEIGHT, WIDTH), np.float32))


def fused_with(before, sr, weight, fusion):
    ages = np.ones((HEIGHT, WIDTH), np.float32)
    memory = FusionState(np.zeros((HEIGHT, WIDTH), np.uint8), before, ages)
    return fusion.fuse(Picture(sr), memory, at_rest(), weight * ages)


def test_without_weight_a_frame_stays_what_it_is():
    sr = noise(4 * HEIGHT, 4 * WIDTH)
    before = luma(noise(4 * HEIGHT, 4 * WIDTH, seed=1))
    shown, remembered = fused_with(before, sr, 0, Fusion())
    assert np.array_equal(shown.pixels, sr)
    assert np.allclose(remembered, luma(sr), atol=0.01)


def test_with_nothing_kept_a_frame_is_the_weighted_mean():
    sr = noise(4 * HEIGHT, 4 * WIDTH)
    before = luma(noise(4 * HEIGHT, 4 * WIDTH, seed=1))
    _, remembered = fused_with(before, sr, 0.5, Fusion(kept=0, is_sharpened=False))
    assert np.allclose(remembered, (before + luma(sr)) / 2, atol=0.01)


@pytest.mark.parametrize("shade", [-40, 40])
def test_a_difference_of_local_means_is_not_taken_over(shade):
    sr = np.full((4 * HEIGHT, 4 * WIDTH, 3), 120, np.uint8)
    shown, _ = fused_with(luma(sr) + shade, sr, 0.8, Fusion(kept=1))
    assert np.abs(shown.pixels.astype(int) - sr).max() <= 1


@pytest.mark.parametrize("height", [1, HALO, BAND, BAND + 1, 3 * BAND - 1])
def test_bands_cover_every_row_once(height):
    rows = [row for band in bands(height) for row in range(band.first, band.last)]
    assert rows == list(range(height))
    assert all(0 <= b.top <= b.first and b.last <= b.bottom <= height for b in bands(height))


def test_weakened_detail_is_made_as_strong_as_it_was():
    own = luma(noise(64, 80))
    weakened = own.mean() + 0.7 * (own - own.mean())
    assert sharpen(weakened, own).std() == pytest.approx(own.std(), rel=0.05)


def test_detail_is_never_weakened():
    own = luma(noise(64, 80))
    weak = own.mean() + 0.5 * (own - own.mean())
    assert np.allclose(sharpen(own, weak), own)


@pytest.mark.parametrize(("dtype", "step"), [(np.uint8, 1), (np.uint16, 257)])
def test_adding_stops_at_black_and_white(dtype, step):
    pixels = np.array([[[0, 100, 250]]], dtype) * dtype(step)
    brighter = add(pixels, np.full((1, 1), 20, np.float32))
    darker = add(pixels, np.full((1, 1), -20, np.float32))
    assert brighter.dtype == dtype
    assert (brighter // step).tolist() == [[[20, 120, 255]]]
    assert (darker // step).tolist() == [[[0, 80, 230]]]
