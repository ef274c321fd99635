"""Signs of an image-scaling attack: a picture that shows another one when it is reduced.

Nearest-neighbour, bilinear and bicubic interpolation of a fixed width read only some pixels of a
large picture: those on a lattice. An attack hides another picture in these pixels. At full size
they look like noise; a program that reduces the picture so sees nothing but the hidden one.
Antialiased reductions, as all of this project are, read every pixel and show the visible picture.

The hidden pixels stand out from the pixels around them, at equal distances in height and in width,
and all in the same direction where the hidden picture is brighter or darker than the visible one.
No reduction has to be guessed to see that.

Source: Xiao et al. 2019, "Seeing is not believing" (the attack); Quiring et al. 2020,
"Adversarial preprocessing", sec. 3 (which reductions are vulnerable) and 4 (hidden pixels are
compared with those around them); Kim et al. 2021, doi:10.1109/DSN48987.2021.00023, sec. III-C
(peaks in the spectrum).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.images.condition import LUMA, has_few_colours
from core.picture import Picture
from core.pixels import Float32Array, PixelArray, levels_from_pixels

MIN_SIDE, MAX_SIDE = 64, 1024
"""Height and width from which a picture is examined, and those of its centre up to which, px."""

DISTANCE = 2
"""Distance of the pixels that a pixel is compared with: bilinear interpolation reads two, px."""

CELL = 32
"""Height and width of the cells in which hidden pixels must differ in the same direction, px."""

MAX_PERIOD, LEAST_WAVES = 12, 4
"""Longest distance of hidden pixels that is looked for, px, and number of them in the picture.
Longer distances have harmonics."""

MIN_AMPLITUDE, MIN_PEAK, MIN_COHERENCE = 0.3, 10.0, 0.3
"""Values of `LatticeEvidence` from which a picture counts as an attack.

Chosen between 934 photographs and test pictures, of which none has all three, and 96 attacks on
photographs.
"""

FLOOR = 1e-3
"""Amplitude that every frequency has at least, levels; prevents division by zero."""


class LatticeEvidence(NamedTuple):
    """How much the pixels of a lattice stand out; the lesser of height and width.

    Attributes:
        amplitude: amplitude of the strongest wave in the means of rows or columns, levels.
        peak: this amplitude relative to the median over all frequencies.
        coherence: how far the pixels that stand out in a cell are all brighter, or all darker,
            than those around them, in [0, 1].
    """

    amplitude: float
    peak: float
    coherence: float


def is_scaling_attack(picture: Picture) -> bool:
    """Return whether a picture probably shows another one when it is reduced without antialiasing.

    Small pictures and graphics of few colours are never examined: dithering makes lattices, too.
    """
    if min(picture.height, picture.width) < MIN_SIDE:
        return False
    centre = cut_centre(picture.pixels)
    evidence = measure_lattice(centre)
    least = LatticeEvidence(MIN_AMPLITUDE, MIN_PEAK, MIN_COHERENCE)
    is_found = all(value >= bound for value, bound in zip(evidence, least, strict=True))
    return is_found and not has_few_colours(centre)


def cut_centre(pixels: PixelArray) -> PixelArray:
    """Return the centre of (H, W, 3), at most `MAX_SIDE` px high and wide."""
    top, left = (max(side - MAX_SIDE, 0) // 2 for side in pixels.shape[:2])
    return pixels[top : top + MAX_SIDE, left : left + MAX_SIDE]


def measure_lattice(pixels: PixelArray) -> LatticeEvidence:
    """Measure a picture in bands of `CELL` rows, so that it takes little memory.

    Args:
        pixels: (H, W, 3) uint8 or uint16, H and W at least `MIN_SIDE`.
    """
    height, width = (side - 2 * DISTANCE for side in pixels.shape[:2])
    rows: list[Float32Array] = []
    columns = np.zeros(width, np.float32)
    agreed = total = 0.0
    for top in range(0, height - height % CELL, CELL):
        band = levels_from_pixels(pixels[top : top + CELL + 2 * DISTANCE]) @ LUMA
        excess = find_excess(band)
        strength = np.abs(excess)
        rows.append(strength.mean(axis=1))
        columns += strength.sum(axis=0)
        total += float(strength.sum())
        whole = excess[:, : width - width % CELL].reshape(CELL, -1, CELL)
        agreed += float(np.abs(whole.sum(axis=(0, 2))).sum())
    profiles = np.concatenate(rows), columns / height
    amplitudes, peaks = zip(*map(find_wave, profiles), strict=True)
    return LatticeEvidence(min(amplitudes), min(peaks), agreed / (total + FLOOR))


def find_excess(luma: Float32Array) -> Float32Array:
    """Return how far each pixel is above the highest or below the lowest of four around it.

    Args:
        luma: (h + 4, w + 4) levels.

    Returns:
        (h, w) levels: positive above, negative below, 0 between.
    """
    inner, before, after = (
        slice(DISTANCE, -DISTANCE),
        slice(-2 * DISTANCE),
        slice(2 * DISTANCE, None),
    )
    around = luma[before, inner], luma[after, inner], luma[inner, before], luma[inner, after]
    highest = np.maximum(np.maximum(*around[:2]), np.maximum(*around[2:]))
    lowest = np.minimum(np.minimum(*around[:2]), np.minimum(*around[2:]))
    centre = luma[inner, inner]
    excess: Float32Array = np.maximum(centre - highest, 0) - np.maximum(lowest - centre, 0)
    return excess


def find_wave(profile: NDArray[np.float32]) -> tuple[float, float]:
    """Return the amplitude of the strongest short wave, and its ratio to the median amplitude."""
    length = len(profile)
    waves = np.fft.rfft((profile - profile.mean()) * np.hanning(length))
    amplitudes = np.abs(waves)[max(length // MAX_PERIOD, LEAST_WAVES) :] * 4 / length
    highest = float(amplitudes.max())
    return highest, highest / (float(np.median(amplitudes)) + FLOOR)
