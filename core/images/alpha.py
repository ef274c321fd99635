"""Colour under transparent pixels, which would bleed into what is beside them.

A file may hold anything there, often black or white. It is replaced by what the visible
pixels around go on with, so that neither the network nor interpolation meets an edge that
nobody sees.

Source: Gortler et al. 1996, The Lumigraph, sec. 3.4 (push-pull), doi:10.1145/237170.237200.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from core.pixels import Float32Array, PixelArray

TRUSTED = 1 / 8
"""Opacity from which a pixel keeps its colour: below, 8 bits of it that were multiplied
with alpha are known to 4 levels or worse. Less opaque ones keep it in proportion."""

STRIP_PIXELS = 250_000
"""Worked on at a time, at full resolution: floating point takes much memory."""


LEAST_WEIGHT = np.float32(1e-9)
"""Far below the opacity of the faintest pixel: only keeps zero from being divided by."""


def fill_transparent(pixels: PixelArray, alpha: PixelArray) -> PixelArray:
    """Continue the visible colour under what is transparent.

    Args:
        pixels: colour, (H, W, 3) uint8 in [0, 255] or uint16 in [0, 65535].
        alpha: opacity, (H, W) of the same type, the highest level opaque.

    Returns:
        (H, W, 3) of the same type; where opacity is at least `TRUSTED`, the same to the
        last bit. All of it, if nothing is visible.
    """
    highest = np.iinfo(pixels.dtype).max
    faint = alpha < TRUSTED * highest
    if not faint.any() or not alpha.any():
        return pixels
    coarse = _complete(*_halve_picture(pixels, alpha))
    filled = pixels.copy()
    for top, bottom in _strips(*alpha.shape):
        if (where := faint[top:bottom]).any():
            nearby = _enlarge_rows(coarse, top, bottom, alpha.shape[1])
            blended = _blend(nearby, pixels[top:bottom], alpha[top:bottom])
            np.copyto(filled[top:bottom], blended, casting="unsafe", where=where[..., None])
    return filled


def _blend(nearby: Float32Array, pixels: PixelArray, alpha: PixelArray) -> Float32Array:
    """As much of its own colour as a pixel is trusted with, whole levels; in `nearby`."""
    highest = np.iinfo(alpha.dtype).max
    trust = np.minimum(alpha * np.float32(1 / (TRUSTED * highest)), np.float32(1))[..., None]
    nearby *= 1 - trust
    nearby += pixels * trust
    return np.clip(np.rint(nearby, out=nearby), 0, highest, out=nearby)


def _strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Top and bottom of strips of even height, but for the last."""
    rows = max(2, STRIP_PIXELS // width // 2 * 2)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _halve_picture(pixels: PixelArray, alpha: PixelArray) -> tuple[Float32Array, Float32Array]:
    """Sums over 2 x 2 pixels of colour times opacity, and of opacity in [0, 1]."""
    height, width = (-(-side // 2) for side in alpha.shape)
    colour = np.empty((height, width, 3), np.float32)
    weight = np.empty((height, width), np.float32)
    for top, bottom in _strips(*alpha.shape):
        half = slice(top // 2, -(-bottom // 2))
        weighed = _weigh(pixels[top:bottom], alpha[top:bottom])
        colour[half], weight[half] = _halve(*weighed)
    return colour, weight


def _weigh(pixels: PixelArray, alpha: PixelArray) -> tuple[Float32Array, Float32Array]:
    weight = alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    return np.multiply(pixels, weight[..., None], dtype=np.float32), weight


def _halve(colour: Float32Array, weight: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Sums over 2 x 2; beyond the border there is nothing."""
    return _sum_pairs(_sum_pairs(colour, 0), 1), _sum_pairs(_sum_pairs(weight, 0), 1)


def _sum_pairs(values: Float32Array, axis: int) -> Float32Array:
    values = values.swapaxes(0, axis)
    pairs = values[::2].copy()
    pairs[: len(values) // 2] += values[1::2]
    return pairs.swapaxes(0, axis)


def _complete(colour: Float32Array, weight: Float32Array) -> Float32Array:
    """Mean colour (h, w, 3) everywhere: from a coarser level where there is little here.

    Works in the memory of `colour`.
    """
    share = 1 / np.maximum(weight, LEAST_WEIGHT)
    if weight.min() >= 1 or weight.size == 1:
        colour *= share[..., None]
        return colour
    coarse = _complete(*_halve(colour, weight))
    trust = np.minimum(weight, np.float32(1))
    colour *= (trust * share)[..., None]
    nearby = _enlarge_rows(coarse, 0, *weight.shape)
    nearby *= (1 - trust)[..., None]
    nearby += colour
    return nearby


def _enlarge_rows(coarse: Float32Array, top: int, bottom: int, width: int) -> Float32Array:
    """Rows [top, bottom) of twice the size, bilinear; `top` is even."""
    first, last = max(top // 2 - 1, 0), min(-(-bottom // 2) + 1, len(coarse))
    size = (2 * coarse.shape[1], 2 * (last - first))
    fine = np.empty((bottom - top, width, 3), np.float32)
    for index, channel in enumerate(np.moveaxis(coarse[first:last], 2, 0)):
        enlarged = Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR)
        fine[..., index] = np.asarray(enlarged)[top - 2 * first : bottom - 2 * first, :width]
    return fine
