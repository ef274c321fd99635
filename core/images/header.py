"""What the header of an opened image says: sample type, orientation and number of frames.

All functions take an image that Pillow has opened but not decoded, so they cost little
however large the picture is.

Source: TIFF 6.0, sections 2, 8 and 15, and the design of BigTIFF; EXIF 2.32, section 4.6.4,
tag Orientation; GIF89a specification; ITU-T T.81 (JPEG), table K.1; libjpeg 6b, jcparam.c.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import IO

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from core.errors import UnreadableImage, UnsupportedImage
from core.picture import BLOCK_PIXELS
from core.pixels import PixelArray

# Modes of Pillow.
MODES_32_BIT = ("I", "F")  # the type does not say which level is white
MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
GREY_MODES = ("1", "L", "LA", "La", *MODES_16_BIT)

# Tags of TIFF; the last two are libtiff's.
IMAGE_WIDTH, IMAGE_LENGTH = 256, 257
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL = 258, 262, 277
PLANAR_CONFIGURATION, TILE_WIDTH, TILE_LENGTH, EXTRA_SAMPLES = 284, 322, 323, 338
IMAGE_DEPTH, TILE_DEPTH = 32997, 32998

# Values of these tags.
WHITE_IS_ZERO, BLACK_IS_ZERO, TRUE_COLOUR = 0, 1, 2
SEPARATE_PLANES = 2

COLOUR_CHANNELS = {WHITE_IS_ZERO: "L", BLACK_IS_ZERO: "L", TRUE_COLOUR: "RGB"}
"""Colour channels by photometric interpretation."""

EXTRA_CHANNELS = {0: "X", 1: "a", 2: "A"}
"""Channel after the colour by `EXTRA_SAMPLES`: unspecified, premultiplied alpha, alpha."""

DECODER_BYTES = {"WEBP": 18, "AVIF": 16, "HEIF": 16}
"""Memory for a pixel, by format, where libraries copy the picture; measured as 18, 10 and 9."""

STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Memory for a pixel in Pillow, by mode; 4 in all others."""

COEFFICIENT_BYTES = 2
"""Memory for a sample of a progressive JPEG, in addition to its pixels."""

FILLING_BYTES = 8
"""Memory for a pixel while colour is continued under transparent ones."""

BLOCK_BYTES, DECODER_BASE_BYTES = 64, 1_000_000
"""Memory for a pixel of a block of rows that is converted, and for any picture."""

SMALL_TILE = 4_000_000
"""Number of pixels in a tile that is safe to decode, however small its picture is."""

ORIENTATION_TAG = 0x0112
"""Tag of EXIF and of TIFF."""

UPRIGHT = 1
"""Orientation of a picture that needs no turn."""

TURNS: dict[int, Callable[[PixelArray], PixelArray]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}
"""Function that turns the stored pixels upright, by orientation."""

SIDEWAYS = (5, 6, 7, 8)
"""Orientations that swap height and width."""

FROM_THE_END = (3, 4, 7, 8)
"""Orientations whose first upright row is stored last, as a row or as a column."""

STANDARD_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Quantisation steps of luma in JPEG at quality 50. Source: ITU-T T.81, table K.1."""

HIGHEST_QUALITY = 100
"""Quality of a JPEG whose quantisation steps are all 1."""

MAX_COUNTED_FRAMES = 1000
"""Number of frames to which a file is counted if there is no limit on frames."""

GIF_HEADER_BYTES, GIF_FLAGS_OFFSET = 13, 10
GIF_IMAGE, GIF_IMAGE_BYTES, GIF_IMAGE_FLAGS_OFFSET = 0x2C, 11, 9
GIF_EXTENSION, GIF_EXTENSION_BYTES = 0x21, 2
GIF_HAS_COLOUR_TABLE = 0b1000_0000  # the lowest three bits of the flags are the table's size


def check_samples(image: ImageFile.ImageFile) -> None:
    """Refuse samples that cannot be scaled, and files that cost more than their size suggests.

    Raises:
        UnsupportedImage: if samples have 32 bits, or are 16-bit planes of CMYK.
        UnreadableImage: if TIFF tiles are much larger than the picture, or have layers.
    """
    if image.mode in MODES_32_BIT:
        raise UnsupportedImage(
            "Image must have samples of 1 to 16 bits. "
            f"Received: {image.format} with 32-bit samples (mode {image.mode})."
        )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_planes(image)
        _check_tiles(image)


def _check_planes(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse 16-bit planes that only Pillow could read: it takes them for 8-bit planes."""
    tags = image.tag_v2
    is_planar = tags.get(PLANAR_CONFIGURATION) == SEPARATE_PLANES
    if is_planar and 16 in tags.get(BITS_PER_SAMPLE, ()) and channels_beyond_pillow(image) is None:
        raise UnsupportedImage(
            "Image must have 16-bit samples of grey or RGB, or planes of 8 bits. "
            f"Received: TIFF with planes of 16 bits (mode {image.mode})."
        )


