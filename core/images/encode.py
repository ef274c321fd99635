"""Pictures to files, whole. PNG is also written row by row, in `core/images/png.py`.

What a picture is to be written as.
"""

import io
from dataclasses import dataclass, field, replace

import imagecodecs
import numpy as np
from PIL import Image

from core.errors import ImageTooLarge
from core.images.metadata import PREFIX, with_resolution
from core.images.png import RELATIVE_COLORIMETRIC, extra_chunks
from core.images.profiles import SRGB, SRGB_GREY, from_srgb, kind_of
from core.images.samples import GREY, RGB
from core.picture import Extras, Picture
from core.pixels import Uint8Array, flatten_on_white, to_uint8

QUALITIES = {"png": 100, "jpeg": 90, "webp": 85, "avif": 75}
"""Usual for a photograph that is to be looked at, not edited; of PNG it has no meaning."""

OUTPUT_FORMATS = tuple(QUALITIES)

MAX_SIDES = {"png": 2**31 - 1, "jpeg": 65_535, "webp": 16_383, "avif": 65_536}
"""Pixels. Source: PNG, section 11.2.1; ITU-T T.81, B.2.2; RFC 6386, 9.1; AV1, 5.5.1."""

NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


@dataclass(frozen=True)
class ImageOutput:
    """A format with its settings, and what is written beside the pixels.

    Attributes:
        format: one of `OUTPUT_FORMATS`.
        quality: from 1 to 100; None for what is usual in the format. PNG has none.
        extras: what to write. Of a profile, pixels are converted to it.
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
    def chosen_quality(self) -> int:
        """The quality, or what is usual."""
        return QUALITIES[self.format] if self.quality is None else self.quality


def check_output_size(output_format: str, height: int, width: int) -> None:
    """Judge, before the work, whether a picture would fit into a format.

    Args:
        output_format: one of `OUTPUT_FORMATS`.
        height: of the SR picture.
        width: likewise.

    Raises:
        ImageTooLarge: with the limit and what would come.
    """
    at_most = MAX_SIDES[output_format]
    if max(height, width) > at_most:
        raise ImageTooLarge(
            f"Output as {NAMES[output_format]} must be at most {at_most} pixels wide and high. "
            f"Received: a picture that would become {width} x {height} pixels."
        )


PNG_LEVEL = 1
"""Of zlib: a third of the time of the usual 6, or less, for files a tenth larger.

Measured on upscaled photographs.
"""

IHDR_END = 33
"""Bytes of a PNG before what comes second."""

FULL_COLOUR_QUALITY = 90
"""From which JPEG holds colour at full resolution: below, nobody sees the difference."""

LONGEST_JPEG_XMP = 65_502
"""Bytes in one segment. Source: XMP Specification Part 3, section 1.1.3."""

AVIF_SPEED = 8
"""Of 10: half the time of the usual 6 for files a fifth larger.

Measured on upscaled photographs of three megapixels: 0.6 s on two cores.
"""


def encode_picture(picture: Picture, output: ImageOutput) -> bytes:
    """Encode a whole picture.

    What a format cannot hold is left out, or made to fit: JPEG, WebP and AVIF take 8
    bits; JPEG takes alpha on white, and XMP of 65502 bytes.

    Args:
        picture: sRGB. Its own extras are not written, those of `output` are.
        output: if it has a profile of the same kind as the picture, pixels are converted
            to it; without one the file says that they are sRGB.

    Raises:
        ImageTooLarge: if the format has no such sides.
    """
    check_output_size(output.format, picture.height, picture.width)
    picture, profile = _in_profile(picture, output)
    if output.format == "png":
        return _encode_png(picture, replace(output.extras, icc_profile=profile))
    options = _options(output, profile)
    file = io.BytesIO()
    _as_image(picture, output.format).save(file, output.format.upper(), **options)
    return file.getvalue()


def encode_png(picture: Picture) -> bytes:
    """Encode as PNG: grey or colour, 8 or 16 bits, alpha, and all extras."""
    return encode_picture(picture, ImageOutput("png", extras=picture.extras))


def _in_profile(picture: Picture, output: ImageOutput) -> tuple[Picture, bytes | None]:
    """The picture in the profile that is written; None where the format itself says sRGB."""
    is_grey = _is_written_grey(picture, output.format)
    profile = output.extras.icc_profile
    if profile is not None and kind_of(profile) == (GREY if is_grey else RGB):
        return replace(picture, pixels=from_srgb(picture.pixels, profile)), profile
    if output.format in ("png", "avif"):
        return picture, None
    return picture, SRGB_GREY if is_grey else SRGB


def _is_written_grey(picture: Picture, output_format: str) -> bool:
    """WebP has no grey, and Pillow's AVIF none with alpha."""
    if output_format == "avif":
        return picture.is_grey and picture.alpha is None
    return picture.is_grey and output_format != "webp"


def _as_image(picture: Picture, output_format: str) -> Image.Image:
    """With 8 bits, and the channels that the format has."""
    pixels, alpha = to_uint8(picture.pixels), picture.alpha
    if _is_written_grey(picture, output_format):
        pixels = pixels[..., :1]
    if alpha is not None:
        opacity = to_uint8(alpha)
        is_flat = output_format == "jpeg"
        pixels = flatten_on_white(pixels, opacity) if is_flat else np.dstack([pixels, opacity])
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _options(output: ImageOutput, profile: bytes | None) -> dict[str, object]:
    """For Pillow's encoder of a format."""
    quality, extras = output.chosen_quality, output.extras
    options: dict[str, object] = {"quality": quality, "icc_profile": profile, "xmp": extras.xmp}
    if output.format == "jpeg":
        return _given(options | _jpeg_options(quality, extras))
    exif = with_resolution(extras.exif, extras.dpi)
    options |= {"exif": exif and PREFIX + exif}
    return _given(options | ({"speed": AVIF_SPEED} if output.format == "avif" else {}))


def _jpeg_options(quality: int, extras: Extras) -> dict[str, object]:
    return {
        "subsampling": "4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0",
        "dpi": extras.dpi,
        "exif": extras.exif and PREFIX + extras.exif,
        "xmp": extras.xmp if extras.xmp and len(extras.xmp) <= LONGEST_JPEG_XMP else None,
    }


def _given(options: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


def encode_jpeg(pixels: Uint8Array, quality: int) -> bytes:
    """Encode (H, W, 3) uint8 as bare JPEG, colour at half resolution as is usual.

    Args:
        pixels: sRGB in [0, 255].
        quality: of libjpeg, from 1 to 100, 75 being usual.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


ROOM_BYTES, ROOM_OF_A_ROW = 4096, 8
"""That a PNG may be larger than its pixels: chunks; filters and what deflate adds."""


def _encode_png(picture: Picture, extras: Extras) -> bytes:
    channels = picture.pixels[..., :1] if picture.is_grey else picture.pixels
    if picture.alpha is not None:
        channels = np.dstack([channels, picture.alpha])
    if channels.shape[2] == 1:
        channels = channels[..., 0]
    pixels = np.ascontiguousarray(channels)
    # The library's own bound is too low for some pictures of noise.
    room = ROOM_BYTES + pixels.nbytes + pixels.nbytes // 500 + ROOM_OF_A_ROW * picture.height
    bare = bytes(imagecodecs.png_encode(pixels, PNG_LEVEL, out=room))
    said = b"".join(chunk.encode() for chunk in extra_chunks(extras, RELATIVE_COLORIMETRIC))
    return b"".join([bare[:IHDR_END], said, bare[IHDR_END:]])
