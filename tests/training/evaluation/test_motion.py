import cv2
import numpy as np
import pytest

from core.temporal.fusion import find_motion
from tests.support.stand_ins import noise
from training.evaluation.motion import (
    find_motion_by_farneback,
    find_passage,
    flow_distance,
    perceived_flow,
    warping_error,
)

HEIGHT, WIDTH = 96, 128


def texture(shift=0.0):
    """Soft texture, (96, 128, 3) uint8, moved to the right by so many px."""
    large = cv2.resize(noise(40, 50), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    move = np.array([[1, 0, shift - 60], [0, 1, -60]], np.float64)
    return cv2.warpAffine(large, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def test_the_passage_leads_to_the_frame_before():
    passage = find_passage(texture(3), texture())
    inner = passage.flow[16:-16, 16:-16].reshape(-1, 2)
    assert np.median(inner, axis=0) == pytest.approx([-3, 0], abs=0.1)
    assert passage.is_seen[16:-16, 16:-16].mean() > 0.95
    assert not passage.is_seen[:, 0].any()


def test_a_clip_that_only_moves_has_little_warping_error():
    passage = find_passage(texture(3), texture())
    moved = warping_error(texture(3), texture(), passage)
    flickering = np.clip(
        texture(3) + np.random.default_rng(0).normal(0, 10, (HEIGHT, WIDTH, 1)), 0, 255
    )
    assert moved < 1e-4
    assert warping_error(flickering, texture(), passage) > 10 * moved


def test_the_warping_error_is_a_mean_square_of_the_unit_range():
    passage = find_passage(texture(), texture())
    black, dark = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.full((HEIGHT, WIDTH, 3), 51, np.uint8)
    assert warping_error(dark, black, passage) == pytest.approx(0.04)


def test_what_is_hidden_does_not_count():
    passage = find_passage(texture(), texture())
    passage.is_seen[:, : WIDTH // 2] = False
    changed = texture()
    changed[:, : WIDTH // 2] = 255 - changed[:, : WIDTH // 2]
    assert warping_error(changed, texture(), passage) < 1e-6


def test_the_distance_of_flows_is_in_pixels():
    slow, fast = perceived_flow(texture(1), texture()), perceived_flow(texture(3), texture())
    assert flow_distance(slow, slow) == 0
    assert flow_distance(slow[24:-24, 24:-24], fast[24:-24, 24:-24]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("side", [20, 96])
def test_farneback_finds_what_dis_finds(side):
    grey, before = (texture(shift)[:side, :, 0] for shift in (1.5, 0))
    one, other = (find(grey, before) for find in (find_motion, find_motion_by_farneback))
    assert one.flow.shape == other.flow.shape
    assert one.confidence.shape == other.confidence.shape
    gaps = np.abs(one.flow - other.flow)[8:-8, 24:-24]
    assert np.median(gaps) < 0.2
