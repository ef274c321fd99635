"""Samples of 16 bits, of which Pillow keeps 8: PNG and TIFF through imagecodecs.

Only what Pillow has opened and found within the limits comes here.
"""

import imagecodecs
import numpy as np
from PIL import ImageFile, TiffImagePlugin

from core.images.kinds import (
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    PLANAR_CONFIGURATION,
    SEPARATE_PLANES,
    is_negative,
)
from core.pixels import LEVELS_16, PixelArray, Uint16Array


def decode_deep(image: ImageFile.ImageFile, kind: str, data: bytes) -> Uint16Array | None:
    """The picture as it lies in the file, black at level 0; None if it cannot be had.

    Args:
        image: opened from `data`, not decoded.
        kind: of its channels, as `core.images.kinds.deep_kind` says.

    Returns:
        (H, W, C) uint16 in [0, 65535], grey or RGB, and alpha if there is any, which
        the colour is not multiplied with.
    """
    try:
        channels = _decode(image, data)
    except Exception:  # of many kinds; Pillow, which is asked next, says what is wrong
        return None
    if channels.dtype != np.uint16 or channels.shape[:2] != _stored_size(image):
        return None
    if is_negative(image):
        channels[..., 0] = LEVELS_16 - channels[..., 0]
    return _without_extras(np.asarray(channels, np.uint16), kind)


def _decode(image: ImageFile.ImageFile, data: bytes) -> PixelArray:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return imagecodecs.png_decode(data)
    channels = imagecodecs.tiff_decode(data, index=0)
    if channels.ndim == 2:
        return channels[..., None]
    is_apart = image.tag_v2.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
    return np.moveaxis(channels, 0, 2) if is_apart else channels


def _stored_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Height and width as in the file; Pillow swaps those of a TIFF on its side."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2[IMAGE_LENGTH], image.tag_v2[IMAGE_WIDTH]
    return image.height, image.width


def _without_extras(channels: Uint16Array, kind: str) -> Uint16Array:
    if kind.endswith("a"):
        return _divided_by_alpha(channels[..., : len(kind)])
    return channels[..., : len(kind) - 1] if kind.endswith("X") else channels


def _divided_by_alpha(channels: Uint16Array) -> Uint16Array:
    """Colour as it was before it was multiplied with alpha."""
    alpha = channels[..., -1:].astype(np.uint32)
    colour = (channels[..., :-1] * np.uint32(LEVELS_16) + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([np.minimum(colour, LEVELS_16), alpha], axis=2).astype(np.uint16)
