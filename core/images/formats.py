"""Which formats are decoded, and what Pillow has to be taught for it."""

from typing import NamedTuple

import pillow_heif
from PIL import TiffImagePlugin

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
"""What is decoded, as Pillow calls it; it is not even asked about anything else."""


class Taken(NamedTuple):
    """What is taken of files in a format.

    Attributes:
        format: as people write it.
        pictures: kinds that are read.
        bits: of a sample that are kept.
        alpha: whether there may be any.
        profiles: kinds of colour whose profiles are obeyed.
    """

    format: str
    pictures: str
    bits: tuple[int, ...]
    alpha: bool
    profiles: tuple[str, ...]


TAKEN = (
    Taken("PNG", "grey, colour, palette, 1 to 16 bits", (8, 16), True, ("RGB", "grey")),
    Taken("JPEG", "grey, colour, CMYK; of several the first", (8,), False, ("RGB", "grey", "CMYK")),
    Taken("WebP", "lossy, lossless; first frame", (8,), True, ("RGB",)),
    Taken(
        "TIFF",
        "grey, colour, palette, CMYK, Lab, 1 to 16 bits; first page",
        (8, 16),
        True,
        ("RGB", "grey", "CMYK"),
    ),
    Taken("BMP", "grey, colour, palette", (8,), False, ()),
    Taken("GIF", "first frame", (8,), True, ()),
    Taken("AVIF", "first frame", (8,), True, ("RGB", "grey")),
    Taken("HEIC", "main picture", (8,), True, ("RGB", "grey")),
)

*_FIRST, _LAST = (taken.format for taken in TAKEN)
FORMAT_NAMES = f"{', '.join(_FIRST)} or {_LAST}"

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".avif",
    ".heic",
    ".heif",
    ".hif",
)
"""Of files in these formats, in lower case."""

HEIF_THREADS = 1
"""To decode HEIC: more would only take cores from the network."""


def teach_pillow() -> None:
    """Let Pillow open HEIC, and TIFF of 16-bit grey in all its kinds.

    Of the latter it learns enough to judge the header. What it cannot unpack has a raw
    mode that it does not know: only `core.images.deep` reads those.
    """
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=HEIF_THREADS
    )
    kinds = TiffImagePlugin.OPEN_INFO
    kinds[b"MM", 0, (1,), 1, (16,), ()] = ("I;16B", "I;16B")
    for order in (b"II", b"MM"):
        for white_is in (0, 1):
            kinds[order, white_is, (1,), 1, (16, 16), (0,)] = ("I;16", "LX;16L")
            kinds[order, white_is, (1,), 1, (16, 16), (1,)] = ("LA", "La;16L")
            kinds[order, white_is, (1,), 1, (16, 16), (2,)] = ("LA", "LA;16L")


teach_pillow()
