"""Array types of pixels, and the only conversions between pixel ranges.

A function names the ranges that it converts between:

- `uint8`: integers in [0, 255]
- `uint16`: integers in [0, 65535]
- `levels`: floats in [0, 255], with fractions; `pixels` are of either integer type
- `unit`: floats in [0, 1]

The range belongs to the type, never to the picture: a dark picture stays dark. Serving
and training both convert with these functions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 255
"""Highest 8-bit level: white, or opaque."""

LEVELS_16 = 65535
"""Highest 16-bit level: white, or opaque."""

STEP = LEVELS_16 // LEVELS
"""Number of 16-bit levels in one 8-bit level: 257."""

Uint8Array = NDArray[np.uint8]
Uint16Array = NDArray[np.uint16]
PixelArray = NDArray[np.uint8 | np.uint16]
Float32Array = NDArray[np.float32]
WindowArray = NDArray[np.uint8 | np.uint16 | np.float32]
"""What networks map to the same type: pixels, or float32 levels that are not rounded."""


def unit_from_uint8(pixels: Uint8Array) -> Float32Array:
    """Convert [0, 255] uint8 of any shape to [0, 1] float32."""
    return pixels.astype(np.float32) / np.float32(LEVELS)


def uint8_from_unit(pixels: Float32Array) -> Uint8Array:
    """Convert [0, 1] float32 to [0, 255] uint8, clipped and rounded to the nearest level."""
    levels = np.clip(np.rint(pixels * np.float32(LEVELS)), 0, LEVELS)
    return np.asarray(levels, np.uint8)


def levels_from_uint16(pixels: Uint16Array) -> Float32Array:
    """Convert [0, 65535] uint16 of any shape to [0, 255] float32."""
    return pixels.astype(np.float32) / np.float32(STEP)


def uint16_from_levels(pixels: Float32Array) -> Uint16Array:
    """Convert [0, 255] float32 to [0, 65535] uint16, clipped and rounded to the nearest level."""
    levels = np.clip(np.rint(pixels * np.float32(STEP)), 0, LEVELS_16)
    return np.asarray(levels, np.uint16)


def levels_from_pixels(pixels: PixelArray) -> Float32Array:
    """Convert uint8 or uint16 of any shape to [0, 255] float32."""
    if pixels.dtype == np.uint16:
        return levels_from_uint16(np.asarray(pixels, np.uint16))
    return pixels.astype(np.float32)


def pixels_from_levels(levels: Float32Array, dtype: np.dtype[Any]) -> PixelArray:
    """Convert [0, 255] float32 to uint8 or uint16, clipped and rounded to the nearest level."""
    if dtype == np.uint16:
        return uint16_from_levels(levels)
    return np.asarray(np.clip(np.rint(levels), 0, LEVELS), np.uint8)


def to_uint8(pixels: PixelArray) -> Uint8Array:
    """Convert uint16 to uint8, rounded to the nearest level; return uint8 as it is."""
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + STEP // 2) // STEP).astype(np.uint8)
    return np.asarray(pixels, np.uint8)


def to_uint16(pixels: PixelArray) -> Uint16Array:
    """Convert uint8 to the same levels in uint16; return uint16 as it is."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * np.uint16(STEP)
    return np.asarray(pixels, np.uint16)


def grey_from_rgb(pixels: PixelArray) -> PixelArray:
    """Convert (..., 3) to (..., 1) of the same type: the rounded mean of the channels."""
    total = pixels.sum(axis=-1, keepdims=True, dtype=np.uint32)
    grey: PixelArray = ((total + 1) // 3).astype(pixels.dtype)
    return grey


def flatten_on_white(pixels: Uint8Array, alpha: Uint8Array) -> Uint8Array:
    """Composite a picture over white, in sRGB levels as browsers do.

    Args:
        pixels: colour, (H, W, C) uint8, not premultiplied with alpha.
        alpha: opacity, (H, W) uint8, 255 opaque.

    Returns:
        (H, W, C) uint8.
    """
    opacity = alpha[..., np.newaxis].astype(np.uint16)
    mixed = pixels * opacity + LEVELS * (LEVELS - opacity)  # at most 255 * 255: fits
    return ((mixed + LEVELS // 2) // LEVELS).astype(np.uint8)
