"""Runs as they are saved."""

from training.checkpoint import load_checkpoint
from training.run import CHECKPOINT

GROUPS = ["generator", "optimizer", "ema"]


def state(folder):
    """The step of a run in the first stage, and all its arrays."""
    step, groups = load_checkpoint(folder / CHECKPOINT, GROUPS)
    return step, [array for group in GROUPS for array in groups[group]]
