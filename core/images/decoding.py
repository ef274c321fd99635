"""Files to pictures: the header is judged first, then pixels are decoded."""

import io
from dataclasses import replace
from typing import IO

import numpy as np
from PIL import ImageFile

from core.images.alpha import fill_transparent
from core.images.colour import to_srgb
from core.images.exif import clean_exif, read_exif
from core.images.frames import count_frames
from core.images.kinds import check_samples, count_channels, is_deep
from core.images.limits import Limits
from core.images.opening import damage_reported, open_image
from core.images.orientation import ON_ITS_SIDE, read_orientation, upright_size
from core.images.resolution import read_dpi
from core.images.samples import GREY, Samples, read_samples
from core.images.xmp import clean_xmp
from core.picture import Extras, Header, Picture
from core.pixels import PixelArray, Uint8Array, uint8_from_uint16


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
    pixels = decode_image(data, limits).pixels
    if pixels.dtype == np.uint16:
        return uint8_from_uint16(np.asarray(pixels, np.uint16))
    return np.asarray(pixels, np.uint8)


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
