"""Opacity that is all or nothing: a contour, which is made smooth.

The network has learned photographs, and makes such an edge ragged, with dots beside it.
"""

from dataclasses import replace

import numpy as np

from core.clips import UpscalePicture
from core.images.resizing import resize_bicubic
from core.picture import Picture
from core.pixels import LEVELS, PixelArray, Uint8Array

STEEPNESS = 2
"""By which the slope of an interpolated edge is too gentle for one that was sharp."""


def with_contours(upscale: UpscalePicture) -> UpscalePicture:
    """The same, but that the opacity of pictures which are opaque or not is interpolated."""

    def upscale_with_contours(picture: Picture) -> Picture:
        sr = upscale(picture)
        if picture.alpha is None or not _is_mask(picture.alpha):
            return sr
        return replace(sr, alpha=enlarge_mask(picture.alpha, sr.height, sr.width))

    return upscale_with_contours


def enlarge_mask(mask: PixelArray, height: int, width: int) -> Uint8Array:
    """A larger one with smooth contours, which run where they did.

    Args:
        mask: (H, W) uint8, 0 or 255.
        height, width: of the result.

    Returns:
        (height, width) uint8, in between only at the edge itself.
    """
    gentle = resize_bicubic(mask, height, width).astype(np.float32)
    middle = LEVELS / 2
    steep = np.clip((gentle - middle) * STEEPNESS + middle, 0, LEVELS)
    return np.asarray(np.rint(steep), np.uint8)


def _is_mask(alpha: PixelArray) -> bool:
    return bool(((alpha == 0) | (alpha == LEVELS)).all())
