"""Conversion of HDR pictures (PQ and HLG) to sRGB by tone mapping.

White of sRGB stands for 203 cd/m2, the white of paper in HDR. What is darker than about half of
it keeps its light. Brighter light is compressed by the curve of BT.2390. The brightest light of the
picture becomes white. The curve applies to the largest channel, and the others follow in
proportion, so that hues stay. Then primaries are converted, and colours outside of sRGB clipped.

Source: ITU-R BT.2100-2, tables 4 and 5 (PQ and HLG); ITU-R BT.2390-10, section 5.4.1 (curve);
ITU-R BT.2408-7, section 2.1 (white of paper).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.pixels import Float32Array, PixelArray

PQ, HLG = 16, 18
"""Transfer characteristics of HDR, in numbers of H.273."""

HDR_TRANSFERS = (PQ, HLG)

PAPER_NITS = 203.0
"""Light of white paper in an HDR picture, cd/m2, and of white in the result."""

USUAL_PEAK_NITS, HIGHEST_NITS = 1000.0, 10_000.0
"""Light of the brightest part of a picture that does not state it, and most that PQ can state."""

HLG_GAMMA = 1.2
"""Exponent from the light of the scene to that of a display of `USUAL_PEAK_NITS`."""

PQ_M1, PQ_M2 = 2610 / 16384, 2523 / 32
PQ_C1, PQ_C2, PQ_C3 = 3424 / 4096, 2413 / 128, 2392 / 128
HLG_A = 0.17883277
HLG_B, HLG_C = 1 - 4 * HLG_A, 0.5 - HLG_A * np.log(4 * HLG_A)

CURVE_STEPS = 4096
"""Number of steps of light, equally far apart in PQ, between which the curve is interpolated."""

LUMA = np.array([0.2627, 0.678, 0.0593], np.float32)
"""Share of red, green and blue of BT.2020 in the luminance."""


Float64Array = NDArray[np.float64]

Conversion = Callable[[PixelArray], PixelArray]
"""Maps (h, w, 3), or (h, w) if grey, to the same shape, type and range."""


class HdrColour(NamedTuple):
    """Colours of an HDR picture.

    Attributes:
        transfer: PQ or HLG.
        to_srgb: matrix from linear RGB of the picture to that of sRGB, as nested tuples.
        peak_nits: light of its brightest part, cd/m2.
    """

    transfer: int
    to_srgb: tuple[tuple[float, ...], ...]
    peak_nits: float = USUAL_PEAK_NITS


def make_tone_mapping(colour: HdrColour, bits: int) -> Conversion:
    """Return the conversion of rows to sRGB.

    Args:
        colour: colours of the rows.
        bits: bits of their samples, 8 or 16.

    Returns:
        A function from (h, W, 3) or, if grey, (h, W) to the same shape and type.
    """
    light_of_level = _light_of_levels(colour.transfer, bits)
    grid, gains = _gains(colour.peak_nits if colour.transfer == PQ else USUAL_PEAK_NITS)
    matrix = np.array(colour.to_srgb, np.float32).T
    highest = np.float32(2**bits - 1)

    def convert(rows: PixelArray) -> PixelArray:
        light = light_of_level[rows]
        if colour.transfer == HLG:
            light *= _system_gain(light)
        brightest = light if light.ndim == 2 else light.max(axis=2)
        gain = np.interp(brightest, grid, gains).astype(np.float32)
        if light.ndim == 2:
            light *= gain
        else:
            light *= gain[..., None]
            light = light @ matrix
        level = encode_srgb(np.clip(light, 0, 1, out=light)) * highest
        levels: PixelArray = np.rint(level, out=level).astype(rows.dtype)
        return levels

    return convert


def encode_srgb(linear: Float32Array) -> Float32Array:
    """Convert linear light in [0, 1] to levels of sRGB in [0, 1]. Source: IEC 61966-2-1, eq. 9."""
    curved = 1.055 * np.power(linear, np.float32(1 / 2.4)) - np.float32(0.055)
    return np.asarray(np.where(linear <= np.float32(0.0031308), np.float32(12.92) * linear, curved))


@lru_cache(maxsize=4)
def _light_of_levels(transfer: int, bits: int) -> Float32Array:
    """Return the light of each level as a multiple of `PAPER_NITS`; of HLG, that of the scene."""
    level = np.arange(2**bits) / (2**bits - 1)
    if transfer == PQ:
        return (nits_of_pq(level) / PAPER_NITS).astype(np.float32)
    upper = (np.exp((level - HLG_C) / HLG_A) + HLG_B) / 12
    scene = np.where(level <= 0.5, level**2 / 3, upper)
    light: Float32Array = (scene * USUAL_PEAK_NITS / PAPER_NITS).astype(np.float32)
    return light


def _system_gain(scene: Float32Array) -> Float32Array:
    """Return what turns the light of a scene into that of a display, for each pixel of HLG."""
    luminance = scene if scene.ndim == 2 else scene @ LUMA
    luminance = luminance * np.float32(PAPER_NITS / USUAL_PEAK_NITS)
    gain: Float32Array = np.power(luminance, np.float32(HLG_GAMMA - 1))
    return gain if scene.ndim == 2 else gain[..., None]


@lru_cache(maxsize=4)
def _gains(peak_nits: float) -> tuple[Float32Array, Float32Array]:
    """Return steps of light as multiples of `PAPER_NITS`, and the gain of the curve at each."""
    level = np.linspace(0, 1, CURVE_STEPS)
    light = nits_of_pq(level)
    mapped = nits_of_pq(compress(level, pq_of_nits(peak_nits), pq_of_nits(PAPER_NITS)))
    gains = np.divide(mapped, light, out=np.ones_like(light), where=light > 0)
    return (light / PAPER_NITS).astype(np.float32), gains.astype(np.float32)


def compress(level: Float64Array, source_peak: float, target_peak: float) -> Float64Array:
    """Compress levels of PQ so that the brightest of the source becomes that of the target.

    Args:
        level: levels in [0, 1].
        source_peak: highest level of the source; higher ones become `target_peak`.
        target_peak: highest level of the result.

    Source: BT.2390, section 5.4.1, with black at 0.
    """
    if source_peak <= target_peak:
        return np.minimum(level, target_peak)
    share, most = np.minimum(level / source_peak, 1), target_peak / source_peak
    knee = 1.5 * most - 0.5
    t = np.maximum((share - knee) / (1 - knee), 0)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return np.asarray(np.where(share < knee, share, spline) * source_peak)


def nits_of_pq(level: Float64Array) -> Float64Array:
    """Convert levels of PQ in [0, 1] to light, cd/m2."""
    power = np.power(level, 1 / PQ_M2)
    share = np.maximum(power - PQ_C1, 0) / (PQ_C2 - PQ_C3 * power)
    return np.asarray(HIGHEST_NITS * np.power(share, 1 / PQ_M1))


def pq_of_nits(nits: float) -> float:
    """Convert light in cd/m2 to a level of PQ in [0, 1]."""
    power = (nits / HIGHEST_NITS) ** PQ_M1
    return float(((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power)) ** PQ_M2)
