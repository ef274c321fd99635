"""What a file declares about its colours: profiles, numbers of H.273, or the chunks of PNG.

A declaration becomes an ICC profile, or an `HdrColour` where tone mapping is needed.
`core.images.profiles` converts by either.

Source: ITU-T H.273, tables 2 and 3; Portable Network Graphics, third edition, sections 4.3 and
11.3.2 (precedence of chunks, and their content); ISO 22028-5 (HDR pictures); Bradford matrix of
ICC.1:2022, annex E.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import IO

import imagecodecs
import numpy as np
from PIL import ImageFile

from core.errors import UnsupportedImage
from core.images.hdr import (
    HDR_TRANSFERS,
    HIGHEST_NITS,
    PAPER_NITS,
    USUAL_PEAK_NITS,
    HdrColour,
)
from core.images.header import is_grey
from core.images.png import SIGNATURE
from core.images.profiles import SRGB, SRGB_GREY
from core.pixels import Float32Array

Chromaticity = tuple[float, float]
Primaries = tuple[Chromaticity, Chromaticity, Chromaticity, Chromaticity]
"""x and y of red, green, blue and white."""

D65, C, E, THEATRE = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
BT709: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
NTSC = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070))

PRIMARIES: dict[int, Primaries] = {
    1: BT709,
    2: BT709,  # not specified
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: (*NTSC, D65),
    7: (*NTSC, D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), E),
    11: (*P3, THEATRE),
    12: (*P3, D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
"""Primaries and white by their number."""

GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
"""Exponents from levels to light, by transfer characteristics."""

LIKE_SRGB = (1, 2, 6, 7, 11, 12, 13, 14, 15)
"""Transfer characteristics that are shown like those of sRGB. Those of television (1, 6, 7, 14, 15)
describe cameras. Viewers show such pictures on displays of sRGB as they are."""

NOT_SPECIFIED = 2
"""Primaries and transfer characteristics that the file leaves open, by their number."""

PNG_CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"cLLI", b"mDCV")
"""Chunks of PNG about colours that are read here; Pillow reads the profile."""

SRGB_GAMMA, SAME_GAMMA = 45455, 50
"""What gAMA says of sRGB, and difference that does not matter."""

GAMMA_UNIT, CHROMATICITY_UNIT, NITS_UNIT = 100_000, 100_000, 10_000
"""Integers that stand for 1 in the chunks of PNG."""

MIN_GAMMA, MAX_GAMMA = 0.1, 10.0
"""Range of plausible exponents."""

BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

Declaration = bytes | HdrColour
"""An ICC profile, or the colours of an HDR picture."""


def read_declarations(image: ImageFile.ImageFile, file: IO[bytes]) -> list[Declaration]:
    """Return what a file declares about its colours. The first that can be used counts.

    Args:
        image: opened from `file`, not decoded yet.
        file: positioned anywhere.

    Raises:
        UnsupportedImage: if a PNG has colours of narrow range.
    """
    profile = image.info.get("icc_profile")
    profiles: list[Declaration] = [profile] if isinstance(profile, bytes) else []
    if image.format == "PNG":
        return _declared_by_png(image, file, profiles)
    nclx = image.info.get("nclx_profile")
    if isinstance(nclx, dict):
        light = image.info.get("content_light_level") or {}
        numbers = nclx["color_primaries"], nclx["transfer_characteristics"]
        peak = light.get("max_content_light_level", 0)
        declared = declare_numbers(*map(int, numbers), grey=is_grey(image), peak_nits=peak)
        return [*profiles, *([] if declared is None else [declared])]
    return profiles


def _declared_by_png(
    image: ImageFile.ImageFile, file: IO[bytes], profiles: list[Declaration]
) -> list[Declaration]:
    chunks = dict(_png_chunks(file))
    grey = is_grey(image)
    first: list[Declaration] = []
    last: list[Declaration] = []
    numbers = chunks.get(b"cICP", b"")
    if len(numbers) == 4:
        if not numbers[3]:
            raise UnsupportedImage(
                "Image must have levels of full range. Received: PNG of narrow range (cICP)."
            )
        peak = _peak_of_png(chunks)
        found = declare_numbers(numbers[0], numbers[1], grey=grey, peak_nits=peak)
        if found is not None:
            is_open = NOT_SPECIFIED in numbers[:2] and numbers[1] not in HDR_TRANSFERS
            (last if is_open else first).append(found)
    if b"sRGB" in chunks:
        return [*first, *profiles, SRGB_GREY if grey else SRGB]
    return [*first, *profiles, *_declared_by_gamma(chunks, grey=grey), *last]


def _png_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the chunks about colours, which come before the pixels."""
    offset = len(SIGNATURE)
    while True:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            return
        if kind in PNG_CHUNKS:
            yield kind, file.read(min(length, 64))
        offset += 12 + length


