"""Encoded pictures to arrays and back; the only module that imports Pillow.

A picture is judged by its header before a pixel of it is decoded. What the network
does not see, alpha and the colour profile, is set aside and put back on afterwards.
"""

import io
import re
from dataclasses import dataclass
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import ImageTooLarge, UnreadableImage, UnsupportedImage
from core.picture import Extras, Header, Picture
from core.pixels import PixelArray, Uint8Array, uint8_from_uint16

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
"""What is decoded; Pillow is not even asked about anything else."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
"""Of files in these formats, in lower case."""

FORMAT_NAMES = "PNG, JPEG, WebP, TIFF, BMP or GIF"

PNG_LEVEL = 1
"""Of zlib: a third of the time of the usual 6, or less, for files a tenth larger.

Measured on upscaled photographs with Pillow 13.
"""

BICUBIC_RADIUS = 2
"""How far the kernel sees, LR px. Source: Keys 1981, as for `resize_bicubic`."""

RGB_MODES = ("RGB", "RGBA", "RGBX", "P", "PA")
"""Pillow modes whose colour profile describes RGB and so still fits the output."""

ORIENTATION = 0x0112
"""EXIF tag. Source: EXIF 2.32, section 4.6.4."""

ON_ITS_SIDE = (5, 6, 7, 8)
"""Orientations that swap height and width."""

UINT16_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
WIDE_MODES = ("I", "F")
"""32-bit samples: the type does not say which level is white."""


@dataclass(frozen=True)
class Limits:
    """What a picture may measure."""

    max_pixels: int
    """Height times width, LR px."""
    max_side: int
    """Height or width, LR px."""

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


def read_header(file: IO[bytes], limits: Limits | None = None) -> Header:
    """Judge a file by its header; the file is at its beginning again afterwards.

    Raises: as `decode_image` does.
    """
    with _open(file, limits) as image:
        _check(image, limits)
        height, width = image.height, image.width
        if _is_on_its_side(image):
            height, width = width, height
        header = Header(height, width, 4 if image.has_transparency_data else 3)
    file.seek(0)
    return header


def decode_image(data: bytes | IO[bytes], limits: Limits | None = None) -> Picture:
    """Decode the first frame of an encoded picture.

    Orientation from EXIF is applied, 16-bit grey is scaled to 8 bits, palettes are
    expanded, CMYK is converted.

    Args:
        data: a whole file in one of `FORMATS`, or its bytes.
        limits: checked on the header, before decoding; None for no limit.

    Raises:
        UnreadableImage: if the bytes are damaged or no picture.
        UnsupportedImage: if the samples are 32-bit integers or floats.
        ImageTooLarge: if the header announces more than `limits`.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with _open(file, limits) as image:
        _check(image, limits)
        return _decode(image)


def _check(image: Image.Image, limits: Limits | None) -> None:
    if limits is not None:
        limits.check(image.height, image.width)
    if image.mode in WIDE_MODES:
        raise UnsupportedImage(
            "Image must have samples of 1 to 16 bits. "
            f"Received: {image.format} with 32-bit samples (mode {image.mode})."
        )


def _is_on_its_side(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ORIENTATION) in ON_ITS_SIDE
    except Exception as error:  # decoders raise many kinds on damaged headers
        raise _damaged(error) from error


def _open(file: IO[bytes], limits: Limits | None) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            f"Image must be a {FORMAT_NAMES} file. Received: {_describe(file)}."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(error, limits) from error
    except Exception as error:  # decoders raise many kinds on damaged headers
        raise _damaged(error) from error


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


def _damaged(error: Exception) -> UnreadableImage:
    return UnreadableImage(f"Image must be a whole, undamaged file. Received: {error}.")


def _decode(image: Image.Image) -> Picture:
    mode, icc_profile = image.mode, image.info.get("icc_profile")
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        pixels, alpha = _split(upright)
    except Exception as error:  # decoders raise many kinds on damaged files
        raise _damaged(error) from error
    kept = icc_profile if mode in RGB_MODES else None
    return Picture(pixels, alpha, extras=Extras(icc_profile=kept))


def _split(image: Image.Image) -> tuple[Uint8Array, Uint8Array | None]:
    """Colour (H, W, 3) and alpha (H, W), or None where there is no transparency."""
    if image.mode in UINT16_MODES:
        grey = uint8_from_uint16(np.asarray(image).astype(np.uint16))
        return np.repeat(grey[..., None], 3, axis=2), None
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    return np.asarray(image.convert("RGB")), None


def resize_bicubic(pixels: Uint8Array, height: int, width: int) -> Uint8Array:
    """Classical interpolation of (H, W) or (H, W, 3) uint8, antialiased when smaller.

    Source: Keys 1981, doi:10.1109/TASSP.1981.1163711, a = -0.5, as MATLAB's `imresize`.
    """
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def resize_bicubic_rows(pixels: PixelArray, scale: int, top: int, bottom: int) -> Uint8Array:
    """Rows [top, bottom) of `resize_bicubic(pixels, scale*H, scale*W)`, without the others.

    They are the same to the last bit. With other than whole factors they would not
    always be: Pillow then lets the shape decide which side it resizes first.

    Args:
        pixels: (H, W) or (H, W, 3) uint8 in [0, 255].
        scale: new pixels per old one, on each side.
        top: first row wanted, at least 0.
        bottom: row after the last one wanted, at most scale*H.

    Returns:
        (bottom - top, scale*W) or (bottom - top, scale*W, 3) uint8 in [0, 255].
    """
    height, width = pixels.shape[:2]
    if not 0 <= top < bottom <= scale * height:
        raise ValueError(f"Rows must be some of [0, {scale * height}). Received: [{top}, {bottom})")
    first = max(top // scale - BICUBIC_RADIUS, 0)
    last = min(-(-bottom // scale) + BICUBIC_RADIUS, height)
    resized = resize_bicubic(pixels[first:last], scale * (last - first), scale * width)
    return resized[top - scale * first : bottom - scale * first]


def encode_jpeg(pixels: Uint8Array, quality: int) -> bytes:
    """Encode (H, W, 3) uint8 as JPEG, colour at half resolution as is usual.

    Args:
        pixels: sRGB in [0, 255].
        quality: of libjpeg, from 1 to 100, 75 being usual.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def encode_png(picture: Picture) -> bytes:
    """Encode as PNG, with alpha if there is any, and with the colour profile."""
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = np.dstack([pixels, picture.alpha])
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, "PNG", compress_level=PNG_LEVEL, icc_profile=picture.extras.icc_profile
    )
    return file.getvalue()
