"""Decoding of an opened image into samples: colour and alpha apart, in the file's colour space.

Pillow decodes most files. It keeps only 8 bits of deeper colour, so imagecodecs decodes 16-bit PNG
and TIFF and deep AVIF, and pillow-heif itself deep HEIC. Only images that `core.images.header` has
accepted come here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import imagecodecs
import numpy as np
import pillow_heif
from PIL import Image, ImageFile, TiffImagePlugin

from core.errors import UnreadableImage
from core.images.header import (
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    MODES_16_BIT,
    PLANAR_CONFIGURATION,
    SEPARATE_PLANES,
    SIDEWAYS,
    UPRIGHT,
    channels_beyond_pillow,
    is_grey,
    is_white_zero,
    raw_mode,
    stored_place,
    turn_upright,
)
from core.picture import PixelRows
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
    colour: PixelRows
    alpha: PixelRows | None


@dataclass(frozen=True)
class StoredSamples:
    """A picture as its decoder holds it. What is read of it is converted to usual samples.

    Attributes:
        kind: GREY, RGB or CMYK.
        has_alpha: whether there is opacity after the colour.
        height: number of stored rows.
        width: number of stored columns.
        dtype: type of the samples that are read, uint8 or uint16.
        read: returns the samples of rows and columns, (h, w, C) of this type.
    """

    kind: str
    has_alpha: bool
    height: int
    width: int
    dtype: np.dtype[Any]
    read: Callable[[slice, slice], PixelArray]

    def upright(self, orientation: int) -> Samples:
        """Return the samples turned upright from a stored `orientation`."""
        height, width = self.height, self.width
        if orientation in SIDEWAYS:
            height, width = width, height

        def rows_of(channels: int | slice, *shape: int) -> PixelRows:
            def read(top: int, bottom: int) -> PixelArray:
                stored = self.read(*stored_place(top, bottom, height, orientation))
                return turn_upright(stored[..., channels], orientation)

            return PixelRows((height, width, *shape), self.dtype, read)

        alpha = rows_of(-1) if self.has_alpha else None
        if self.kind == GREY:
            return Samples(GREY, rows_of(0), alpha)
        return Samples(self.kind, rows_of(slice(len(self.kind)), len(self.kind)), alpha)


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
        samples = _decode_16_bit(image, layout, file.read())
        if samples is not None:
            return samples.upright(orientation)
        _check_pillow_can_decode(stored)
    image.load()
    if image.format == "TIFF":  # Pillow has turned it
        orientation = UPRIGHT
    return _samples_of_pillow(image, stored).upright(orientation)


def _decode_16_bit(image: ImageFile.ImageFile, layout: str, data: bytes) -> StoredSamples | None:
    """Decode a picture of more than 8 bits without Pillow, black at level 0.

    Args:
        image: opened from `data`, not decoded.
        layout: channels, as returned by `channels_beyond_pillow`.
        data: the whole file.

    Returns:
        uint16 in [0, 65535]: grey or RGB as stored, then alpha if there is any, not
        premultiplied. None if imagecodecs cannot decode the file: the caller then tries
        Pillow, which names the damage.
    """
    try:
        channels = _decode_with_imagecodecs(image, data)
    except Exception:  # the library raises many types
        return None
    if channels.dtype != np.uint16 or channels.shape[:2] != _stored_size(image):
        return None
    is_inverted, bits = is_white_zero(image), _stored_bits(image)

    def read(rows: slice, columns: slice) -> PixelArray:
        block = np.asarray(channels[rows, columns], np.uint16)
        if bits < 16:
            block = np.asarray(block << (16 - bits) | block >> (2 * bits - 16), np.uint16)
        if is_inverted:
            block = np.concatenate([LEVELS_16 - block[..., :1], block[..., 1:]], axis=2)
        return _resolve_extra_channel(block, layout)

    height, width = channels.shape[:2]
    kept = read(slice(1), slice(1)).shape[2]
    kind = GREY if kept < len(RGB) else RGB
    return StoredSamples(kind, kept in (2, 4), height, width, channels.dtype, read)


def _decode_with_imagecodecs(image: ImageFile.ImageFile, data: bytes) -> PixelArray:
    if image.format in ("AVIF", "HEIF"):
        return _decode_heif(data, image.format)
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return imagecodecs.png_decode(data)
    channels = imagecodecs.tiff_decode(data, index=0)
    if channels.ndim == 2:
        return channels[..., None]
    is_planar = image.tag_v2.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
    return np.moveaxis(channels, 0, 2) if is_planar else channels


def _decode_heif(data: bytes, file_format: str) -> PixelArray:
    """Decode AVIF or HEIC of more than 8 bits to (H, W, C), with levels of as many bits."""
    if file_format == "AVIF":
        channels = imagecodecs.avif_decode(data, index=0)
    else:
        channels = np.asarray(
            pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        )
    return channels[..., None] if channels.ndim == 2 else channels


def _stored_bits(image: ImageFile.ImageFile) -> int:
    """Return the number of bits of a sample as it is decoded, from 9 to 16."""
    if image.format not in ("AVIF", "HEIF"):
        return 16
    return min(int(image.info["bit_depth"]), 16)


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


def _samples_of_pillow(image: ImageFile.ImageFile, stored: str) -> StoredSamples:
    """Return the samples of an image that Pillow has decoded."""
    if image.mode in MODES_16_BIT:
        return _samples_of_16_bit_grey(image, stored)
    if stored in HIGHEST_FEW_BITS and "transparency" in image.info:
        image.info["transparency"] *= LEVELS // HIGHEST_FEW_BITS[stored]
    kind = CMYK if image.mode == CMYK else GREY if is_grey(image) else RGB
    has_alpha = kind != CMYK and image.has_transparency_data
    mode = f"{kind}A" if has_alpha else kind

    def read(rows: slice, columns: slice) -> PixelArray:
        block = _crop(image, rows, columns)
        levels = np.asarray(block if block.mode == mode else block.convert(mode))
        return levels.reshape(block.height, block.width, -1)

    return StoredSamples(kind, has_alpha, image.height, image.width, np.dtype(np.uint8), read)


def _crop(image: Image.Image, rows: slice, columns: slice) -> Image.Image:
    """Return a part of an image; the image itself if that is the whole."""
    top, bottom, _ = rows.indices(image.height)
    left, right, _ = columns.indices(image.width)
    box = (left, top, right, bottom)
    return image if box == (0, 0, *image.size) else image.crop(box)


def _samples_of_16_bit_grey(image: ImageFile.ImageFile, stored: str) -> StoredSamples:
    transparent, is_inverted = image.info.get("transparency"), is_white_zero(image)

    def read(rows: slice, columns: slice) -> PixelArray:
        raw = np.asarray(_crop(image, rows, columns)).astype(np.uint16)
        levels = _uint16_from_12_bits(raw) if stored == "I;12" else raw
        channels = [LEVELS_16 - levels if is_inverted else levels]
        if transparent is not None:
            alpha = np.where(raw == int(transparent), 0, LEVELS_16)
            channels.append(alpha.astype(np.uint16))
        return np.stack(channels, axis=2)

    has_alpha = transparent is not None
    return StoredSamples(GREY, has_alpha, image.height, image.width, np.dtype(np.uint16), read)


def _uint16_from_12_bits(levels: Uint16Array) -> Uint16Array:
    scaled = (levels.astype(np.uint32) * LEVELS_16 + LEVELS_12 // 2) // LEVELS_12
    return scaled.astype(np.uint16)