def _peak_of_png(chunks: dict[bytes, bytes]) -> float:
    """Return the light of the brightest part, cd/m2; 0 if the file does not say."""
    content, mastering = chunks.get(b"cLLI", b""), chunks.get(b"mDCV", b"")
    if len(content) >= 4 and any(content[:4]):
        return int.from_bytes(content[:4], "big") / NITS_UNIT
    return int.from_bytes(mastering[16:20], "big") / NITS_UNIT


def _declared_by_gamma(chunks: dict[bytes, bytes], *, grey: bool) -> list[Declaration]:
    gamma, chromaticities = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    stored = int.from_bytes(gamma[:4], "big")
    exponent = GAMMA_UNIT / stored if stored else 0.0
    if abs(stored - SRGB_GAMMA) <= SAME_GAMMA or not MIN_GAMMA <= exponent <= MAX_GAMMA:
        exponent = 0.0
    primaries = BT709
    if len(chromaticities) >= 32 and not grey:
        values = [value / CHROMATICITY_UNIT for value in struct.unpack(">8I", chromaticities[:32])]
        white, red, green, blue = zip(values[::2], values[1::2], strict=True)
        primaries = red, green, blue, white
    if not exponent and primaries == BT709:
        return []
    profile = make_profile(primaries, exponent, grey=grey)
    return [] if profile is None else [profile]


def declare_numbers(
    primaries: int, transfer: int, *, grey: bool, peak_nits: float = 0
) -> Declaration | None:
    """Return the colours that numbers of H.273 stand for; None if they are unknown.

    Args:
        primaries: number of the primaries.
        transfer: number of the transfer characteristics.
        grey: whether there is a single channel.
        peak_nits: light of the brightest part, cd/m2; 0 if the file does not say.
    """
    if primaries not in PRIMARIES:
        return None
    if transfer in HDR_TRANSFERS:
        return declare_hdr(primaries, transfer, peak_nits)
    if transfer not in LIKE_SRGB and transfer not in GAMMAS:
        return None
    return make_profile(PRIMARIES[primaries], GAMMAS.get(transfer, 0.0), grey=grey)


def declare_hdr(primaries: int, transfer: int, peak_nits: float) -> HdrColour:
    """Return HDR colours; `declare_numbers` describes the arguments, all of which are known."""
    peak = min(max(peak_nits or USUAL_PEAK_NITS, PAPER_NITS), HIGHEST_NITS)
    return HdrColour(transfer, matrix_to_srgb(primaries), peak)


@lru_cache(maxsize=8)
def make_profile(primaries: Primaries, gamma: float, *, grey: bool) -> bytes | None:
    """Create an ICC profile; return None if there is none for these primaries.

    Args:
        primaries: primaries and white. Grey has none.
        gamma: exponent from levels to light; 0 for the curve of sRGB.
        grey: whether the profile is for a single channel.
    """
    curve = {"gamma": gamma} if gamma else {"transferfunction": srgb_curve()}
    if grey:
        return imagecodecs.cms_profile("gray", **curve)
    *colours, white = ([x, y, 1.0] for x, y in primaries)
    try:
        return imagecodecs.cms_profile("rgb", whitepoint=white, primaries=sum(colours, []), **curve)
    except imagecodecs.CmsError:  # of primaries that span no space
        return None


@lru_cache(maxsize=1)
def srgb_curve() -> Float32Array:
    """Return the light of levels of sRGB, equally far apart. Source: IEC 61966-2-1, eq. 5 and 6."""
    level = np.linspace(0, 1, 4096)
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


@lru_cache(maxsize=8)
def matrix_to_srgb(primaries: int) -> tuple[tuple[float, ...], ...]:
    """Return the matrix from linear RGB of numbered primaries to that of sRGB. White stays."""
    source, target = PRIMARIES[primaries], BT709
    adapted = _adaptation(source[3], target[3]) @ _matrix_to_xyz(source)
    matrix = np.linalg.inv(_matrix_to_xyz(target)) @ adapted
    return tuple(tuple(map(float, row)) for row in matrix)


def _xyz(chromaticity: Chromaticity) -> np.ndarray:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y]) if y else np.array([x, y, 1 - x - y])


def _matrix_to_xyz(primaries: Primaries) -> np.ndarray:
    *colours, white = map(_xyz, primaries)
    columns = np.stack(colours, axis=1)
    return np.asarray(columns * np.linalg.solve(columns, white))


def _adaptation(source: Chromaticity, target: Chromaticity) -> np.ndarray:
    gains = (BRADFORD @ _xyz(target)) / (BRADFORD @ _xyz(source))
    return np.asarray(np.linalg.inv(BRADFORD) @ np.diag(gains) @ BRADFORD)
