"""Decoded samples in the colour space of the file, colour and alpha apart.

Samples of 16 bits, of which Pillow keeps 8: PNG and TIFF through imagecodecs.

Only what Pillow has opened and found within the limits comes here.
"""

from typing import IO, NamedTuple

import imagecodecs
import numpy as np
from PIL import ImageFile, TiffImagePlugin

from core.errors import UnreadableImage
from core.images.header import (
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    PLANAR_CONFIGURATION,
    SEPARATE_PLANES,
    UINT16_MODES,
    UPRIGHT,
    deep_kind,
    is_grey,
    is_negative,
    put_upright,
    raw_mode,
)
from core.pixels import LEVELS, LEVELS_16, PixelArray, Uint16Array


def decode_deep(image: ImageFile.ImageFile, kind: str, data: bytes) -> Uint16Array | None:
    """The picture as it lies in the file, black at level 0; None if it cannot be had.

    Args:
        image: opened from `data`, not decoded.
        kind: of its channels, as `core.images.header.deep_kind` says.

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


GREY, RGB, CMYK = "L", "RGB", "CMYK"
"""Kinds of colour, as Pillow calls them."""

LEVELS_12 = 4095
"""Highest 12-bit level: Pillow does not scale those."""

FEW_BITS = {"L;2": 3, "L;4": 15}
"""Highest level of grey that Pillow scales to 8 bits, all but the transparent one."""


class Samples(NamedTuple):
    """An upright picture in its own colour space.

    Attributes:
        kind: GREY, RGB or CMYK.
        colour: (H, W) uint8 or uint16 if grey, else (H, W, 3), or of ink (H, W, 4) uint8.
        alpha: (H, W) of the same type, the highest level opaque; None without.
    """

    kind: str
    colour: PixelArray
    alpha: PixelArray | None

    def turned(self, orientation: int) -> "Samples":
        """As it is upright, if it lies so."""
        alpha = None if self.alpha is None else put_upright(self.alpha, orientation)
        return Samples(self.kind, put_upright(self.colour, orientation), alpha)


def read_samples(image: ImageFile.ImageFile, file: IO[bytes], orientation: int) -> Samples:
    """Decode the first frame.

    Args:
        image: opened from `file`, and judged.
        orientation: how it lies there.
    """
    kind, stored = deep_kind(image), raw_mode(image)
    if kind is not None:
        file.seek(0)
        channels = decode_deep(image, kind, file.read())
        if channels is not None:
            return _apart(channels).turned(orientation)
        _check_pillow_can(stored)
    image.load()
    if image.format == "TIFF":  # Pillow has turned it
        orientation = UPRIGHT
    return _split(image, stored).turned(orientation)


def _check_pillow_can(stored: str) -> None:
    """It would take a plane of 16 bits for one of 8."""
    if ";16" not in stored:
        raise UnreadableImage(
            "Image must be a whole, undamaged file. Received: planes that cannot be decoded."
        )


def _apart(channels: PixelArray) -> Samples:
    """Grey or RGB, with alpha or without, by the number of channels."""
    count = channels.shape[2]
    alpha = np.ascontiguousarray(channels[..., -1]) if count in (2, 4) else None
    if count < len(RGB):
        return Samples(GREY, np.ascontiguousarray(channels[..., 0]), alpha)
    return Samples(RGB, np.ascontiguousarray(channels[..., :3]), alpha)


def _split(image: ImageFile.ImageFile, stored: str) -> Samples:
    if image.mode in UINT16_MODES:
        return _split_uint16(image, stored)
    if image.mode == CMYK:
        return Samples(CMYK, np.asarray(image), None)
    if stored in FEW_BITS and "transparency" in image.info:
        image.info["transparency"] *= LEVELS // FEW_BITS[stored]
    kind = GREY if is_grey(image) else RGB
    if not image.has_transparency_data:
        return Samples(kind, _channels(image, kind), None)
    return _apart(_channels(image, f"{kind}A"))


def _channels(image: ImageFile.ImageFile, mode: str) -> PixelArray:
    """In another mode if need be, since Pillow would copy it in any case."""
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _split_uint16(image: ImageFile.ImageFile, stored: str) -> Samples:
    levels = np.asarray(image).astype(np.uint16)
    transparent, alpha = image.info.get("transparency"), None
    if transparent is not None:
        alpha = np.where(levels == int(transparent), 0, LEVELS_16).astype(np.uint16)
    if stored == "I;12":
        levels = _scaled_12_bits(levels)
    return Samples(GREY, LEVELS_16 - levels if is_negative(image) else levels, alpha)


def _scaled_12_bits(levels: Uint16Array) -> Uint16Array:
    scaled = (levels.astype(np.uint32) * LEVELS_16 + LEVELS_12 // 2) // LEVELS_12
    return scaled.astype(np.uint16)
