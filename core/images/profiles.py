"""ICC colour profiles: conversion from the colour space of a file to sRGB, and back.

The intent is relative colorimetric with black point compensation. Colours within sRGB are
converted exactly, so the conversion back restores them, and the shadows of printing
profiles stay apart. Perceptual tables would shift all colours, each profile differently.

Source: ICC.1:2022, sections 6 and 7; Adobe Systems 2006, black point compensation.
"""

import io
from collections.abc import Callable
from functools import lru_cache

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from core.images.hdr import HdrColour, make_tone_mapping
from core.images.samples import CMYK, GREY, RGB, Samples
from core.picture import PixelRows
from core.pixels import LEVELS_16, PixelArray, to_uint8

KINDS = {"RGB": RGB, "GRAY": GREY, "CMYK": CMYK}
"""Kind of colour by the name that ICC profiles use."""

SPACES = {RGB: "rgb", GREY: "gray"}
"""Name that imagecodecs uses, by kind of colour."""

INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
COMPENSATED = ImageCms.Flags.BLACKPOINTCOMPENSATION
EXACT = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE
"""Flags for 16 bits: precomputed tables would be off by up to half an 8-bit level."""

MAX_PROFILE_BYTES = 8_000_000
"""Limit on a profile; those of printing presses have two or three million bytes."""

LATTICE = 9
"""Number of levels per channel at which a profile is compared with sRGB."""

MIN_CONTRAST = 0.25
"""Least plausible difference between a profile's black and white, in sRGB from 0 to 1."""

STRIP_PIXELS = 500_000
"""Number of pixels converted at a time."""

Conversion = Callable[[PixelArray], PixelArray]
"""Maps (h, W, C), or (h, W) if grey, to the same height, width, type and range."""


def _make_grey_profile() -> bytes:
    """Create a grey profile with the curve of sRGB. Source: IEC 61966-2-1, eq. 5 and 6."""
    level = np.linspace(0, 1, 1024)
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    levels = np.rint(linear * LEVELS_16).astype(np.uint16)
    return imagecodecs.cms_profile("gray", transferfunction=levels)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB_GREY = _make_grey_profile()


def to_srgb(samples: Samples, *declared: object) -> tuple[PixelRows, bytes | None]:
    """Convert the colour of a picture to sRGB.

    Args:
        samples: grey, RGB or CMYK.
        declared: whatever the file holds as its ICC profile, or an `HdrColour`; the first that
            can be used counts. A profile is ignored if it is damaged, implausible, or describes
            another kind of colour.

    Returns:
        The pixels, (H, W) if grey, else (H, W, 3), of the type of the samples; and the
        profile, or None if it is sRGB or the pixels cannot be converted back to it.
    """
    kind, colour, bits = samples.kind, samples.colour, 8 * samples.colour.dtype.itemsize
    profile = next((each for each in declared if _is_usable(each, kind, bits)), None)
    if isinstance(profile, HdrColour):
        return _converted(make_tone_mapping(profile, bits), colour), None
    if not isinstance(profile, bytes):
        return (_converted(_rgb_from_plain_cmyk, colour) if kind == CMYK else colour), None
    if kind != CMYK and _is_srgb(profile):
        return colour, None
    pixels = _converted(_make_conversion(profile, SRGB, bits), colour)
    return pixels, profile if _can_convert_back(profile, bits) else None


def from_srgb(pixels: PixelArray, icc_profile: bytes) -> PixelArray:
    """Convert a picture, or a strip of one, to the colour space of a profile.

    The transform is cached, so converting strip by strip creates it once.

    Args:
        pixels: sRGB, (h, W, 3) uint8 in [0, 255] or uint16 in [0, 65535]; for a grey
            profile, only the first channel is used.
        icc_profile: profile as `decode_image` returns it in the extras.

    Returns:
        (h, W, 3) of the same type; for a grey profile, the three channels are equal.
    """
    conversion = _cached_conversion(icc_profile, _bits(pixels))
    if kind_of(icc_profile) == GREY:
        return np.repeat(conversion(pixels[..., 0])[..., None], 3, axis=2)
    return _convert_by_strips(conversion, pixels)


@lru_cache(maxsize=2)
def _cached_conversion(profile: bytes, bits: int) -> Conversion:
    return _make_conversion(SRGB, profile, bits)


@lru_cache(maxsize=2)
def kind_of(profile: bytes) -> str | None:
    """Return GREY, RGB or CMYK; None if the profile describes another kind of colour.

    Raises whatever the library raises if the profile is damaged.
    """
    space: str = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    return KINDS.get(space.strip())


def _bits(pixels: PixelArray) -> int:
    return 8 * pixels.itemsize


def _make_conversion(source: bytes, target: bytes, bits: int) -> Conversion:
    """Create the conversion between two profiles, at least one of which is RGB."""
    if GREY in (kind_of(source), kind_of(target)):
        return _make_grey_conversion(source, target, bits)
    return _make_colour_conversion(source, target, bits)


