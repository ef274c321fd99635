import cv2
import numpy as np
import pytest

from core.model.grid import output_grid
from core.options import OutputOptions
from core.picture import Picture
from core.temporal.fusion import (
    BAND,
    FLOW_SCALE,
    HALO,
    LINEAR,
    MIN_SIDE,
    Fusion,
    FusionState,
    Motion,
    add_to_channels,
    bands,
    find_motion,
    fusion_bytes,
    luma,
    sharpen,
    to_sr_grid,
    warp,
)
from tests.support.stand_ins import noise

HEIGHT, WIDTH = 20, 28
TEXTURE_HEIGHT, TEXTURE_WIDTH = 64, 96


def grid(height, width, /, **size):
    return output_grid(OutputOptions(**size), height, width, scale=4)


def at_rest():
    flow = np.zeros((FLOW_SCALE * HEIGHT, FLOW_SCALE * WIDTH, 2), np.float32)
    return Motion(flow, np.ones((HEIGHT, WIDTH), np.float32))


def fused_with(before, sr, weight, fusion):
    ages = np.ones((HEIGHT, WIDTH), np.float32)
    memory = FusionState(np.zeros((HEIGHT, WIDTH), np.uint8), before, ages)
    return fusion.fuse(Picture(sr), memory, at_rest(), weight * ages, grid(HEIGHT, WIDTH))


def test_a_frame_without_weight_for_the_past_is_unchanged():
    sr = noise(4 * HEIGHT, 4 * WIDTH)
    before = luma(noise(4 * HEIGHT, 4 * WIDTH, seed=1))
    shown, remembered = fused_with(before, sr, 0, Fusion())
    assert np.array_equal(shown.pixels, sr)
    assert np.allclose(remembered, luma(sr), atol=0.01)


def test_a_frame_with_no_kept_share_is_the_weighted_mean():
    sr = noise(4 * HEIGHT, 4 * WIDTH)
    before = luma(noise(4 * HEIGHT, 4 * WIDTH, seed=1))
    _, remembered = fused_with(before, sr, 0.5, Fusion(kept=0, is_sharpened=False))
    assert np.allclose(remembered, (before + luma(sr)) / 2, atol=0.01)


@pytest.mark.parametrize("shade", [-40, 40])
def test_a_difference_of_local_means_is_ignored(shade):
    sr = np.full((4 * HEIGHT, 4 * WIDTH, 3), 120, np.uint8)
    shown, _ = fused_with(luma(sr) + shade, sr, 0.8, Fusion(kept=1))
    assert np.abs(shown.pixels.astype(int) - sr).max() <= 1


@pytest.mark.parametrize("height", [1, HALO, BAND, BAND + 1, 3 * BAND - 1])
def test_bands_cover_every_row_once(height):
    rows = [row for band in bands(grid(height, WIDTH)) for row in range(band.first, band.last)]
    assert rows == list(range(height))
    assert all(
        0 <= b.top <= b.first and b.last <= b.bottom <= height for b in bands(grid(height, WIDTH))
    )


