"""Small valid files of every format, to be damaged."""

from collections.abc import Iterator

from PIL import Image

from core.images import PILLOW_FORMATS
from tests.support.picture_files import encoded, png_of_rows
from tests.support.stand_ins import noise

HEIGHT, WIDTH = 5, 7
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
ORIENTATION = 0x0112


def built_in_seeds() -> list[bytes]:
    """Return every format in every mode that Pillow writes, and 16-bit PNG, which it does not."""
    return [data for name in PILLOW_FORMATS for data in encode_modes(name)] + list(
        make_16_bit_pngs()
    )


def encode_modes(file_format: str) -> Iterator[bytes]:
    """Yield a file of a format in every mode that Pillow writes, with EXIF orientation."""
    for mode in MODES:
        try:
            yield encoded(picture(mode), file_format, exif=make_exif())
        except (OSError, KeyError, ValueError, TypeError):
            continue  # not every format has every mode


def make_16_bit_pngs() -> Iterator[bytes]:
    """Yield a 16-bit PNG of every colour type."""
    for colour, samples in ((0, 1), (2, 3), (4, 2), (6, 4)):
        row = b"\0" + bytes(range(2 * samples * WIDTH))
        yield png_of_rows(HEIGHT, WIDTH, row * HEIGHT, bits=16, colour_type=colour)


def picture(mode: str) -> Image.Image:
    """Return noise in a mode of Pillow."""
    if mode == "I;16":
        return Image.new(mode, (WIDTH, HEIGHT), 40_000)
    return Image.fromarray(noise(HEIGHT, WIDTH)).convert(mode)


def make_exif() -> Image.Exif:
    """Return EXIF data that rotate the picture."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif
