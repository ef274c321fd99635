"""Opacity, upscaled by the network that upscales colour, and kept honest."""

import numpy as np

from core.pixels import PixelArray, grey_from_rgb
from core.tiles import Network, Tile


def upscale_alpha(alpha: PixelArray, tile: Tile, network: Network, scale: int) -> PixelArray:
    """The SR opacity of a tile's core: sharp where colour is, flat where it was flat.

    The network sees opacity as a grey picture. No SR pixel leaves the range of the 3x3
    LR pixels around it, so what is fully transparent, or opaque, stays so.

    Args:
        alpha: of the LR picture, (H, W) uint8 or uint16.
        tile: of the picture.
        network: LR window (h, w, 3) -> SR window, of the same type.
        scale: SR pixels per LR pixel, on each side.

    Returns:
        (scale*h, scale*w, 1), of the type of `alpha`.
    """
    window = tile.window.crop(alpha)
    if window.min() == window.max():
        shape = (scale * tile.core.height, scale * tile.core.width, 1)
        return np.full(shape, window[0, 0], alpha.dtype)
    seen = np.repeat(window[..., None], 3, axis=2)
    sr = grey_from_rgb(network(seen))[..., 0]
    low, high = (repeat(reach(window, extreme), scale) for extreme in (np.minimum, np.maximum))
    inner = tile.core.relative_to(tile.window).scaled(scale)
    return inner.crop(np.clip(sr, low, high))[..., None]


def reach(pixels: PixelArray, extreme: np.ufunc) -> PixelArray:
    """The extreme of every pixel (H, W) and its eight neighbours."""
    framed = np.pad(pixels, 1, mode="edge")
    rows = extreme(extreme(framed[:-2], framed[1:-1]), framed[2:])
    reached: PixelArray = extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return reached


def repeat(pixels: PixelArray, scale: int) -> PixelArray:
    """(H, W) -> (scale*H, scale*W), every pixel a block."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
