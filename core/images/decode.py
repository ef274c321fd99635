"""Decoding of files to pictures, after their headers have been checked against limits.

Pillow and pillow-heif open the files; other modules of this package read metadata and
samples, and convert colour.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isqrt
from typing import IO, NamedTuple

import numpy as np
import pillow_heif
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from core.errors import ImageTooLarge, SuperResolutionError, TooMuchMemory, UnreadableImage
from core.images.alpha import extremes, filled_rows
from core.images.boxes import read_avif_info
from core.images.colours import Declaration, read_declarations
from core.images.header import (
    SIDEWAYS,
    check_samples,
    count_channels,
    count_frames,
    decoder_bytes,
    is_16_bit,
    read_jpeg_quality,
    read_orientation,
    upright_size,
)
from core.images.metadata import clean_exif, clean_xmp, read_dpi, read_exif
from core.images.profiles import to_srgb
from core.images.samples import GREY, Samples, read_samples
from core.picture import Extras, Header, Picture, PictureRows, PixelRows
from core.pixels import Uint8Array, to_uint8

PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
"""Formats that are decoded, by Pillow's names; Pillow tries no other decoder."""


class ImageFormat(NamedTuple):
    """What is supported of an input format.

    Attributes:
        format: usual name.
        pictures: kinds of pictures that are decoded.
        bits: bits of a sample that are kept.
        alpha: whether transparency is supported.
        profiles: kinds of colour whose ICC profiles are applied.
    """

    format: str
    pictures: str
    bits: tuple[int, ...]
    alpha: bool
    profiles: tuple[str, ...]


