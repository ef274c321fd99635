"""Files to pictures: the header is judged first, then pixels are decoded.

What a picture may measure, judged by its header.

Which formats are decoded, and what Pillow has to be taught for it.

Files to Pillow's images, of which only the header has been read.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, NamedTuple

import pillow_heif
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from core.errors import ImageTooLarge, SuperResolutionError, TooMuchMemory, UnreadableImage
from core.images.alpha import fill_transparent
from core.images.header import (
    ON_ITS_SIDE,
    check_samples,
    count_channels,
    count_frames,
    is_deep,
    read_orientation,
    upright_size,
)
from core.images.metadata import clean_exif, clean_xmp, read_dpi, read_exif
from core.images.profiles import to_srgb
from core.images.samples import GREY, Samples, read_samples
from core.picture import Extras, Header, Picture
from core.pixels import PixelArray, Uint8Array, to_uint8


@dataclass(frozen=True)
class Limits:
    """What a picture may measure."""

    max_pixels: int
    """Height times width, LR px."""
    max_side: int
    """Height or width, LR px."""
    max_frames: int | None = None
    """In the file, though only the first is decoded; None for any number."""

    def check(self, height: int, width: int) -> None:
        """Raise ImageTooLarge, with the limit and what came."""
        if height * width > self.max_pixels:
            raise ImageTooLarge(
                f"Image must have at most {self.max_pixels} pixels. "
                f"Received: {width} x {height} = {width * height} pixels."
            )
        if max(height, width) > self.max_side:
            raise ImageTooLarge(
                f"Image must be at most {self.max_side} pixels wide and high. "
                f"Received: {width} x {height} pixels."
            )

    def check_frames(self, frames: int) -> None:
        """Raise ImageTooLarge if there are more frames than `max_frames`.

        Args:
            frames: counted no further than one beyond the limit.
        """
        if self.max_frames is not None and frames > self.max_frames:
            raise ImageTooLarge(
                f"Image must have at most {self.max_frames} frames. Received: more."
            )


FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
"""What is decoded, as Pillow calls it; it is not even asked about anything else."""


class ImageFormat(NamedTuple):
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
    ImageFormat("PNG", "grey, colour, palette, 1 to 16 bits", (8, 16), True, ("RGB", "grey")),
    ImageFormat(
        "JPEG", "grey, colour, CMYK; of several the first", (8,), False, ("RGB", "grey", "CMYK")
    ),
    ImageFormat("WebP", "lossy, lossless; first frame", (8,), True, ("RGB",)),
    ImageFormat(
        "TIFF",
        "grey, colour, palette, CMYK, Lab, 1 to 16 bits; first page",
        (8, 16),
        True,
        ("RGB", "grey", "CMYK"),
    ),
    ImageFormat("BMP", "grey, colour, palette", (8,), False, ()),
    ImageFormat("GIF", "first frame", (8,), True, ()),
    ImageFormat("AVIF", "first frame", (8,), True, ("RGB", "grey")),
    ImageFormat("HEIC", "main picture", (8,), True, ("RGB", "grey")),
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
    mode that it does not know: only `core.images.samples` reads those.
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


def read_header(file: IO[bytes], limits: Limits | None = None) -> Header:
    """Judge a file by its header; the file is at its beginning again afterwards.

    The picture has alpha only if some of it is transparent, which the header cannot know:
    `channels` is what there may be.

    Raises: as `decode_image` does.
    """
    with damage_reported():
        with open_image(file, limits) as image:
            header = _judge(image, file, limits)
        file.seek(0)
    return header


def decode_image(data: bytes | IO[bytes], limits: Limits | None = None) -> Picture:
    """Decode the first frame of an encoded picture, to upright sRGB.

    Args:
        data: a whole file in one of `FORMATS`, or its bytes.
        limits: checked on the header, before decoding; None for no limit.

    Returns:
        The picture: PNG and TIFF of more than 8 bits with 16, all else with 8.

    Raises:
        UnreadableImage: if the bytes are damaged or no picture.
        UnsupportedImage: if the samples are 32-bit integers or floats.
        ImageTooLarge: if the header announces more than `limits`.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with damage_reported():
        samples, profile, extras = _read(file, limits)
        pixels, kept_profile = to_srgb(samples, profile)
        extras = replace(extras, icc_profile=kept_profile)
        return _assemble(samples, pixels, extras)


def _read(file: IO[bytes], limits: Limits | None) -> tuple[Samples, object, Extras]:
    """Samples, profile, and extras without it; the decoder's own memory is free again."""
    with open_image(file, limits) as image:
        header = _judge(image, file, limits)
        exif = read_exif(image, file)
        orientation = read_orientation(image, exif)
        dpi = _turned_dpi(read_dpi(image, exif), orientation)
        kept_exif = clean_exif(exif)
        samples = read_samples(image, file, orientation)
        _check_again(samples, header, limits)
        extras = Extras(dpi=dpi, exif=kept_exif, xmp=clean_xmp(image.info.get("xmp")))
        return samples, image.info.get("icc_profile"), extras


def decode_rgb(data: bytes | IO[bytes], limits: Limits | None = None) -> Uint8Array:
    """The colour alone of `decode_image`, (H, W, 3) uint8; 16 bits are rounded."""
    return to_uint8(decode_image(data, limits).pixels)


def _judge(image: ImageFile.ImageFile, file: IO[bytes], limits: Limits | None) -> Header:
    if limits is not None:
        limits.check(image.height, image.width)
    check_samples(image)
    frames = count_frames(image, file, limits.max_frames if limits else None)
    if limits is not None:
        limits.check_frames(frames)
    height, width = upright_size(image, read_orientation(image, read_exif(image, file)))
    bits = 16 if is_deep(image) else 8
    return Header(height, width, count_channels(image), bits, frames)


def _turned_dpi(dpi: tuple[float, float] | None, orientation: int) -> tuple[float, float] | None:
    return dpi[::-1] if dpi and orientation in ON_ITS_SIDE else dpi


def _check_again(samples: Samples, header: Header, limits: Limits | None) -> None:
    """What was decoded may be larger than was announced."""
    height, width = samples.colour.shape[:2]
    if limits is not None and (height, width) != (header.height, header.width):
        limits.check(height, width)


def _assemble(samples: Samples, pixels: PixelArray, extras: Extras) -> Picture:
    is_grey = samples.kind == GREY
    if is_grey:
        pixels = pixels[..., None].repeat(3, axis=2)
    alpha = samples.alpha
    if alpha is None or alpha.min() == 2 ** (8 * alpha.itemsize) - 1:
        return Picture(pixels, is_grey=is_grey, extras=extras)
    return Picture(fill_transparent(pixels, alpha), alpha, is_grey, extras)
