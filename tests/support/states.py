"""Read and compare the saved state of runs."""

import numpy as np

from training.loop.run import CHECKPOINT, load_checkpoint

GROUPS = ["generator", "optimizer", "ema"]


def state(folder):
    """Return the step of a run in the first stage, and all its arrays."""
    step, groups = load_checkpoint(folder / CHECKPOINT, GROUPS)
    return step, [array for group in GROUPS for array in groups[group]]


def assert_same_state(folder, other_folder):
    """Check that the checkpoints of two runs hold the same arrays."""
    with np.load(folder / CHECKPOINT) as saved, np.load(other_folder / CHECKPOINT) as expected:
        assert sorted(saved.files) == sorted(expected.files)
        for name in saved.files:
            np.testing.assert_array_equal(saved[name], expected[name])