INPUT_FORMATS = (
    ImageFormat("PNG", "grey, colour, palette, 1 to 16 bits", (8, 16), True, ("RGB", "grey")),
    ImageFormat(
        "JPEG",
        "grey, colour, CMYK; the first picture if there are several",
        (8,),
        False,
        ("RGB", "grey", "CMYK"),
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
    ImageFormat("AVIF", "first frame, 8 to 12 bits", (8, 16), True, ("RGB", "grey")),
    ImageFormat("HEIC", "main picture, 8 to 12 bits", (8, 16), True, ("RGB", "grey")),
)

*_FIRST, _LAST = (supported.format for supported in INPUT_FORMATS)
FORMAT_NAMES = f"{', '.join(_FIRST)} or {_LAST}"
"""Names of the input formats, for messages."""

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
"""File name suffixes of the input formats, in lower case."""

HEIF_THREADS = 1
"""Number of threads that decode HEIC; more would take cores from the network."""

MAX_REASON_LENGTH = 200
"""Number of characters quoted of a decoder's message, which may contain parts of the file."""


@dataclass(frozen=True)
class Limits:
    """Limits on the size of a picture.

    Attributes:
        max_pixels: limit on height times width, LR px.
        max_side: limit on height and on width, LR px.
        max_frames: limit on the frames in the file, although only the first is decoded;
            None for no limit.
        max_output_pixels: limit on height times width of the result, px; None for no limit.
    """

    max_pixels: int
    max_side: int
    max_frames: int | None = None
    max_output_pixels: int | None = None

    def check(self, height: int, width: int) -> None:
        """Raise ImageTooLarge if a picture has too many pixels or too long a side."""
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

    def check_output(self, height: int, width: int, lr_size: tuple[int, int]) -> None:
        """Raise ImageTooLarge if a result has too many pixels.

        Args:
            height: height of the result.
            width: width of the result.
            lr_size: height and width of the picture, for advice in the message.
        """
        most = self.max_output_pixels
        if most is not None and height * width > most:
            raise ImageTooLarge(
                f"Output must have at most {most} pixels. "
                f"Received: a picture that would become {width} x {height} = {width * height} "
                f"pixels. {_largest_scale(most, *lr_size)}"
            )

    def check_frames(self, frames: int) -> None:
        """Raise ImageTooLarge if there are more frames than `max_frames`.

        Args:
            frames: number of frames, counted to at most one beyond the limit.
        """
        if self.max_frames is not None and frames > self.max_frames:
            raise ImageTooLarge(
                f"Image must have at most {self.max_frames} frames. Received: more."
            )


def _largest_scale(max_pixels: int, height: int, width: int) -> str:
    """Return a sentence with the largest factor, of two decimals, up to which a result fits."""
    hundredths = isqrt(10_000 * max_pixels // (height * width)) + 1
    while hundredths >= 100:
        down, across = ((side * hundredths + 50) // 100 for side in (height, width))
        if down * across <= max_pixels:
            break
        hundredths -= 1
    if hundredths < 100:
        return "No size fits."
    return f"The largest that fits is scale={hundredths / 100:g}."


def _extend_pillow() -> None:
    """Let Pillow open HEIC, and all kinds of 16-bit grey TIFF.

    Pillow needs to read only the headers of these TIFFs. Some raw modes below do not exist
    in Pillow, so that it refuses such pixels; `core.images.samples` decodes them.
    """
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=HEIF_THREADS
    )
    kinds = TiffImagePlugin.OPEN_INFO
    kinds[b"MM", 0, (1,), 1, (16,), ()] = ("I;16B", "I;16B")
    for order in (b"II", b"MM"):
        for photometric in (0, 1):
            kinds[order, photometric, (1,), 1, (16, 16), (0,)] = ("I;16", "LX;16L")
            kinds[order, photometric, (1,), 1, (16, 16), (1,)] = ("LA", "La;16L")
            kinds[order, photometric, (1,), 1, (16, 16), (2,)] = ("LA", "LA;16L")


_extend_pillow()


@contextmanager
def decoder_errors_translated() -> Iterator[None]:
    """Turn any exception of a decoder into UnreadableImage, and MemoryError into TooMuchMemory.

    Errors of `core.errors` pass unchanged.
    """
    try:
        yield
    except SuperResolutionError:
        raise
    except MemoryError as error:
        raise TooMuchMemory(
            "Image must be decoded in the available memory. Received: one that needs more."
        ) from error
    except Exception as error:  # decoders raise many types
        text = getattr(error, "strerror", None) or str(error)  # the former names no file
        reason = text[:MAX_REASON_LENGTH] or type(error).__name__
        raise UnreadableImage(
            f"Image must be a whole, undamaged file. Received: {reason}."
        ) from error


def open_image(file: IO[bytes], limits: Limits | None) -> ImageFile.ImageFile:
    """Open the image in a file, without decoding it.

    Args:
        file: positioned anywhere.
        limits: only quoted in a message; the caller checks them.

    Raises:
        UnreadableImage: if the header is damaged, or of no supported format.
        ImageTooLarge: if the header states more pixels than Pillow itself would decode.
    """
    file.seek(0)
    try:
        image = Image.open(file, formats=PILLOW_FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            f"Image must be a {FORMAT_NAMES} file. Received: {_describe_start(file)}."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large_for_pillow(error, limits) from error
    if image.format == "AVIF":  # as pillow-heif does
        file.seek(0)
        image.info.update(read_avif_info(file.read()))
    return image


def _describe_start(file: IO[bytes]) -> str:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return f"{size} bytes that begin with {file.read(8)!r}" if size else "0 bytes"


def _too_large_for_pillow(error: Exception, limits: Limits | None) -> ImageTooLarge:
    """Return an error with the size from Pillow's message, and with the lower limit of ours."""
    max_pixels = limits.max_pixels if limits else Image.MAX_IMAGE_PIXELS
    received = re.search(r"\d+ pixels", str(error))
    return ImageTooLarge(
        f"Image must have at most {max_pixels} pixels. Received: {received and received[0]}."
    )


def read_header(file: IO[bytes], limits: Limits | None = None) -> Header:
    """Read the header of a file and check it; then rewind the file.

    `channels` counts alpha if the format has it here, even if all pixels turn out opaque.

    Raises the same errors as `decode_image`.
    """
    with decoder_errors_translated():
        with open_image(file, limits) as image:
            header = _check_header(image, file, limits)
        file.seek(0)
    return header


def decode_image(data: bytes | IO[bytes], limits: Limits | None = None) -> Picture:
    """Decode the first frame of a file to upright sRGB.

    Args:
        data: a file in one of `INPUT_FORMATS`, or its bytes.
        limits: checked on the header, before decoding; None for no limit.

    Returns:
        The picture, with 16 bits if the file has more than 8, else with 8.

    Raises:
        UnreadableImage: if the bytes are damaged or not an image.
        UnsupportedImage: if the samples are 32-bit integers or floats.
        ImageTooLarge: if the header exceeds `limits`.
        TooMuchMemory: if there is not enough memory.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with decoder_errors_translated():
        return decode_rows(file, limits).assemble()


def decode_rows(file: IO[bytes], limits: Limits | None = None) -> PictureRows:
    """Decode the first frame of a file as `decode_image` does, but convert its rows when asked for.

    The decoder's copy of the picture is in memory, and no other.
    """
    with decoder_errors_translated():
        samples, declared, extras = _read_file(file, limits)
        colour, kept_profile = to_srgb(samples, *declared)
        return _assemble(samples, colour, replace(extras, icc_profile=kept_profile))


def decode_rgb(data: bytes | IO[bytes], limits: Limits | None = None) -> Uint8Array:
    """Decode only the colour of a file, as `decode_image` does, to (H, W, 3) uint8."""
    return to_uint8(decode_image(data, limits).pixels)


def _check_header(image: ImageFile.ImageFile, file: IO[bytes], limits: Limits | None) -> Header:
    if limits is not None:
        limits.check(image.height, image.width)
    check_samples(image)
    frames = count_frames(image, file, limits.max_frames if limits else None)
    if limits is not None:
        limits.check_frames(frames)
    height, width = upright_size(image, read_orientation(image, read_exif(image, file)))
    bits = 16 if is_16_bit(image) else 8
    held = decoder_bytes(image, file.seek(0, io.SEEK_END))
    return Header(height, width, count_channels(image), bits, frames, held)


def _read_file(file: IO[bytes], limits: Limits | None) -> tuple[Samples, list[Declaration], Extras]:
    """Return samples, declared colours, and the other extras."""
    with open_image(file, limits) as image:
        header = _check_header(image, file, limits)
        exif = read_exif(image, file)
        orientation = read_orientation(image, exif)
        dpi = read_dpi(image, exif)
        if dpi is not None and orientation in SIDEWAYS:
            dpi = dpi[::-1]
        kept_exif, jpeg_quality = clean_exif(exif), read_jpeg_quality(image)
        declared = read_declarations(image, file)
        samples = read_samples(image, file, orientation)
        _check_decoded_size(samples, header, limits)
        extras = Extras(
            dpi=dpi,
            exif=kept_exif,
            xmp=clean_xmp(image.info.get("xmp")),
            jpeg_quality=jpeg_quality,
        )
        return samples, declared, extras


def _check_decoded_size(samples: Samples, header: Header, limits: Limits | None) -> None:
    """Check the limits again if the picture is not as large as its header says."""
    height, width = samples.colour.shape[:2]
    if limits is not None and (height, width) != (header.height, header.width):
        limits.check(height, width)


def _assemble(samples: Samples, colour: PixelRows, extras: Extras) -> PictureRows:
    pixels, alpha, is_grey = _with_channels(colour), samples.alpha, samples.kind == GREY
    if alpha is None:
        return PictureRows(pixels, None, is_grey, extras)
    opacity = extremes(alpha)
    if opacity[0] == np.iinfo(alpha.dtype).max:
        return PictureRows(pixels, None, is_grey, extras)
    return PictureRows(filled_rows(pixels, alpha, opacity), alpha, is_grey, extras)


def _with_channels(colour: PixelRows) -> PixelRows:
    """Return (H, W, C) for (H, W) or (H, W, C)."""
    if len(colour.shape) == 3:
        return colour
    shape = (*colour.shape, 1)
    return PixelRows(shape, colour.dtype, lambda *rows: colour.read(*rows)[..., None])
