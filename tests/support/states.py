"""Read the saved state of runs."""

from training.loop.run import CHECKPOINT, load_checkpoint

GROUPS = ["generator", "optimizer", "ema"]


def state(folder):
    """Return the step of a run in the first stage, and all its arrays."""
    step, groups = load_checkpoint(folder / CHECKPOINT, GROUPS)
    return step, [array for group in GROUPS for array in groups[group]]
