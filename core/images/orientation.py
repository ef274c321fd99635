"""How a picture lies in its file, and how it is put upright.

Source: EXIF 2.32, section 4.6.4, tag Orientation.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from core.pixels import PixelArray

ORIENTATION = 0x0112
"""Tag of EXIF and TIFF."""

UPRIGHT = 1

TURNS: dict[int, Callable[[PixelArray], PixelArray]] = {
    2: lambda lying: lying[:, ::-1],
    3: lambda lying: lying[::-1, ::-1],
    4: lambda lying: lying[::-1],
    5: lambda lying: lying.swapaxes(0, 1),
    6: lambda lying: np.rot90(lying, -1),
    7: lambda lying: np.rot90(lying, 2).swapaxes(0, 1),
    8: lambda lying: np.rot90(lying),
}
"""From how the file has it to upright, by orientation."""

ON_ITS_SIDE = (5, 6, 7, 8)
"""Orientations that swap height and width."""


def read_orientation(image: ImageFile.ImageFile, exif: Image.Exif) -> int:
    """From 1 to 8; what is none of them is taken for upright.

    Args:
        image: not decoded yet.
        exif: what `core.images.exif.read_exif` found in it.
    """
    if image.format == "HEIF":  # libheif has turned it, and says how it lay
        return UPRIGHT
    orientation = exif.get(ORIENTATION)
    return orientation if orientation in TURNS else UPRIGHT


def upright_size(image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    """Height and width of the upright picture."""
    height, width = image.height, image.width
    if orientation not in ON_ITS_SIDE or _announces_upright_size(image):
        return height, width
    return width, height


def _announces_upright_size(image: ImageFile.ImageFile) -> bool:
    """Pillow's images of TIFF do, where the tag is one of the file's own."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return image.tag_v2.get(ORIENTATION) in ON_ITS_SIDE


def put_upright(lying: PixelArray, orientation: int) -> PixelArray:
    """Turn (H, W) or (H, W, C) as `orientation` says; a view where nothing is to be done."""
    turn = TURNS.get(orientation)
    return lying if turn is None else np.ascontiguousarray(turn(lying))
