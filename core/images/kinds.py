"""What the header says of the samples: how many bits, grey or colour, with alpha or not."""

from PIL import ImageFile, TiffImagePlugin

from core.errors import UnreadableImage, UnsupportedImage

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
