"""Colour profiles: from the colour space of a file to sRGB, and back.

Colours are kept as they look (relative colorimetric, with black point compensation): what
sRGB can show comes out exactly, so the way back leads to where it began, and the shadows
of printing profiles stay apart. Perceptual tables would move all colours, and each
profile's to somewhere else.

Source: ICC.1:2022, sections 6 and 7; Adobe Systems 2006, black point compensation.
"""

import io
from collections.abc import Callable
from functools import lru_cache

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from core.images.samples import CMYK, GREY, RGB, Samples
from core.pixels import LEVELS_16, PixelArray, to_uint8

KINDS = {"RGB": RGB, "GRAY": GREY, "CMYK": CMYK}
"""What a profile describes, as ICC calls it."""

SPACES = {RGB: "rgb", GREY: "gray"}
"""As imagecodecs calls it."""

INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
COMPENSATED = ImageCms.Flags.BLACKPOINTCOMPENSATION
EXACT = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE
"""For 16 bits: tables made beforehand would be off by up to half an 8-bit level."""

LONGEST_PROFILE = 8_000_000
"""Bytes; those of printing presses have two or three million."""

LATTICE = 9
"""Levels of each channel on which profiles are compared."""

LEAST_CONTRAST = 0.25
"""Between a profile's black and white, on sRGB's scale from 0 to 1; less is nonsense."""

STRIP_PIXELS = 500_000
"""Converted at a time."""

Conversion = Callable[[PixelArray], PixelArray]
"""(h, W, C) or, of grey, (h, W) to the same height and width, type and range."""


def _make_grey_profile() -> bytes:
    """Grey whose levels are those of sRGB. Source: IEC 61966-2-1, eq. 5 and 6."""
    level = np.linspace(0, 1, 1024)
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    levels = np.rint(linear * LEVELS_16).astype(np.uint16)
    return imagecodecs.cms_profile("gray", transferfunction=levels)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB_GREY = _make_grey_profile()


def to_srgb(samples: Samples, profile: object) -> tuple[PixelArray, bytes | None]:
    """Convert the colour of a picture to sRGB.

    Args:
        samples: grey, RGB or CMYK.
        profile: what the file holds as its ICC profile; one that is damaged, or of
            another kind of colour, or nonsensical, is ignored.

    Returns:
        (H, W) if grey, else (H, W, 3), of the type of the samples; and the profile, if
        it is not sRGB and what has become of the picture can be converted back to it.
    """
    kind, colour, bits = samples.kind, samples.colour, _bits(samples.colour)
    if not isinstance(profile, bytes) or not _is_usable(profile, kind, bits):
        return (_without_ink(colour) if kind == CMYK else colour), None
    if kind != CMYK and _is_srgb(profile):
        return colour, None
    pixels = _by_strips(_conversion(profile, SRGB, bits), colour)
    return pixels, profile if _leads_back(profile, bits) else None


def from_srgb(pixels: PixelArray, icc_profile: bytes) -> PixelArray:
    """Convert a picture, or a strip of one, to the colour space of a profile.

    What is needed for it is made once for all strips.

    Args:
        pixels: sRGB, (h, W, 3) uint8 in [0, 255] or uint16 in [0, 65535]; of a profile
            of grey, only the first channel is looked at.
        icc_profile: as `decode_image` gives it in the extras.

    Returns:
        (h, W, 3) of the same type; of a profile of grey, with three equal channels.
    """
    conversion = _cached_conversion(icc_profile, _bits(pixels))
    if kind_of(icc_profile) == GREY:
        return np.repeat(conversion(pixels[..., 0])[..., None], 3, axis=2)
    return _by_strips(conversion, pixels)


@lru_cache(maxsize=2)
def _cached_conversion(profile: bytes, bits: int) -> Conversion:
    return _conversion(SRGB, profile, bits)


@lru_cache(maxsize=2)
def kind_of(profile: bytes) -> str | None:
    """GREY, RGB or CMYK; None if it describes something else.

    Raises: whatever the library does, if the profile is damaged.
    """
    space: str = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    return KINDS.get(space.strip())


def _bits(pixels: PixelArray) -> int:
    return 8 * pixels.itemsize


