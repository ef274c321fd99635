"""Encoding of whole pictures to PNG, JPEG, WebP and AVIF.

`core.images.png` writes PNG strip by strip.
"""

import io
from dataclasses import dataclass, field, replace

import imagecodecs
import numpy as np
from PIL import Image

from core.errors import ImageTooLarge
from core.images.metadata import EXIF_PREFIX, add_dpi_to_exif
from core.images.png import MAX_SIDE, RELATIVE_COLORIMETRIC, extra_chunks
from core.images.profiles import SRGB, SRGB_GREY, from_srgb, kind_of
from core.images.samples import GREY, RGB
from core.picture import Extras, Picture
from core.pixels import PixelArray, Uint8Array, flatten_on_white, to_uint8

DEFAULT_QUALITY = {"png": 100, "jpeg": 90, "webp": 85, "avif": 75}
"""Quality by output format, if the caller sets none: usual for photographs that are viewed,
not edited. PNG is lossless and ignores it."""

OUTPUT_FORMATS = tuple(DEFAULT_QUALITY)

MAX_SIDES = {"png": MAX_SIDE, "jpeg": 65_535, "webp": 16_383, "avif": 65_536}
"""Highest height and width by output format, px.

Source: PNG, section 11.2.1; ITU-T T.81, B.2.2; RFC 6386, 9.1; AV1, 5.5.1."""

DISPLAY_NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}

PNG_LEVEL = 1
"""Level of zlib. Compared with the usual 6, it takes a third of the time or less, for files a
tenth larger, measured on upscaled photographs."""

PNG_HEADER_BYTES = 33
"""Number of bytes of a PNG up to the end of its first chunk."""

PNG_FIXED_OVERHEAD, PNG_ROW_OVERHEAD = 4096, 8
"""Number of bytes by which a PNG may exceed its pixels: per file for chunks, and per row for
its filter type and for what deflate adds."""

FULL_COLOUR_QUALITY = 90
"""Quality from which JPEG keeps colour at full resolution; below, nobody sees the difference."""

MAX_JPEG_XMP_BYTES = 65_502
"""Number of bytes of XMP in one segment. Source: XMP Specification Part 3, section 1.1.3."""

AVIF_SPEED = 8
"""Speed of the AVIF encoder, up to 10. Compared with the usual 6, it takes half the time for
files a fifth larger: 0.6 s on two cores, measured on upscaled photographs of 3 megapixels."""


@dataclass(frozen=True)
class ImageOutput:
    """Output format, its settings, and what is written beside the pixels.

    Attributes:
        format: one of `OUTPUT_FORMATS`.
        quality: from 1 to 100; None for `DEFAULT_QUALITY`. PNG ignores it.
        extras: written to the file; pixels are converted to the profile, if there is one.
    """

    format: str = "png"
    quality: int | None = None
    extras: Extras = field(default_factory=Extras)

    def __post_init__(self) -> None:
        if self.format not in OUTPUT_FORMATS:
            raise ValueError(
                f"`format` must be one of {', '.join(OUTPUT_FORMATS)}. Received: {self.format}"
            )
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"`quality` must be from 1 to 100. Received: {self.quality}")

    @property
    def effective_quality(self) -> int:
        """The quality, or the default of the format."""
        return DEFAULT_QUALITY[self.format] if self.quality is None else self.quality


def check_output_size(output_format: str, height: int, width: int) -> None:
    """Check, before any work, that a format can hold a picture.

    Args:
        output_format: one of `OUTPUT_FORMATS`.
        height: height of the SR picture.
        width: width of the SR picture.

    Raises:
        ImageTooLarge: if a side is longer than `MAX_SIDES`.
    """
    max_side = MAX_SIDES[output_format]
    if max(height, width) > max_side:
        raise ImageTooLarge(
            f"Output as {DISPLAY_NAMES[output_format]} must be at most {max_side} pixels "
            f"wide and high. Received: a picture that would become {width} x {height} pixels."
        )


def encode_picture(picture: Picture, output: ImageOutput) -> bytes:
    """Encode a whole picture.

    What a format cannot hold is reduced or left out. JPEG, WebP and AVIF store 8 bits.
    JPEG stores alpha flattened on white, and no XMP of more than `MAX_JPEG_XMP_BYTES`.

    Args:
        picture: sRGB. Its own extras are not written; those of `output` are.
        output: if its profile is of the same kind as the picture, the pixels are converted
            to it. Otherwise they are declared as sRGB.

    Raises:
        ImageTooLarge: if a side is too long for the format.
    """
    check_output_size(output.format, picture.height, picture.width)
    picture, profile = _convert_to_profile(picture, output)
    if output.format == "png":
        return _encode_png(picture, replace(output.extras, icc_profile=profile))
    file = io.BytesIO()
    options = _pillow_options(output, profile)
    _pillow_image(picture, output.format).save(file, output.format.upper(), **options)
    return file.getvalue()


