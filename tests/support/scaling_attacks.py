"""Pictures that show another one when they are reduced without antialiasing."""

import cv2
import numpy as np

from tests.support.photographs import photograph

ROUNDS = 10
"""Number of projections: clipping to levels undoes a part of each."""


def reduced(pixels, height, width, interpolation):
    """Reduce a picture, (H, W, 3) uint8, as OpenCV does: only some pixels are read."""
    return cv2.resize(pixels, (width, height), interpolation=interpolation)


def hide(hidden, visible, interpolation):
    """Return the picture nearest to `visible` that becomes `hidden` when it is reduced.

    Both are (H, W, 3) uint8. Reducing is linear, so the change of each channel is the least one
    that makes up for the difference.

    Source: Xiao et al. 2019, "Seeing is not believing", sec. 4.
    """
    rows, columns = (
        reduced_basis(of, to, interpolation)
        for of, to in zip(visible.shape[:2], hidden.shape[:2], strict=True)
    )
    back, across = np.linalg.pinv(rows), np.linalg.pinv(columns).T
    channels = np.moveaxis(visible, -1, 0).astype(float)
    for _ in range(ROUNDS):
        missing = np.moveaxis(hidden, -1, 0) - rows @ channels @ columns.T
        channels = np.clip(channels + back @ missing @ across, 0, 255)
    return np.rint(np.moveaxis(channels, 0, -1)).astype(np.uint8)


def reduced_basis(length, to, interpolation):
    """Return the matrix that reduces a line, (to, length)."""
    return cv2.resize(np.eye(length), (length, to), interpolation=interpolation)


def small_attack(height=192, width=256):
    """Return a dark picture that nearest-neighbour interpolation reduces to a bright one."""
    bright = photograph(1, height // 4, width // 4) // 4 + 160
    return hide(bright, photograph(2, height, width) // 2, cv2.INTER_NEAREST)
