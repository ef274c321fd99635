"""What the header says of the samples: how many bits, grey or colour, with alpha or not.

How a picture lies in its file, and how it is put upright.

Source: EXIF 2.32, section 4.6.4, tag Orientation.

How many frames a file has, without decoding any, and never counting for long.

Source: GIF89a specification; TIFF 6.0, section 2; the design of BigTIFF.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import IO

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from core.errors import UnreadableImage, UnsupportedImage
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
        exif: what `core.images.metadata.read_exif` found in it.
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


MOST_COUNTED = 1000
"""Frames that are counted where no limit says how many matter; beyond it is not known."""

GIF_HEADER_BYTES, GIF_FLAGS = 13, 10
GIF_IMAGE, GIF_IMAGE_BYTES, GIF_IMAGE_FLAGS = 0x2C, 11, 9
GIF_EXTENSION, GIF_EXTENSION_BYTES = 0x21, 2
COLOUR_TABLE = 0b1000_0000
"""The flag that says that a table follows; the lowest three bits give its size."""


def count_frames(image: ImageFile.ImageFile, file: IO[bytes], at_most: int | None) -> int:
    """Frames of a file, up to one beyond the limit; 0 if that is not known.

    Args:
        image: opened from `file`.
        at_most: limit beyond which the number does not matter; None for no limit.
    """
    limit = MOST_COUNTED if at_most is None else at_most
    frames = min(_frames(image, file, limit), limit + 1)
    return 0 if at_most is None and frames > limit else frames


def _frames(image: ImageFile.ImageFile, file: IO[bytes], limit: int) -> int:
    """Pillow counts those of GIF and TIFF by reading all of each."""
    if image.format == "MPO":  # a JPEG, with previews or depth behind it
        return 1
    if image.format not in ("GIF", "TIFF"):
        return int(getattr(image, "n_frames", 1))
    file.seek(0)
    data = file.read()
    return _count(_gif_frames(data) if image.format == "GIF" else _tiff_frames(data), limit)


def _count(frames: Iterator[int], limit: int) -> int:
    """What cannot be followed ends the count, not the picture."""
    counted = 0
    try:
        for _ in islice(frames, limit + 1):
            counted += 1
    except (IndexError, struct.error, OverflowError):
        pass
    return max(counted, 1)


def _gif_frames(data: bytes) -> Iterator[int]:
    """The position of each image descriptor."""
    position = GIF_HEADER_BYTES + _table_bytes(data[GIF_FLAGS])
    while True:
        if data[position] == GIF_IMAGE:
            yield position
            position += GIF_IMAGE_BYTES + _table_bytes(data[position + GIF_IMAGE_FLAGS])
        elif data[position] == GIF_EXTENSION:
            position += GIF_EXTENSION_BYTES
        else:
            return
        while length := data[position]:
            position += 1 + length
        position += 1


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & COLOUR_TABLE else 0


def _tiff_frames(data: bytes) -> Iterator[int]:
    """The position of each directory, none of them twice."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = 43 in data[2:4]
    count, entry_bytes, offset = ("Q", 20, "Q") if is_big else ("H", 12, "I")

    def read(code: str, position: int) -> int:
        return int(struct.unpack_from(order + code, data, position)[0])

    seen: set[int] = set()
    position = read(offset, 8 if is_big else 4)
    while position and position not in seen:
        seen.add(position)
        entries = read(count, position)
        yield position
        position = read(offset, position + struct.calcsize(count) + entries * entry_bytes)


WIDE_MODES = ("I", "F")
"""32-bit samples: the type does not say which level is white."""

UINT16_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
GREY_MODES = ("1", "L", "LA", "La", *UINT16_MODES)

IMAGE_WIDTH, IMAGE_LENGTH = 256, 257
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL = 258, 262, 277
PLANAR_CONFIGURATION, TILE_WIDTH, TILE_LENGTH, EXTRA_SAMPLES = 284, 322, 323, 338
IMAGE_DEPTH, TILE_DEPTH = 32997, 32998
"""Tags. Source: TIFF 6.0, sections 8 and 15; the last two: libtiff."""

