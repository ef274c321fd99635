import cv2
import numpy as np
import pytest

from core.temporal.fusion import FINER, LINEAR, MIN_SIDE, find_motion, warp
from tests.support.stand_ins import noise

HEIGHT, WIDTH = 64, 96


def texture(shift_x=0.0, shift_y=0.0, height=HEIGHT, width=WIDTH):
    """Soft texture, moved right and down by so many px."""
    large = cv2.resize(noise(40, 50)[..., 0], None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    move = np.array([[1, 0, shift_x - 60], [0, 1, shift_y - 60]], np.float64)
    return cv2.warpAffine(large, move, (width, height), flags=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (0.25, -0.5), (1.3, 0.6), (-4, 2), (9, -5)])
def test_a_shift_is_found_to_an_eighth_of_a_pixel(x, y):
    motion = find_motion(texture(x, y), texture())
    inner = motion.flow[2 * 16 : -2 * 16, 2 * 16 : -2 * 16].reshape(-1, 2)
    assert np.abs(np.median(inner, axis=0) + (x, y)).max() < 1 / 8


def test_what_was_outside_is_not_trusted():
    motion = find_motion(texture(-8, 0), texture())
    assert motion.trust[:, -6:].max() == 0
    assert motion.trust[16:-16, 16:-24].mean() > 0.9


def test_another_scene_is_not_trusted():
    other = cv2.flip(texture(), 1)
    assert find_motion(other, texture()).trust.mean() < 0.5


@pytest.mark.parametrize("height", [1, 2, 5, 8, 15, 16, MIN_SIDE - 1, MIN_SIDE])
@pytest.mark.parametrize("width", [1, 3, 8, 47, 48, 200, 700])
def test_frames_of_any_shape_are_taken(height, width):
    for first, second in ((height, width), (width, height)):
        present, before = (noise(first, second, seed=seed)[..., 0] for seed in (0, 1))
        motion = find_motion(present, before)
        assert motion.flow.shape == (FINER * first, FINER * second, 2)
        assert motion.trust.shape == (first, second)
        assert np.isfinite(motion.flow).all()
        assert 0 <= motion.trust.min() <= motion.trust.max() <= 1


def test_motion_is_always_the_same():
    first, second = (find_motion(texture(2, 1), texture()) for _ in range(2))
    assert np.array_equal(first.flow, second.flow)
    assert np.array_equal(first.trust, second.trust)


def test_warping_rows_is_warping_all():
    plane = texture().astype(np.float32)
    flow = np.random.default_rng(0).normal(0, 3, (HEIGHT, WIDTH, 2)).astype(np.float32)
    whole = warp(plane, flow, LINEAR)
    assert np.array_equal(warp(plane, flow[20:30], LINEAR, top=20), whole[20:30])