SIZES = [
    {"scale": 1},
    {"scale": 1.37},
    {"scale": 2},
    {"scale": 7.5},
    {"width": 50, "height": 31, "fit": "cover"},
    {"width": 41, "height": 40, "fit": "cover"},
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", [1, FLOW_SCALE])
def test_planes_are_sampled_at_the_centres_of_sr_pixels(size, density):
    found = grid(HEIGHT, WIDTH, **size)
    y, x = np.mgrid[: density * found.rows.shown, : density * found.columns.shown]
    plane = np.float32(np.dstack([x + 0.5, y + 0.5]) / density)
    (band,) = bands(found)
    sampled = to_sr_grid(plane, band, found)
    assert sampled.shape == (found.height, found.width, 2)
    for axis, side in ((1, found.columns), (0, found.rows)):
        centres = float(side.start) + (np.arange(side.length) + 0.5) * float(side.pitch)
        inner = (centres > 1) & (centres < side.shown - 1)
        lines = np.moveaxis(sampled[..., 1 - axis], axis, 0)[inner]
        assert np.abs(lines - centres[inner, None]).max() < 0.02


@pytest.mark.parametrize(("scale", "count"), [(1, 3), (2, 3), (1.5, 1)])
def test_frames_of_fractional_factors_are_fused_as_a_whole(scale, count):
    assert len(list(bands(grid(2 * BAND + 1, WIDTH, scale=scale)))) == count


def test_memory_grows_with_the_frame_and_with_the_result():
    small, large, fractional, wide = (
        fusion_bytes(grid(100, width, scale=scale))
        for width, scale in ((100, 2), (100, 4), (100, 4.01), (200, 2))
    )
    assert small < large < fractional
    assert wide == 2 * small


def test_weakened_detail_is_restored():
    own = luma(noise(64, 80))
    weakened = own.mean() + 0.7 * (own - own.mean())
    assert sharpen(weakened, own).std() == pytest.approx(own.std(), rel=0.05)


def test_detail_is_never_weakened():
    own = luma(noise(64, 80))
    weak = own.mean() + 0.5 * (own - own.mean())
    assert np.allclose(sharpen(own, weak), own)


@pytest.mark.parametrize(("dtype", "step"), [(np.uint8, 1), (np.uint16, 257)])
def test_adding_clips_at_black_and_white(dtype, step):
    pixels = np.array([[[0, 100, 250]]], dtype) * dtype(step)
    brighter = add_to_channels(pixels, np.full((1, 1), 20, np.float32))
    darker = add_to_channels(pixels, np.full((1, 1), -20, np.float32))
    assert brighter.dtype == dtype
    assert (brighter // step).tolist() == [[[20, 120, 255]]]
    assert (darker // step).tolist() == [[[0, 80, 230]]]


def texture(shift_x=0.0, shift_y=0.0, height=TEXTURE_HEIGHT, width=TEXTURE_WIDTH):
    """Soft texture, moved right by `shift_x` and down by `shift_y` px."""
    large = cv2.resize(noise(40, 50)[..., 0], None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    move = np.array([[1, 0, shift_x - 60], [0, 1, shift_y - 60]], np.float64)
    return cv2.warpAffine(large, move, (width, height), flags=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (0.25, -0.5), (1.3, 0.6), (-4, 2), (9, -5)])
def test_a_shift_is_found_to_an_eighth_of_a_pixel(x, y):
    motion = find_motion(texture(x, y), texture())
    inner = motion.flow[2 * 16 : -2 * 16, 2 * 16 : -2 * 16].reshape(-1, 2)
    assert np.abs(np.median(inner, axis=0) + (x, y)).max() < 1 / 8


def test_pixels_from_outside_have_no_confidence():
    motion = find_motion(texture(-8, 0), texture())
    assert motion.confidence[:, -6:].max() == 0
    assert motion.confidence[16:-16, 16:-24].mean() > 0.9


def test_another_scene_has_low_confidence():
    other = cv2.flip(texture(), 1)
    assert find_motion(other, texture()).confidence.mean() < 0.5


@pytest.mark.parametrize("height", [1, 2, 5, 8, 15, 16, MIN_SIDE - 1, MIN_SIDE])
@pytest.mark.parametrize("width", [1, 3, 8, 47, 48, 200, 700])
def test_frames_of_any_shape_are_accepted(height, width):
    for first, second in ((height, width), (width, height)):
        present, before = (noise(first, second, seed=seed)[..., 0] for seed in (0, 1))
        motion = find_motion(present, before)
        assert motion.flow.shape == (FLOW_SCALE * first, FLOW_SCALE * second, 2)
        assert motion.confidence.shape == (first, second)
        assert np.isfinite(motion.flow).all()
        assert 0 <= motion.confidence.min() <= motion.confidence.max() <= 1


def test_motion_is_deterministic():
    first, second = (find_motion(texture(2, 1), texture()) for _ in range(2))
    assert np.array_equal(first.flow, second.flow)
    assert np.array_equal(first.confidence, second.confidence)


def test_warping_some_rows_equals_warping_all():
    plane = texture().astype(np.float32)
    flow = (
        np.random.default_rng(0).normal(0, 3, (TEXTURE_HEIGHT, TEXTURE_WIDTH, 2)).astype(np.float32)
    )
    whole = warp(plane, flow, LINEAR)
    assert np.array_equal(warp(plane, flow[20:30], LINEAR, top=20), whole[20:30])
