"""Decoding of an opened image into samples: colour and alpha apart, in the file's colour space.

Pillow decodes most files. It keeps only 8 bits of 16-bit colour, so imagecodecs decodes
16-bit PNG and TIFF. Only images that `core.images.header` has accepted come here.
"""

from typing import IO, NamedTuple

import imagecodecs
import numpy as np
from PIL import ImageFile, TiffImagePlugin

from core.errors import UnreadableImage
from core.images.header import (
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    MODES_16_BIT,
    PLANAR_CONFIGURATION,
    SEPARATE_PLANES,
    UPRIGHT,
    channels_beyond_pillow,
    is_grey,
    is_white_zero,
    raw_mode,
    turn_upright,
)
from core.pixels import LEVELS, LEVELS_16, PixelArray, Uint16Array

GREY, RGB, CMYK = "L", "RGB", "CMYK"
"""Kinds of colour, in Pillow's words."""

LEVELS_12 = 4095
"""Highest 12-bit level; Pillow does not scale 12-bit samples."""

HIGHEST_FEW_BITS = {"L;2": 3, "L;4": 15}
"""Highest level of 2-bit and 4-bit grey. Pillow scales all levels but the transparent one."""


class Samples(NamedTuple):
    """An upright picture in the colour space of its file.

    Attributes:
        kind: GREY, RGB or CMYK.
        colour: (H, W) uint8 or uint16 if grey; (H, W, 3) uint8 or uint16 if RGB; ink,
            (H, W, 4) uint8, if CMYK.
        alpha: opacity, (H, W) of the same type, the highest level opaque; None if opaque.
    """

    kind: str
    colour: PixelArray
    alpha: PixelArray | None

    def upright(self, orientation: int) -> "Samples":
        """Return the samples turned upright from a stored `orientation`."""
        alpha = None if self.alpha is None else turn_upright(self.alpha, orientation)
        return Samples(self.kind, turn_upright(self.colour, orientation), alpha)


def read_samples(image: ImageFile.ImageFile, file: IO[bytes], orientation: int) -> Samples:
    """Decode the first frame.

    Args:
        image: opened from `file`, and accepted by `core.images.header.check_samples`.
        file: positioned anywhere.
        orientation: how the picture is stored, from 1 to 8.

    Raises:
        UnreadableImage: if neither imagecodecs nor Pillow can decode the samples. Besides,
            whatever Pillow raises on damage.
    """
    layout, stored = channels_beyond_pillow(image), raw_mode(image)
    if layout is not None:
        file.seek(0)
        channels = _decode_16_bit(image, layout, file.read())
        if channels is not None:
            return _separate_alpha(channels).upright(orientation)
        _check_pillow_can_decode(stored)
    image.load()
    if image.format == "TIFF":  # Pillow has turned it
        orientation = UPRIGHT
    return _samples_of_pillow(image, stored).upright(orientation)


def _decode_16_bit(image: ImageFile.ImageFile, layout: str, data: bytes) -> Uint16Array | None:
    """Decode 16-bit PNG or TIFF with imagecodecs, black at level 0.

    Args:
        image: opened from `data`, not decoded.
        layout: channels, as returned by `channels_beyond_pillow`.
        data: the whole file.

    Returns:
        (H, W, C) uint16 in [0, 65535]: grey or RGB as stored, then alpha if there is any,
        not premultiplied. None if imagecodecs cannot decode the file: the caller then tries
        Pillow, which names the damage.
    """
    try:
        channels = _decode_with_imagecodecs(image, data)
    except Exception:  # the library raises many types
        return None
    if channels.dtype != np.uint16 or channels.shape[:2] != _stored_size(image):
        return None
    if is_white_zero(image):
        channels[..., 0] = LEVELS_16 - channels[..., 0]
    return _resolve_extra_channel(np.asarray(channels, np.uint16), layout)


def _decode_with_imagecodecs(image: ImageFile.ImageFile, data: bytes) -> PixelArray:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return imagecodecs.png_decode(data)
    channels = imagecodecs.tiff_decode(data, index=0)
    if channels.ndim == 2:
        return channels[..., None]
    is_planar = image.tag_v2.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
    return np.moveaxis(channels, 0, 2) if is_planar else channels


def _stored_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Return height and width as stored; Pillow swaps those of a sideways TIFF."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2[IMAGE_LENGTH], image.tag_v2[IMAGE_WIDTH]
    return image.height, image.width


def _resolve_extra_channel(channels: Uint16Array, layout: str) -> Uint16Array:
    """Undo premultiplied alpha (`a`), and drop a channel of unknown meaning (`X`)."""
    if layout.endswith("a"):
        return _divide_by_alpha(channels[..., : len(layout)])
    return channels[..., : len(layout) - 1] if layout.endswith("X") else channels


def _divide_by_alpha(channels: Uint16Array) -> Uint16Array:
    alpha = channels[..., -1:].astype(np.uint32)
    colour = (channels[..., :-1] * np.uint32(LEVELS_16) + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([np.minimum(colour, LEVELS_16), alpha], axis=2).astype(np.uint16)


def _check_pillow_can_decode(stored: str) -> None:
    """Refuse 16-bit planes: Pillow would read them as 8-bit ones."""
    if ";16" not in stored:
        raise UnreadableImage(
            "Image must be a whole, undamaged file. Received: planes that cannot be decoded."
        )


def _separate_alpha(channels: PixelArray) -> Samples:
    """Split (H, W, C) into colour and alpha: 1 is grey, 3 RGB, and 2 or 4 have alpha."""
    count = channels.shape[2]
    alpha = np.ascontiguousarray(channels[..., -1]) if count in (2, 4) else None
    if count < len(RGB):
        return Samples(GREY, np.ascontiguousarray(channels[..., 0]), alpha)
    return Samples(RGB, np.ascontiguousarray(channels[..., :3]), alpha)


def _samples_of_pillow(image: ImageFile.ImageFile, stored: str) -> Samples:
    """Return the samples of an image that Pillow has decoded."""
    if image.mode in MODES_16_BIT:
        return _samples_of_16_bit_grey(image, stored)
    if image.mode == CMYK:
        return Samples(CMYK, np.asarray(image), None)
    if stored in HIGHEST_FEW_BITS and "transparency" in image.info:
        image.info["transparency"] *= LEVELS // HIGHEST_FEW_BITS[stored]
    kind = GREY if is_grey(image) else RGB
    if not image.has_transparency_data:
        return Samples(kind, _array_in_mode(image, kind), None)
    return _separate_alpha(_array_in_mode(image, f"{kind}A"))


def _array_in_mode(image: ImageFile.ImageFile, mode: str) -> PixelArray:
    """Return the pixels in a mode of Pillow, without a copy if they are in it."""
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _samples_of_16_bit_grey(image: ImageFile.ImageFile, stored: str) -> Samples:
    levels = np.asarray(image).astype(np.uint16)
    transparent, alpha = image.info.get("transparency"), None
    if transparent is not None:
        alpha = np.where(levels == int(transparent), 0, LEVELS_16).astype(np.uint16)
    if stored == "I;12":
        levels = _uint16_from_12_bits(levels)
    return Samples(GREY, LEVELS_16 - levels if is_white_zero(image) else levels, alpha)


def _uint16_from_12_bits(levels: Uint16Array) -> Uint16Array:
    scaled = (levels.astype(np.uint32) * LEVELS_16 + LEVELS_12 // 2) // LEVELS_12
    return scaled.astype(np.uint16)
