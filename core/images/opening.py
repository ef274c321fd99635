"""Files to Pillow's images, of which only the header has been read."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image, ImageFile, UnidentifiedImageError

from core.errors import ImageTooLarge, SuperResolutionError, TooMuchMemory, UnreadableImage
from core.images.formats import FORMAT_NAMES, FORMATS
from core.images.limits import Limits

LONGEST_REASON = 200
"""Characters of what a decoder says, which may quote the file."""


@contextmanager
def damage_reported() -> Iterator[None]:
    """Whatever a decoder raises within is UnreadableImage: they raise many kinds.

    But for memory that is not there, which is TooMuchMemory.
    """
    try:
        yield
    except SuperResolutionError:
        raise
    except MemoryError as error:
        raise TooMuchMemory(
            "Image must be decoded in the memory that there is for it. Received: one that "
            "needs more."
        ) from error
    except Exception as error:
        reason = str(error)[:LONGEST_REASON] or type(error).__name__
        raise UnreadableImage(
            f"Image must be a whole, undamaged file. Received: {reason}."
        ) from error


def open_image(file: IO[bytes], limits: Limits | None) -> ImageFile.ImageFile:
    """The image in a file, not decoded yet.

    Raises:
        UnreadableImage: if the header is damaged or that of no picture.
        ImageTooLarge: if it announces more than Pillow itself would decode.
    """
    file.seek(0)
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            f"Image must be a {FORMAT_NAMES} file. Received: {_describe(file)}."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(error, limits) from error


def _describe(file: IO[bytes]) -> str:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return f"{size} bytes that begin with {file.read(8)!r}" if size else "0 bytes"


def _too_large(error: Exception, limits: Limits | None) -> ImageTooLarge:
    """Pillow's own limit, which is above any sensible one of ours; its text has the size."""
    at_most = limits.max_pixels if limits else Image.MAX_IMAGE_PIXELS
    received = re.search(r"\d+ pixels", str(error))
    return ImageTooLarge(
        f"Image must have at most {at_most} pixels. Received: {received and received[0]}."
    )
