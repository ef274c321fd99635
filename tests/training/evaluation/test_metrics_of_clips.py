import cv2
import numpy as np
import pytest

from core.images import resize_bicubic
from tests.support.stand_ins import noise
from training.evaluation.metrics import (
    ClipMetrics,
    estimate_motion,
    farneback_flow,
    flow_distance,
    warping_error,
)

HEIGHT, WIDTH = 96, 128


def texture(shift=0.0):
    """Return soft texture, (96, 128, 3) uint8, moved to the right by `shift` px."""
    large = cv2.resize(noise(40, 50), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    move = np.array([[1, 0, shift - 60], [0, 1, -60]], np.float64)
    return cv2.warpAffine(large, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def test_the_motion_leads_to_the_frame_before():
    motion = estimate_motion(texture(3), texture())
    inner = motion.flow[16:-16, 16:-16].reshape(-1, 2)
    assert np.median(inner, axis=0) == pytest.approx([-3, 0], abs=0.1)
    assert motion.is_visible[16:-16, 16:-16].mean() > 0.95
    assert not motion.is_visible[:, 0].any()


def test_a_clip_that_only_moves_has_little_warping_error():
    motion = estimate_motion(texture(3), texture())
    moved = warping_error(texture(3), texture(), motion)
    flickering = np.clip(
        texture(3) + np.random.default_rng(0).normal(0, 10, (HEIGHT, WIDTH, 1)), 0, 255
    )
    assert moved < 1e-4
    assert warping_error(flickering, texture(), motion) > 10 * moved


def test_the_warping_error_is_a_mean_square_of_the_unit_range():
    motion = estimate_motion(texture(), texture())
    black, dark = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.full((HEIGHT, WIDTH, 3), 51, np.uint8)
    assert warping_error(dark, black, motion) == pytest.approx(0.04)


def test_occluded_pixels_do_not_count():
    motion = estimate_motion(texture(), texture())
    motion.is_visible[:, : WIDTH // 2] = False
    changed = texture()
    changed[:, : WIDTH // 2] = 255 - changed[:, : WIDTH // 2]
    assert warping_error(changed, texture(), motion) < 1e-6


def test_the_distance_of_flows_is_in_pixels():
    slow, fast = farneback_flow(texture(1), texture()), farneback_flow(texture(3), texture())
    assert flow_distance(slow, slow) == 0
    assert flow_distance(slow[24:-24, 24:-24], fast[24:-24, 24:-24]) == pytest.approx(2, abs=0.3)


def sliding(step):
    """Return soft texture that moves to the left by `step` px a frame, (4, 64, 80, 3) uint8."""
    wide = resize_bicubic(noise(11, 20), 88, 160)
    return np.stack([wide[12:-12, n * step : n * step + 80] for n in range(4)])


def test_a_copy_of_hr_has_the_warping_error_of_hr_and_almost_no_tof():
    hr = sliding(2)
    metrics = ClipMetrics(hr, None)
    alone = metrics.measure(hr)
    assert list(alone) == ["warping_error"]
    nearly = [np.clip(frame.astype(int) + 1, 0, 255).astype(np.uint8) for frame in hr]
    figures = metrics.measure(nearly)
    assert figures["warping_error"] == pytest.approx(alone["warping_error"], rel=0.1)
    assert figures["tof_px"] < 0.05


def test_flicker_raises_warping_error_and_tof():
    hr = sliding(2)
    metrics = ClipMetrics(hr, None)
    drawn = np.random.default_rng(0).normal(0, 8, hr.shape)
    flickering = list(np.clip(hr + drawn, 0, 255).astype(np.uint8))
    steady = list(np.clip(hr.astype(int) + 1, 0, 255).astype(np.uint8))
    noisy, clean = metrics.measure(flickering), metrics.measure(steady)
    assert noisy["warping_error"] > 3 * clean["warping_error"]
    assert noisy["tof_px"] > 3 * clean["tof_px"]
