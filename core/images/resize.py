"""Resizing of whole pictures, and bicubic interpolation of some of their rows."""

import numpy as np
from PIL import Image

from core.pixels import LEVELS_16, PixelArray, Uint8Array, Uint16Array

BICUBIC_RADIUS = 2
"""Radius of the kernel, LR px. Source: Keys 1981, as for `resize_bicubic`."""

RESIZE_KERNELS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Kernels by name. Source: Turkowski 1990, "Filters for common resampling tasks", as in Pillow."""


def resize_with_kernel(pixels: Uint8Array, height: int, width: int, kernel: str) -> Uint8Array:
    """Resize with any kernel, antialiased if the result is smaller.

    Args:
        pixels: (H, W, 3) uint8 in [0, 255].
        height: height of the result.
        width: width of the result.
        kernel: one of `RESIZE_KERNELS`.

    Returns:
        (height, width, 3) uint8.
    """
    resized = Image.fromarray(pixels).resize((width, height), RESIZE_KERNELS[kernel])
    return np.asarray(resized)


def resize_bicubic(
    pixels: PixelArray,
    height: int,
    width: int,
    box: tuple[float, float, float, float] | None = None,
) -> PixelArray:
    """Resize by bicubic interpolation, antialiased if the result is smaller.

    Args:
        pixels: (H, W) or (H, W, 3) uint8 in [0, 255] or uint16 in [0, 65535].
        height: height of the result.
        width: width of the result.
        box: left, top, right and bottom edge of the part of 8-bit pixels that is resized, in
            pixels; None for all of them.

    Returns:
        (height, width) or (height, width, 3) of the same type and range.

    Source: Keys 1981, doi:10.1109/TASSP.1981.1163711, a = -0.5, as MATLAB's `imresize`.
    """
    if pixels.dtype == np.uint16:
        return _resize_uint16(pixels, height, width)
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, box)
    return np.asarray(resized)


def _resize_uint16(pixels: PixelArray, height: int, width: int) -> Uint16Array:
    """Resize in floating point: Pillow clips 16-bit samples between its two passes."""
    if pixels.ndim == 3:
        channels = np.moveaxis(pixels, 2, 0)
        return np.dstack([_resize_uint16(channel, height, width) for channel in channels])
    image = Image.fromarray(pixels.astype(np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(np.clip(np.rint(resized), 0, LEVELS_16), np.uint16)


def resize_bicubic_rows(pixels: PixelArray, scale: int, top: int, bottom: int) -> PixelArray:
    """Return rows [top, bottom) of `resize_bicubic(pixels, scale*H, scale*W)` alone.

    They are identical to the last bit. This holds for integer factors only: with others,
    the shape decides which side Pillow resizes first.

    Args:
        pixels: (H, W) or (H, W, 3) uint8 in [0, 255] or uint16 in [0, 65535].
        scale: SR pixels per LR pixel, on each side.
        top: first row, at least 0.
        bottom: row after the last one, at most scale*H.

    Returns:
        (bottom - top, scale*W) or (bottom - top, scale*W, 3) of the same type and range.

    Raises:
        ValueError: if there are no such rows.
    """
    height, width = pixels.shape[:2]
    if not 0 <= top < bottom <= scale * height:
        raise ValueError(f"Rows must be some of [0, {scale * height}). Received: [{top}, {bottom})")
    first = max(top // scale - BICUBIC_RADIUS, 0)
    last = min(-(-bottom // scale) + BICUBIC_RADIUS, height)
    resized = resize_bicubic(pixels[first:last], scale * (last - first), scale * width)
    return resized[top - scale * first : bottom - scale * first]