def encode_png(picture: Picture) -> bytes:
    """Encode a picture as PNG, with its own extras."""
    return encode_picture(picture, ImageOutput("png", extras=picture.extras))


def encode_jpeg(pixels: Uint8Array, quality: int, subsampling: str = "4:2:0") -> bytes:
    """Encode pixels as a bare JPEG.

    Args:
        pixels: sRGB, (H, W, 3) uint8 in [0, 255].
        quality: quality of libjpeg, from 1 to 100; 75 is usual.
        subsampling: resolution of colour: "4:4:4" for the full one, "4:2:0" for half of it on
            each side, which is usual.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


def encode_webp(pixels: Uint8Array, quality: int) -> bytes:
    """Encode pixels as a bare lossy WebP.

    Args:
        pixels: sRGB, (H, W, 3) uint8 in [0, 255].
        quality: quality of libwebp, from 1 to 100; 75 is usual.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality)
    return file.getvalue()


def _convert_to_profile(picture: Picture, output: ImageOutput) -> tuple[Picture, bytes | None]:
    """Return the picture in the profile that is written, and that profile.

    The profile is None if the format itself declares sRGB.
    """
    is_grey = _is_stored_grey(picture, output.format)
    profile = output.extras.icc_profile
    if profile is not None and kind_of(profile) == (GREY if is_grey else RGB):
        return replace(picture, pixels=from_srgb(picture.pixels, profile)), profile
    if output.format in ("png", "avif"):
        return picture, None
    return picture, SRGB_GREY if is_grey else SRGB


def _is_stored_grey(picture: Picture, output_format: str) -> bool:
    """Return whether one channel is stored: WebP has no grey, Pillow's AVIF none with alpha."""
    if output_format == "avif":
        return picture.is_grey and picture.alpha is None
    return picture.is_grey and output_format != "webp"


def _stack_channels(colour: PixelArray, alpha: PixelArray | None) -> PixelArray:
    """Return colour and alpha as (H, W, C), or (H, W) if there is a single channel."""
    channels = colour if alpha is None else np.dstack([colour, alpha])
    return channels[..., 0] if channels.shape[2] == 1 else channels


def _encode_png(picture: Picture, extras: Extras) -> bytes:
    colour = picture.pixels[..., :1] if picture.is_grey else picture.pixels
    pixels = np.ascontiguousarray(_stack_channels(colour, picture.alpha))
    # The library's own estimate is too low for some pictures of noise.
    max_bytes = pixels.nbytes + pixels.nbytes // 500
    max_bytes += PNG_FIXED_OVERHEAD + PNG_ROW_OVERHEAD * picture.height
    png = bytes(imagecodecs.png_encode(pixels, PNG_LEVEL, out=max_bytes))
    chunks = b"".join(chunk.encode() for chunk in extra_chunks(extras, RELATIVE_COLORIMETRIC))
    return b"".join([png[:PNG_HEADER_BYTES], chunks, png[PNG_HEADER_BYTES:]])


def _pillow_image(picture: Picture, output_format: str) -> Image.Image:
    """Return the picture with 8 bits and the channels that the format can hold."""
    is_grey = _is_stored_grey(picture, output_format)
    colour = to_uint8(picture.pixels[..., :1] if is_grey else picture.pixels)
    alpha = None if picture.alpha is None else to_uint8(picture.alpha)
    if alpha is not None and output_format == "jpeg":
        colour, alpha = flatten_on_white(colour, alpha), None
    return Image.fromarray(_stack_channels(colour, alpha))


def _pillow_options(output: ImageOutput, profile: bytes | None) -> dict[str, object]:
    """Return the options of Pillow's encoder, without those that are not set."""
    quality, extras = output.effective_quality, output.extras
    options: dict[str, object] = {"quality": quality, "icc_profile": profile, "xmp": extras.xmp}
    if output.format == "jpeg":
        options |= _jpeg_options(quality, extras)
    else:
        exif = add_dpi_to_exif(extras.exif, extras.dpi)
        options["exif"] = exif and EXIF_PREFIX + exif
    if output.format == "avif":
        options["speed"] = AVIF_SPEED
    return {name: value for name, value in options.items() if value is not None}


def _jpeg_options(quality: int, extras: Extras) -> dict[str, object]:
    return {
        "subsampling": "4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0",
        "dpi": extras.dpi,
        "exif": extras.exif and EXIF_PREFIX + extras.exif,
        "xmp": extras.xmp if extras.xmp and len(extras.xmp) <= MAX_JPEG_XMP_BYTES else None,
    }
