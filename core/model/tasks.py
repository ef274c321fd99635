"""Tasks for the scheduler: what is computed of one tile, and in which order."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from core.model.card import ModelCard
from core.model.restorer import Restoration
from core.model.tiles import Network, Tile
from core.picture import Picture
from core.pixels import PixelArray, grey_from_rgb, pixels_from_levels
from core.runtime.tile_tasks import TileTask

ComputeTile = Callable[[Tile], PixelArray]
"""Function that computes a tile."""


def upscaling_tasks(row: list[Tile], upscale: ComputeTile) -> list[TileTask]:
    """Return the tasks that upscale tiles."""
    return [TileTask(partial(upscale, tile), tile.window.pixels) for tile in row]


def restoring_tasks(tiles: list[Tile], restore: ComputeTile, cost: float) -> list[TileTask]:
    """Return the tasks that restore tiles; `cost` is that of an LR pixel, 1 for upscaling it."""
    works = [math.ceil(cost * tile.window.pixels) for tile in tiles]
    return [TileTask(partial(restore, tile), work) for tile, work in zip(tiles, works, strict=True)]


def relative_cost(card: ModelCard, other: ModelCard) -> float:
    """Return the arithmetic of a network for an LR pixel, in units of that of another."""
    if not card.mflop_per_lr_pixel or not other.mflop_per_lr_pixel:
        return 1.0
    return card.mflop_per_lr_pixel / other.mflop_per_lr_pixel


def upscale_tile(
    lr: Picture,
    tile: Tile,
    network: Network,
    scale: int,
    restoration: Restoration | None = None,
    restored: Network | None = None,
) -> PixelArray:
    """Return the SR core of a tile, (scale*h, scale*w, C), with alpha if the picture has any.

    Args:
        lr: LR picture.
        tile: tile of the picture.
        network: maps an LR window to an SR window.
        scale: SR pixels per LR pixel, on each side.
        restoration: of the picture, with the rows of the window; None to upscale `lr` itself.
        restored: maps a restored window of float32 levels to SR levels; None for `network`.
    """
    if restoration is None:
        sr = tile.upscale(lr.pixels, network, scale)
    else:
        levels = np.asarray((restored or network)(restoration.crop(tile.window)), np.float32)
        sr = pixels_from_levels(tile.crop_core(levels, scale), lr.pixels.dtype)
    if lr.is_grey:
        sr = grey_from_rgb(sr)
    if lr.alpha is None:
        return sr
    return np.concatenate([sr, upscale_alpha(lr.alpha, tile, network, scale)], axis=2)


def upscale_alpha(alpha: PixelArray, tile: Tile, network: Network, scale: int) -> PixelArray:
    """Return the SR alpha of a tile's core, with edges as sharp as those of the colour.

    The network sees alpha as a grey picture. No SR pixel leaves the range of the 3x3 LR pixels
    around it, so transparent and opaque areas stay so.

    Args:
        alpha: alpha of the LR picture, (H, W) uint8 or uint16.
        tile: tile of the picture.
        network: maps an LR window to an SR window.
        scale: SR pixels per LR pixel, on each side.

    Returns:
        (scale*h, scale*w, 1), of the type of `alpha`.
    """
    window = tile.window.crop(alpha)
    if window.min() == window.max():
        shape = (scale * tile.core.height, scale * tile.core.width, 1)
        return np.full(shape, window[0, 0], alpha.dtype)
    coloured = np.repeat(window[..., None], 3, axis=2)
    sr = grey_from_rgb(network(coloured).astype(alpha.dtype, copy=False))[..., 0]
    low, high = (
        repeat_pixels(neighbour_extreme(window, extreme), scale)
        for extreme in (np.minimum, np.maximum)
    )
    core = tile.core.relative_to(tile.window).scaled(scale)
    return core.crop(np.clip(sr, low, high))[..., None]


def neighbour_extreme(pixels: PixelArray, extreme: np.ufunc) -> PixelArray:
    """Return the extreme of every pixel (H, W) and its eight neighbours, (H, W).

    Args:
        pixels: (H, W).
        extreme: np.minimum or np.maximum.
    """
    framed = np.pad(pixels, 1, mode="edge")
    rows = extreme(extreme(framed[:-2], framed[1:-1]), framed[2:])
    extremes: PixelArray = extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return extremes


def repeat_pixels(pixels: PixelArray, scale: int) -> PixelArray:
    """Repeat every pixel as a block, (H, W) -> (scale*H, scale*W)."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