def _conversion(source: bytes, target: bytes, bits: int) -> Conversion:
    """One between profiles of which one at least is of RGB."""
    if GREY in (kind_of(source), kind_of(target)):
        return _grey_conversion(source, target, bits)
    return _colour_conversion(source, target, bits)


def _grey_conversion(source: bytes, target: bytes, bits: int) -> Conversion:
    """A table of all levels, to or from sRGB of equal channels; made of 16 bits at any rate."""
    ramp = (np.arange(2**bits) * (LEVELS_16 // (2**bits - 1))).astype(np.uint16)[None]
    if kind_of(source) == RGB:
        ramp = np.repeat(ramp[..., None], 3, axis=2)
    table = _colour_conversion(source, target, 16)(ramp)[0]
    levels = np.asarray(table if table.ndim == 1 else table[:, 1], np.uint16)  # all are equal
    fitting = to_uint8(levels) if bits == 8 else levels
    return lambda strip: fitting[strip]


def _colour_conversion(source: bytes, target: bytes, bits: int) -> Conversion:
    """Of the pixels themselves; grey is (h, W), all other colour (h, W, C)."""
    kinds = kind_of(source) or "", kind_of(target) or ""
    if bits == 8:
        return _uint8_conversion(source, target, *kinds)
    return lambda strip: imagecodecs.cms_transform(
        np.ascontiguousarray(strip),
        source,
        target,
        colorspace=SPACES[kinds[0]],
        outcolorspace=SPACES[kinds[1]],
        intent=INTENT,
        flags=EXACT,
    )


def _uint8_conversion(source: bytes, target: bytes, kind: str, target_kind: str) -> Conversion:
    transform = ImageCms.buildTransform(
        io.BytesIO(source), io.BytesIO(target), kind, target_kind, INTENT, COMPENSATED
    )
    return lambda strip: np.asarray(transform.apply(_image_of(strip, kind)))


def _image_of(pixels: PixelArray, kind: str) -> Image.Image:
    height, width = pixels.shape[:2]
    return Image.frombytes(kind, (width, height), pixels.tobytes())


def _without_ink(ink: PixelArray) -> PixelArray:
    """CMYK without a profile, as Pillow mixes it."""
    return _by_strips(lambda strip: np.asarray(_image_of(strip, CMYK).convert(RGB)), ink)


def _by_strips(conversion: Conversion, pixels: PixelArray) -> PixelArray:
    rows = max(1, STRIP_PIXELS // pixels.shape[1])
    strips = [conversion(pixels[top : top + rows]) for top in range(0, len(pixels), rows)]
    return np.concatenate(strips)


@lru_cache(maxsize=2)
def _is_usable(profile: bytes, kind: str, bits: int) -> bool:
    """Whether it describes this kind of colour, and tells black from white."""
    try:
        if len(profile) > LONGEST_PROFILE or kind_of(profile) != kind:
            return False
        extremes = _conversion(profile, SRGB, bits)(_extremes(kind, bits)).astype(int)
    except Exception:  # of many kinds, and what is damaged is ignored
        return False
    black, white = extremes.reshape(2, -1).mean(axis=1) / (2**bits - 1)
    return bool(white - black >= LEAST_CONTRAST)


def _extremes(kind: str, bits: int) -> PixelArray:
    """One row of two pixels: the darkest and the lightest."""
    levels = np.array([[0, 2**bits - 1]], f"uint{bits}")
    if kind == GREY:
        return levels
    return np.repeat((levels[:, ::-1] if kind == CMYK else levels)[..., None], len(kind), axis=2)


@lru_cache(maxsize=2)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile of grey or RGB changes no colour by more than a level of 255."""
    levels = np.linspace(0, 255, LATTICE).astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    pixels = np.arange(256, dtype=np.uint8)[None] if kind_of(profile) == GREY else lattice
    converted = _conversion(profile, SRGB, 8)(pixels).astype(int)
    return int(np.abs(converted - pixels).max()) <= 1


@lru_cache(maxsize=2)
def _leads_back(profile: bytes, bits: int) -> bool:
    """Whether sRGB can be converted to it: not to ink, nor to what only a scanner sees."""
    kind = kind_of(profile)
    if kind == CMYK:
        return False
    try:
        _conversion(SRGB, profile, bits)(_extremes(kind or RGB, bits))
    except Exception:  # of many kinds
        return False
    return True
