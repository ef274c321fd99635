"""Rows of a picture that is computed from top to bottom, as far as they are still needed."""

import threading
from typing import Generic

import numpy as np
import numpy.typing as npt

from core.model.tiles import Box, Scalar


class RowBand(Generic[Scalar]):
    """Consecutive rows of a picture, (h, W, C).

    One thread adds rows below, others read rows and release them above.
    """

    def __init__(self) -> None:
        self._strips: list[tuple[int, npt.NDArray[Scalar]]] = []
        self._bottom = 0
        self._changed = threading.Lock()

    @property
    def rows_held(self) -> int:
        """Number of rows that are in memory."""
        return sum(len(rows) for _, rows in self._strips)

    def append(self, rows: npt.NDArray[Scalar]) -> None:
        """Add the next rows, (h, W, C)."""
        with self._changed:
            self._strips.append((self._bottom, rows))
            self._bottom += len(rows)

    def crop(self, box: Box) -> npt.NDArray[Scalar]:
        """Return a part of the picture, (h, w, C); its rows must be there."""
        with self._changed:
            strips = list(self._strips)
        parts = [
            rows[max(box.top - top, 0) : box.bottom - top, box.left : box.right]
            for top, rows in strips
            if top < box.bottom and top + len(rows) > box.top
        ]
        return np.concatenate(parts)

    def release(self, top: int) -> None:
        """Forget all rows above `top`, as far as they were added together."""
        with self._changed:
            self._strips = [
                (first, rows) for first, rows in self._strips if first + len(rows) > top
            ]
