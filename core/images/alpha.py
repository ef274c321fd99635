"""Colour under transparent pixels.

A file may hold any colour there, often black or white, which would bleed into visible
pixels. It is replaced by the colour of the visible pixels around, so that neither the
network nor interpolation meets an edge that nobody sees.

Source: Gortler et al. 1996, The Lumigraph, sec. 3.4 (push-pull), doi:10.1145/237170.237200.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from core.pixels import Float32Array, PixelArray

TRUSTED = 1 / 8
"""Opacity from which a pixel keeps its colour. Below, the colour of 8 bits that was once
premultiplied is known to 4 levels or worse; it counts in proportion to its opacity."""

STRIP_PIXELS = 250_000
"""Number of pixels processed at a time at full resolution: floats take much memory."""

MIN_WEIGHT = np.float32(1e-9)
"""Far below the opacity of the faintest pixel; prevents a division by zero."""


def fill_transparent(pixels: PixelArray, alpha: PixelArray) -> PixelArray:
    """Continue the visible colour under transparent pixels.

    Args:
        pixels: colour, (H, W, 3) uint8 in [0, 255] or uint16 in [0, 65535].
        alpha: opacity, (H, W) of the same type, the highest level opaque.

    Returns:
        (H, W, 3) of the same type. Pixels with an opacity of at least `TRUSTED` keep
        their exact colour; so do all pixels if none is visible.
    """
    highest = np.iinfo(pixels.dtype).max
    faint = alpha < TRUSTED * highest
    if not faint.any() or not alpha.any():
        return pixels
    coarse = _fill_level(*_halve_picture(pixels, alpha))
    filled = pixels.copy()
    for top, bottom in _strips(*alpha.shape):
        if (where := faint[top:bottom]).any():
            nearby = _enlarge_rows(coarse, top, bottom, alpha.shape[1])
            blended = _blend(nearby, pixels[top:bottom], alpha[top:bottom])
            np.copyto(filled[top:bottom], blended, casting="unsafe", where=where[..., None])
    return filled


def _blend(nearby: Float32Array, pixels: PixelArray, alpha: PixelArray) -> Float32Array:
    """Mix pixels with the colour nearby in proportion to their opacity, into `nearby`."""
    highest = np.iinfo(alpha.dtype).max
    trust = np.minimum(alpha * np.float32(1 / (TRUSTED * highest)), np.float32(1))[..., None]
    nearby *= 1 - trust
    nearby += pixels * trust
    return np.clip(np.rint(nearby, out=nearby), 0, highest, out=nearby)


def _strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield top and bottom of strips; all but the last have an even height."""
    rows = max(2, STRIP_PIXELS // width // 2 * 2)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _halve_picture(pixels: PixelArray, alpha: PixelArray) -> tuple[Float32Array, Float32Array]:
    """Sum 2 x 2 pixels: colour times opacity, and opacity, which is in [0, 1]."""
    height, width = (-(-side // 2) for side in alpha.shape)
    colour = np.empty((height, width, 3), np.float32)
    weight = np.empty((height, width), np.float32)
    for top, bottom in _strips(*alpha.shape):
        half = slice(top // 2, -(-bottom // 2))
        weighted = _weight_colour(pixels[top:bottom], alpha[top:bottom])
        colour[half], weight[half] = _halve(*weighted)
    return colour, weight


def _weight_colour(pixels: PixelArray, alpha: PixelArray) -> tuple[Float32Array, Float32Array]:
    weight = alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    return np.multiply(pixels, weight[..., None], dtype=np.float32), weight


def _halve(colour: Float32Array, weight: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Sum 2 x 2 pixels; beyond the border there are zeros."""
    return _sum_pairs(_sum_pairs(colour, 0), 1), _sum_pairs(_sum_pairs(weight, 0), 1)


def _sum_pairs(values: Float32Array, axis: int) -> Float32Array:
    values = values.swapaxes(0, axis)
    pairs = values[::2].copy()
    pairs[: len(values) // 2] += values[1::2]
    return pairs.swapaxes(0, axis)


def _fill_level(colour: Float32Array, weight: Float32Array) -> Float32Array:
    """Return the mean colour, (h, w, 3), filled from coarser levels where weight is below 1.

    Overwrites `colour`.
    """
    share = 1 / np.maximum(weight, MIN_WEIGHT)
    if weight.min() >= 1 or weight.size == 1:
        colour *= share[..., None]
        return colour
    coarse = _fill_level(*_halve(colour, weight))
    trust = np.minimum(weight, np.float32(1))
    colour *= (trust * share)[..., None]
    nearby = _enlarge_rows(coarse, 0, *weight.shape)
    nearby *= (1 - trust)[..., None]
    nearby += colour
    return nearby


def _enlarge_rows(coarse: Float32Array, top: int, bottom: int, width: int) -> Float32Array:
    """Return rows [top, bottom) of `coarse`, enlarged twice, bilinear; `top` is even."""
    first, last = max(top // 2 - 1, 0), min(-(-bottom // 2) + 1, len(coarse))
    size = (2 * coarse.shape[1], 2 * (last - first))
    fine = np.empty((bottom - top, width, 3), np.float32)
    for index, channel in enumerate(np.moveaxis(coarse[first:last], 2, 0)):
        enlarged = Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR)
        fine[..., index] = np.asarray(enlarged)[top - 2 * first : bottom - 2 * first, :width]
    return fine
