"""Colour under transparent pixels.

A file may hold any colour there, often black or white, which would bleed into visible
pixels. It is replaced by the colour of the visible pixels around, so that neither the
network nor interpolation meets an edge that nobody sees.

Source: Gortler et al. 1996, The Lumigraph, sec. 3.4 (push-pull), doi:10.1145/237170.237200.
"""

import numpy as np
from PIL import Image

from core.picture import BLOCK_PIXELS, PixelRows
from core.pixels import Float32Array, PixelArray

TRUSTED = 1 / 8
"""Opacity from which a pixel keeps its colour. Below, the colour of 8 bits that was once
premultiplied is known to 4 levels or worse; it counts in proportion to its opacity."""

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
    rows = PixelRows.of(alpha)
    return filled_rows(PixelRows.of(pixels), rows, extremes(rows)).assemble()


def extremes(alpha: PixelRows) -> tuple[int, int]:
    """Return the lowest and the highest opacity."""
    levels = [(int(block.min()), int(block.max())) for block in alpha.blocks()]
    lowest, highest = zip(*levels, strict=True)
    return min(lowest), max(highest)


def filled_rows(pixels: PixelRows, alpha: PixelRows, range_: tuple[int, int]) -> PixelRows:
    """Continue the visible colour under transparent pixels, as `fill_transparent` does.

    Args:
        pixels: colour, (H, W, C). All rows are read at once, and again when they are asked for.
        alpha: opacity, (H, W) of the same type; likewise.
        range_: its `extremes`.
    """
    lowest, highest = range_
    if lowest >= TRUSTED * np.iinfo(alpha.dtype).max or not highest:
        return pixels
    coarse = _fill_level(*_halve_picture(pixels, alpha))

    def read(top: int, bottom: int) -> PixelArray:
        colour, opacity = pixels.read(top, bottom), alpha.read(top, bottom)
        faint = opacity < TRUSTED * np.iinfo(opacity.dtype).max
        if not faint.any():
            return colour
        nearby = _enlarge_rows(coarse, top, bottom, alpha.shape[1])
        filled = colour.copy()
        blended = _blend(nearby, colour, opacity)
        np.copyto(filled, blended, casting="unsafe", where=faint[..., None])
        return filled

    return PixelRows(pixels.shape, pixels.dtype, read)


def _blend(nearby: Float32Array, pixels: PixelArray, alpha: PixelArray) -> Float32Array:
    """Mix pixels with the colour nearby in proportion to their opacity, into `nearby`."""
    highest = np.iinfo(alpha.dtype).max
    trust = np.minimum(alpha * np.float32(1 / (TRUSTED * highest)), np.float32(1))[..., None]
    nearby *= 1 - trust
    nearby += pixels * trust
    return np.clip(np.rint(nearby, out=nearby), 0, highest, out=nearby)


def _halve_picture(pixels: PixelRows, alpha: PixelRows) -> tuple[Float32Array, Float32Array]:
    """Sum 2 x 2 pixels: colour times opacity, and opacity, which is in [0, 1]."""
    height, width = (-(-side // 2) for side in alpha.shape)
    colour = np.empty((height, width, pixels.shape[2]), np.float32)
    weight = np.empty((height, width), np.float32)
    top = 0
    for block, opacity in zip(pixels.blocks(), alpha.blocks(), strict=True):
        half = slice(top // 2, -(-(top + len(block)) // 2))
        colour[half], weight[half] = _halve(*_weight_colour(block, opacity))
        top += len(block)
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
    """Return the mean colour, (h, w, C), filled from coarser levels where weight is below 1.

    Overwrites `colour` and returns it.
    """
    is_full = weight.min() >= 1 or weight.size == 1
    coarse = None if is_full else _fill_level(*_halve(colour, weight))
    rows = max(1, BLOCK_PIXELS // weight.shape[1])
    for top in range(0, len(weight), rows):
        block, weights = colour[top : top + rows], weight[top : top + rows]
        share = 1 / np.maximum(weights, MIN_WEIGHT)
        if coarse is None:
            block *= share[..., None]
            continue
        trust = np.minimum(weights, np.float32(1))
        block *= (trust * share)[..., None]
        nearby = _enlarge_rows(coarse, top, top + len(block), weight.shape[1])
        nearby *= (1 - trust)[..., None]
        block += nearby
    return colour


def _enlarge_rows(coarse: Float32Array, top: int, bottom: int, width: int) -> Float32Array:
    """Return rows [top, bottom) of `coarse`, enlarged twice, bilinear."""
    first, last = max(top // 2 - 1, 0), min(-(-bottom // 2) + 1, len(coarse))
    size = (2 * coarse.shape[1], 2 * (last - first))
    fine = np.empty((bottom - top, width, coarse.shape[2]), np.float32)
    for index, channel in enumerate(np.moveaxis(coarse[first:last], 2, 0)):
        enlarged = Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR)
        fine[..., index] = np.asarray(enlarged)[top - 2 * first : bottom - 2 * first, :width]
    return fine