def _make_grey_conversion(source: bytes, target: bytes, bits: int) -> Conversion:
    """Create a table of all levels between grey and the greys of sRGB, from 16-bit colours."""
    ramp = (np.arange(2**bits) * (LEVELS_16 // (2**bits - 1))).astype(np.uint16)[None]
    if kind_of(source) == RGB:
        ramp = np.repeat(ramp[..., None], 3, axis=2)
    converted = _make_colour_conversion(source, target, 16)(ramp)[0]
    levels = converted if converted.ndim == 1 else converted[:, 1]  # all channels are equal
    table = to_uint8(levels) if bits == 8 else levels
    return lambda strip: table[strip]


def _make_colour_conversion(source: bytes, target: bytes, bits: int) -> Conversion:
    """Create the conversion of pixels: (h, W) for a grey profile, else (h, W, C)."""
    kinds = kind_of(source) or "", kind_of(target) or ""
    if bits == 8:
        return _make_uint8_conversion(source, target, *kinds)
    return lambda strip: imagecodecs.cms_transform(
        np.ascontiguousarray(strip),
        source,
        target,
        colorspace=SPACES[kinds[0]],
        outcolorspace=SPACES[kinds[1]],
        intent=INTENT,
        flags=EXACT,
    )


def _make_uint8_conversion(source: bytes, target: bytes, kind: str, target_kind: str) -> Conversion:
    transform = ImageCms.buildTransform(
        io.BytesIO(source), io.BytesIO(target), kind, target_kind, INTENT, COMPENSATED
    )
    return lambda strip: np.asarray(transform.apply(_image_from_pixels(strip, kind)))


def _image_from_pixels(pixels: PixelArray, kind: str) -> Image.Image:
    height, width = pixels.shape[:2]
    return Image.frombytes(kind, (width, height), pixels.tobytes())


def _rgb_from_plain_cmyk(ink: PixelArray) -> PixelArray:
    """Convert CMYK without a profile by Pillow's formula."""
    return np.asarray(_image_from_pixels(ink, CMYK).convert(RGB))


def _converted(conversion: Conversion, colour: PixelRows) -> PixelRows:
    """Return rows to be converted to sRGB when they are read."""
    shape = colour.shape if len(colour.shape) == 2 else (*colour.shape[:2], len(RGB))
    return PixelRows(shape, colour.dtype, lambda *rows: conversion(colour.read(*rows)))


def _convert_by_strips(conversion: Conversion, pixels: PixelArray) -> PixelArray:
    rows = max(1, STRIP_PIXELS // pixels.shape[1])
    strips = [conversion(pixels[top : top + rows]) for top in range(0, len(pixels), rows)]
    return np.concatenate(strips)


def _is_usable(declared: object, kind: str, bits: int) -> bool:
    """Return whether pixels can be converted from what a file declares."""
    if isinstance(declared, HdrColour):
        return kind in (RGB, GREY)
    return isinstance(declared, bytes) and _is_usable_profile(declared, kind, bits)


@lru_cache(maxsize=2)
def _is_usable_profile(profile: bytes, kind: str, bits: int) -> bool:
    """Return whether a profile describes this kind of colour, and black differs from white."""
    try:
        if len(profile) > MAX_PROFILE_BYTES or kind_of(profile) != kind:
            return False
        extremes = _make_conversion(profile, SRGB, bits)(_black_and_white(kind, bits)).astype(int)
    except Exception:  # the library raises many types on damage
        return False
    black, white = extremes.reshape(2, -1).mean(axis=1) / (2**bits - 1)
    return bool(white - black >= MIN_CONTRAST)


def _black_and_white(kind: str, bits: int) -> PixelArray:
    """Return one row of two pixels: the darkest and the lightest."""
    levels = np.array([[0, 2**bits - 1]], f"uint{bits}")
    if kind == GREY:
        return levels
    return np.repeat((levels[:, ::-1] if kind == CMYK else levels)[..., None], len(kind), axis=2)


@lru_cache(maxsize=2)
def _is_srgb(profile: bytes) -> bool:
    """Return whether a grey or RGB profile changes no colour by more than one 8-bit level."""
    levels = np.linspace(0, 255, LATTICE).astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    pixels = np.arange(256, dtype=np.uint8)[None] if kind_of(profile) == GREY else lattice
    converted = _make_conversion(profile, SRGB, 8)(pixels).astype(int)
    return int(np.abs(converted - pixels).max()) <= 1


@lru_cache(maxsize=2)
def _can_convert_back(profile: bytes, bits: int) -> bool:
    """Return whether sRGB can be converted to a profile: not to CMYK or to a scanner's."""
    kind = kind_of(profile)
    if kind == CMYK:
        return False
    try:
        _make_conversion(SRGB, profile, bits)(_black_and_white(kind or RGB, bits))
    except Exception:  # the library raises many types
        return False
    return True
