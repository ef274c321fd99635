"""Everything a run needs to go on: weights, their average, the optimizer, the step.

One file, written beside its final name and then renamed, so that a run killed at any
moment finds either the checkpoint before or the one after.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Arrays = dict[str, list[np.ndarray]]


def save_checkpoint(path: Path, step: int, groups: Arrays) -> None:
    """Write named groups of arrays and the step; atomic on one file system."""
    flat = {
        f"{group}/{index}": array
        for group, arrays in groups.items()
        for index, array in enumerate(arrays)
    }
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, step=step, **flat)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path, groups: Sequence[str]) -> tuple[int, Arrays]:
    """The step and the named groups, as they were saved."""
    with np.load(path) as file:
        return int(file["step"]), {group: _group(file, group) for group in groups}


def _group(file, group):
    count = sum(name.startswith(f"{group}/") for name in file.files)
    return [file[f"{group}/{index}"] for index in range(count)]