WHITE_IS_ZERO, BLACK_IS_ZERO, TRUE_COLOUR = 0, 1, 2
COLOURS = {WHITE_IS_ZERO: "L", BLACK_IS_ZERO: "L", TRUE_COLOUR: "RGB"}
EXTRAS = {0: "X", 1: "a", 2: "A"}
"""Of no known use; alpha that colour is multiplied with; alpha apart from it."""

SEPARATE_PLANES = 2

SMALL_TILE = 4_000_000
"""Pixels of a tile that is no danger, however small its picture."""


def raw_mode(image: ImageFile.ImageFile) -> str:
    """How the samples lie in the file, as Pillow calls it; known until they are decoded."""
    if not image.tile:
        return image.mode
    arguments = image.tile[0].args
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else image.mode


def deep_kind(image: ImageFile.ImageFile) -> str | None:
    """The channels of a picture of 16 bits that Pillow would cut to 8, or not read at all.

    Returns:
        `L` or `RGB`, and `A`, `a` or `X` as in `EXTRAS`; None for all other pictures.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _deep_kind_of_tiff(image.tag_v2)
    channels, _, depth = raw_mode(image).partition(";")
    return channels if image.format == "PNG" and depth == "16B" and channels != "I" else None


def _deep_kind_of_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str | None:
    colours = COLOURS.get(tags.get(PHOTOMETRIC, WHITE_IS_ZERO))
    if set(tags.get(BITS_PER_SAMPLE, ())) != {16} or colours is None:
        return None
    if tags.get(SAMPLES_PER_PIXEL, 1) == len(colours):
        return colours
    extras = tags.get(EXTRA_SAMPLES, ())
    return colours + (EXTRAS.get(extras[0], "X") if extras else "A")


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether samples have more than 8 bits, and are decoded to 16."""
    return image.mode in UINT16_MODES or deep_kind(image) is not None


def is_grey(image: ImageFile.ImageFile) -> bool:
    """Whether there is one channel of colour."""
    return image.mode in GREY_MODES or (deep_kind(image) or "").startswith("L")


def is_negative(image: ImageFile.ImageFile) -> bool:
    """Whether level 0 is white: in a TIFF, where Pillow inverts 8 bits only."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(PHOTOMETRIC, WHITE_IS_ZERO) == WHITE_IS_ZERO)


def count_channels(image: ImageFile.ImageFile) -> int:
    """Of colour, 1 or 3, and one more with alpha."""
    return (1 if is_grey(image) else 3) + image.has_transparency_data


def check_samples(image: ImageFile.ImageFile) -> None:
    """Judge what cannot be scaled, or would cost more than the size says.

    Raises:
        UnsupportedImage: for samples of 32 bits, or of 16 in planes of ink.
        UnreadableImage: for tiles much larger than the picture, and for layers.
    """
    if image.mode in WIDE_MODES:
        raise UnsupportedImage(
            "Image must have samples of 1 to 16 bits. "
            f"Received: {image.format} with 32-bit samples (mode {image.mode})."
        )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_planes(image)
        _check_tiles(image)


def _check_planes(image: TiffImagePlugin.TiffImageFile) -> None:
    """Pillow takes planes of 16 bits for such of 8."""
    tags = image.tag_v2
    is_apart = tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
    if is_apart and 16 in tags.get(BITS_PER_SAMPLE, ()) and deep_kind(image) is None:
        raise UnsupportedImage(
            "Image must have 16-bit samples of grey or RGB, or planes of 8 bits. "
            f"Received: TIFF with planes of 16 bits (mode {image.mode})."
        )


def _check_tiles(image: TiffImagePlugin.TiffImageFile) -> None:
    """A small picture of huge tiles, or of many layers, costs what those measure."""
    tags = image.tag_v2
    tile = tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0)
    layers = max(tags.get(IMAGE_DEPTH, 1), tags.get(TILE_DEPTH, 1))
    if tile > max(4 * image.width * image.height, SMALL_TILE) or layers > 1:
        raise UnreadableImage(
            "Image must be made of tiles that are not much larger than itself. "
            f"Received: tiles of {tile} pixels in {layers} layers."
        )
