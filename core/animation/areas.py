"""Where something is true of a picture."""

import numpy as np
import numpy.typing as npt

from core.tiles import Box

BoolArray = npt.NDArray[np.bool_]


def bounds(mask: BoolArray) -> Box | None:
    """The smallest box around all that is true of (H, W); None if nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
