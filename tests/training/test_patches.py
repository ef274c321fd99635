from itertools import islice

import numpy as np
import pytest

from tests.stand_ins import noise, repeat
from training.patches import PatchSampler
from training.photos import Pair


@pytest.fixture
def pairs():
    """Pairs whose HR is the LR with every pixel repeated, so that alignment shows."""
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


def test_batches_drawn_ahead_come_in_order_from_the_first_step(pairs):
    drawn = sampler(pairs)
    for step, (lr, _) in enumerate(islice(drawn.batches(30), 12), start=30):
        np.testing.assert_array_equal(lr, drawn.draw(step)[0])


def test_photographs_smaller_than_a_patch_are_left_out(pairs):
    assert len(sampler(pairs, patch=10).pairs) == 1
    with pytest.raises(ValueError, match="must be 52 px high and wide"):
        sampler(pairs, patch=13)
