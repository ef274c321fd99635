"""Pixel ranges, and the only conversions between them.

The name of a range is part of the name of a function: `uint8` is [0, 255], `uint16`
is [0, 65535], `levels` is [0, 255] with fractions, `unit` is [0, 1]. Serving and
training convert here and nowhere else. A range belongs to the type, never to the
picture: a dark picture stays dark.
"""

import numpy as np
from numpy.typing import NDArray

LEVELS = 255  # highest 8-bit level
LEVELS_16 = 65535  # highest 16-bit level
STEP = LEVELS_16 // LEVELS  # 16-bit levels in one 8-bit level

Uint8Array = NDArray[np.uint8]
Uint16Array = NDArray[np.uint16]
PixelArray = NDArray[np.uint8 | np.uint16]
Float32Array = NDArray[np.float32]


def unit_from_uint8(pixels: Uint8Array) -> Float32Array:
    """[0, 255] uint8 -> [0, 1] float32, any shape."""
    return pixels.astype(np.float32) / np.float32(LEVELS)


def uint8_from_unit(pixels: Float32Array) -> Uint8Array:
    """[0, 1] float32 -> [0, 255] uint8, clipped and rounded to the nearest level."""
    levels = np.clip(np.rint(pixels * np.float32(LEVELS)), 0, LEVELS)
    return np.asarray(levels, np.uint8)


def levels_from_uint16(pixels: Uint16Array) -> Float32Array:
    """[0, 65535] uint16 -> [0, 255] float32, any shape."""
    return pixels.astype(np.float32) / np.float32(STEP)


def uint16_from_levels(pixels: Float32Array) -> Uint16Array:
    """[0, 255] float32 -> [0, 65535] uint16, clipped and rounded to the nearest level."""
    levels = np.clip(np.rint(pixels * np.float32(STEP)), 0, LEVELS_16)
    return np.asarray(levels, np.uint16)


def grey_from_rgb(pixels: PixelArray) -> PixelArray:
    """(..., 3) -> (..., 1), the mean of the channels, of the same type."""
    total = pixels.sum(axis=-1, keepdims=True, dtype=np.uint32)
    grey: PixelArray = ((total + 1) // 3).astype(pixels.dtype)
    return grey


def uint8_from_uint16(pixels: Uint16Array) -> Uint8Array:
    """[0, 65535] uint16 -> [0, 255] uint8, rounded to the nearest level."""
    return ((pixels.astype(np.uint32) + STEP // 2) // STEP).astype(np.uint8)