def _check_tiles(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse huge tiles and many layers: they cost memory even in a small picture."""
    tags = image.tag_v2
    tile = tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0)
    layers = max(tags.get(IMAGE_DEPTH, 1), tags.get(TILE_DEPTH, 1))
    if tile > max(4 * image.width * image.height, SMALL_TILE) or layers > 1:
        raise UnreadableImage(
            "Image must be made of tiles that are not much larger than itself. "
            f"Received: tiles of {tile} pixels in {layers} layers."
        )


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Return how the samples are stored, in Pillow's words; lost once they are decoded."""
    if not image.tile:
        return image.mode
    arguments = image.tile[0].args
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else image.mode


def channels_beyond_pillow(image: ImageFile.ImageFile) -> str | None:
    """Return the channels of a 16-bit picture that Pillow reduces to 8 bits, or cannot read.

    Returns:
        `L` or `RGB`, followed by one of `EXTRA_CHANNELS` if there is a further channel. AVIF and
        HEIC of more than 8 bits count as 16-bit pictures.
        None for a picture that Pillow reads without loss.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _channels_of_16_bit_tiff(image.tag_v2)
    if image.format in ("AVIF", "HEIF"):
        return image.mode if image.info.get("bit_depth", 8) > 8 else None
    channels, _, depth = raw_mode(image).partition(";")
    return channels if image.format == "PNG" and depth == "16B" and channels != "I" else None


def _channels_of_16_bit_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str | None:
    colour = COLOUR_CHANNELS.get(tags.get(PHOTOMETRIC, WHITE_IS_ZERO))
    if set(tags.get(BITS_PER_SAMPLE, ())) != {16} or colour is None:
        return None
    if tags.get(SAMPLES_PER_PIXEL, 1) == len(colour):
        return colour
    extras = tags.get(EXTRA_SAMPLES, ())
    return colour + (EXTRA_CHANNELS.get(extras[0], "X") if extras else "A")


def is_16_bit(image: ImageFile.ImageFile) -> bool:
    """Return whether samples have more than 8 bits, and are thus decoded to 16."""
    return image.mode in MODES_16_BIT or channels_beyond_pillow(image) is not None


def is_grey(image: ImageFile.ImageFile) -> bool:
    """Return whether there is a single colour channel."""
    return image.mode in GREY_MODES or (channels_beyond_pillow(image) or "").startswith("L")


def is_white_zero(image: ImageFile.ImageFile) -> bool:
    """Return whether level 0 is white. Pillow inverts such TIFFs only if they have 8 bits."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(PHOTOMETRIC, WHITE_IS_ZERO) == WHITE_IS_ZERO)


def count_channels(image: ImageFile.ImageFile) -> int:
    """Return 1 for grey or 3 for colour, plus 1 with alpha."""
    return (1 if is_grey(image) else 3) + image.has_transparency_data


def decoder_bytes(image: ImageFile.ImageFile, file_bytes: int) -> int:
    """Return how much memory decoding takes at most.

    Args:
        image: not decoded yet.
        file_bytes: size of its file.
    """
    channels, pixels = count_channels(image), image.height * image.width
    if image.format in DECODER_BYTES:
        held = DECODER_BYTES[str(image.format)]
    elif image.format == "TIFF":  # strips may be as large as the picture
        held = max(3 * STORED_BYTES.get(image.mode, 4), 4 * channels * is_16_bit(image))
    elif channels_beyond_pillow(image) is not None:
        held = 2 * channels
    else:
        held = STORED_BYTES.get(image.mode, 4)
        if image.info.get("progressive"):
            held += COEFFICIENT_BYTES * len(image.getbands())
    filled = FILLING_BYTES * image.has_transparency_data
    converted = BLOCK_BYTES * min(pixels, BLOCK_PIXELS)
    return DECODER_BASE_BYTES + file_bytes + converted + pixels * (held + filled)


def read_orientation(image: ImageFile.ImageFile, exif: Image.Exif) -> int:
    """Return the orientation, from 1 to 8; invalid values count as upright.

    Args:
        image: not decoded yet.
        exif: result of `core.images.metadata.read_exif` for this image.
    """
    if image.format == "HEIF":  # libheif has turned the pixels, but left the tag in EXIF
        return UPRIGHT
    orientation = exif.get(ORIENTATION_TAG)
    return orientation if orientation in TURNS else UPRIGHT


def upright_size(image: ImageFile.ImageFile, orientation: int) -> tuple[int, int]:
    """Return height and width of the upright picture."""
    height, width = image.height, image.width
    if orientation not in SIDEWAYS or _has_upright_size(image):
        return height, width
    return width, height


def _has_upright_size(image: ImageFile.ImageFile) -> bool:
    """Return whether Pillow has already swapped the sides: it does for the tag of a TIFF."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return image.tag_v2.get(ORIENTATION_TAG) in SIDEWAYS


def turn_upright(stored: PixelArray, orientation: int) -> PixelArray:
    """Turn (H, W) or (H, W, C) pixels upright; return the same array if it is upright."""
    turn = TURNS.get(orientation)
    return stored if turn is None else np.ascontiguousarray(turn(stored))


def stored_place(top: int, bottom: int, height: int, orientation: int) -> tuple[slice, slice]:
    """Return the stored rows and columns that `turn_upright` turns to upright rows.

    Args:
        top: first upright row.
        bottom: upright row after the last one.
        height: number of upright rows.
        orientation: how the picture is stored, from 1 to 8.
    """
    if orientation in FROM_THE_END:
        top, bottom = height - bottom, height - top
    lines, everything = slice(top, bottom), slice(None)
    return (everything, lines) if orientation in SIDEWAYS else (lines, everything)


def read_jpeg_quality(image: ImageFile.ImageFile) -> float | None:
    """Return the quality at which a JPEG was saved, in [1, 100]; None for other formats.

    It is estimated from the quantisation table of luma. For a table that is not a multiple of
    the standard one, the result is the quality of the same mean step. Below quality 20, where
    steps reach their limit of 255, the result is too high.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or not image.quantization:
        return None
    luma = image.quantization[min(image.quantization)]
    percent = 100 * sum(luma) / float(STANDARD_STEPS.sum())
    return quality_from_percent(percent)


def quality_from_percent(percent: float) -> float:
    """Convert the size of quantisation steps to a quality in [1, 100].

    Args:
        percent: size relative to `STANDARD_STEPS`, above 0.

    Source: libjpeg 6b, jcparam.c, jpeg_quality_scaling, inverted.
    """
    quality = HIGHEST_QUALITY - percent / 2 if percent <= 100 else 5000 / percent
    return float(np.clip(quality, 1, HIGHEST_QUALITY))


def percent_from_quality(quality: float) -> float:
    """Convert a quality in [1, 100] to the size of quantisation steps: the inverse.

    Source: libjpeg 6b, jcparam.c, jpeg_quality_scaling.
    """
    return 2.0 * (HIGHEST_QUALITY - quality) if quality >= 50 else 5000 / quality


def count_frames(image: ImageFile.ImageFile, file: IO[bytes], max_frames: int | None) -> int:
    """Count the frames of a file without decoding any of them.

    Args:
        image: opened from `file`.
        file: positioned anywhere.
        max_frames: limit beyond which the exact number does not matter; None for no limit.

    Returns:
        The number of frames, at most `max_frames` + 1. Without a limit, 0 stands for more
        than `MAX_COUNTED_FRAMES`.
    """
    limit = MAX_COUNTED_FRAMES if max_frames is None else max_frames
    frames = min(_count_up_to(limit, image, file), limit + 1)
    return 0 if max_frames is None and frames > limit else frames


def _count_up_to(limit: int, image: ImageFile.ImageFile, file: IO[bytes]) -> int:
    """Count frames; GIF and TIFF without Pillow, which would read the whole file."""
    if image.format == "MPO":  # a JPEG that is followed by previews or a depth map
        return 1
    if image.format not in ("GIF", "TIFF"):
        return int(getattr(image, "n_frames", 1))
    file.seek(0)
    data = file.read()
    offsets = _gif_image_offsets(data) if image.format == "GIF" else _tiff_page_offsets(data)
    return _count(islice(offsets, limit + 1))


def _count(offsets: Iterator[int]) -> int:
    """Count offsets up to the first damage: damage ends the count but not the decoding."""
    counted = 0
    try:
        for _ in offsets:
            counted += 1
    except (IndexError, struct.error, OverflowError):
        pass
    return max(counted, 1)


def _gif_image_offsets(data: bytes) -> Iterator[int]:
    """Yield the offset of each image descriptor of a GIF."""
    offset = GIF_HEADER_BYTES + _colour_table_bytes(data[GIF_FLAGS_OFFSET])
    while True:
        if data[offset] == GIF_IMAGE:
            yield offset
            offset += GIF_IMAGE_BYTES + _colour_table_bytes(data[offset + GIF_IMAGE_FLAGS_OFFSET])
        elif data[offset] == GIF_EXTENSION:
            offset += GIF_EXTENSION_BYTES
        else:
            return
        while length := data[offset]:
            offset += 1 + length
        offset += 1


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & GIF_HAS_COLOUR_TABLE else 0


def _tiff_page_offsets(data: bytes) -> Iterator[int]:
    """Yield the offset of each directory of a TIFF; a loop of directories ends the file."""
    order = "<" if data[:2] == b"II" else ">"
    is_big_tiff = 43 in data[2:4]
    count, entry_bytes, pointer = ("Q", 20, "Q") if is_big_tiff else ("H", 12, "I")

    def read(code: str, offset: int) -> int:
        return int(struct.unpack_from(order + code, data, offset)[0])

    seen: set[int] = set()
    offset = read(pointer, 8 if is_big_tiff else 4)
    while offset and offset not in seen:
        seen.add(offset)
        entries = read(count, offset)
        yield offset
        offset = read(pointer, offset + struct.calcsize(count) + entries * entry_bytes)
