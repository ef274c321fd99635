from itertools import islice

import numpy as np
import pytest

from core.images import resize_bicubic
from core.pixels import unit_from_uint8
from tests.support.stand_ins import noise, repeat
from training.data.patches import PatchSampler, orient, orient_back
from training.data.photos import Pair, make_pair


@pytest.fixture
def pairs():
    """Pairs whose HR is LR with every pixel repeated, so that misalignment shows."""
    lrs = [noise(12, 20, seed=1), noise(30, 9, seed=2)]
    return [Pair(repeat(lr), lr) for lr in lrs]


def sampler(pairs, **changes):
    return PatchSampler(pairs, **({"patch": 8, "batch": 16, "seed": 5} | changes))


def test_lr_and_hr_patches_show_the_same_place_in_the_same_orientation(pairs):
    lr_batch, hr_batch = sampler(pairs).draw(0)
    assert lr_batch.shape == (16, 8, 8, 3)
    for lr, hr in zip(lr_batch, hr_batch, strict=True):
        np.testing.assert_array_equal(hr, repeat(lr))


def test_patches_are_unit_float32(pairs):
    for side in sampler(pairs).draw(0):
        assert side.dtype == np.float32
        assert side.min() >= 0
        assert 0.9 < side.max() <= 1


def test_all_eight_orientations_occur():
    lr = noise(8, 8)
    lr_batch, _ = sampler([Pair(repeat(lr), lr)], batch=100).draw(0)
    assert len({patch.tobytes() for patch in lr_batch}) == 8


def test_a_batch_depends_on_seed_and_step_alone(pairs):
    first, again = sampler(pairs).draw(7)[0], sampler(pairs).draw(7)[0]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, sampler(pairs).draw(8)[0])
    assert not np.array_equal(first, sampler(pairs, seed=6).draw(7)[0])


def test_a_batch_without_degradation_draws_only_photographs_positions_and_orientations(pairs):
    rng = np.random.default_rng((5, 7))  # seed, step
    chosen = rng.choice(2, 16, p=np.array([240, 270]) / 510)
    for received, lr in zip(sampler(pairs).draw(7)[0], [pairs[k].lr for k in chosen], strict=True):
        top, left = rng.integers(lr.shape[0] - 7), rng.integers(lr.shape[1] - 7)
        expected = orient(lr[top : top + 8, left : left + 8], rng.integers(4), rng.integers(2))
        np.testing.assert_array_equal(received, unit_from_uint8(expected))


def test_batches_drawn_ahead_come_in_order_from_the_first_step(pairs):
    drawn = sampler(pairs)
    for step, (lr, _) in enumerate(islice(drawn.batches(30), 12), start=30):
        np.testing.assert_array_equal(lr, drawn.draw(step)[0])


def test_a_degraded_batch_depends_on_seed_and_step_alone(degradation):
    pairs = [make_pair(noise(80, 120))]
    first, again = (sampler(pairs, degradation=degradation).draw(7) for _ in range(2))
    for received, expected in zip(again, first, strict=True):
        np.testing.assert_array_equal(received, expected)
    assert not np.array_equal(first[0], sampler(pairs, degradation=degradation).draw(8)[0])


def test_degraded_patches_have_the_orientation_of_hr(degradation):
    pair = make_pair(resize_bicubic(noise(9, 12, seed=3), 144, 192))
    lr, hr = sampler([pair], batch=64, degradation=degradation).draw(0)
    clean = hr.reshape(64, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    oriented = [[orient(patch, k % 4, k // 4) for patch in clean] for k in range(8)]
    as_drawn, *otherwise = (np.abs(np.stack(patches) - lr).mean() for patches in oriented)
    assert as_drawn < 0.05 < 0.1 < min(otherwise)


def test_photographs_smaller_than_a_patch_are_left_out(pairs):
    assert len(sampler(pairs, patch=10).pairs) == 1
    with pytest.raises(ValueError, match="must be 52 px high and wide"):
        sampler(pairs, patch=13)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", range(2))
def test_orient_back_inverts_orient(turns, mirrored):
    pictures = np.random.default_rng(0).random((2, 6, 4, 3))
    turned = orient(pictures, turns, mirrored)
    assert turned.shape == ((2, 6, 4, 3) if turns % 2 == 0 else (2, 4, 6, 3))
    np.testing.assert_array_equal(orient_back(turned, turns, mirrored), pictures)


def test_the_eight_orientations_differ():
    pictures = np.random.default_rng(0).random((1, 4, 4, 1))
    seen = {orient(pictures, k, m).tobytes() for k in range(4) for m in range(2)}
    assert len(seen) == 8
