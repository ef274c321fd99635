"""Condition of a picture: traces of compression, noise and blur, and how much to restore it.

The measures are computed on a fixed sample of windows, so the largest picture costs a few
milliseconds, and the same pixels always give the same strength. A logistic model turns them
into the strength that makes the enlarged picture look most like the original.

Traces of compression are measured by `core.images.traces`.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from core.images.header import percent_from_quality
from core.images.traces import (
    JPEG_SIDE,
    WEBP_FREQUENCIES,
    WEBP_SIDE,
    find_grid,
    find_jpeg,
)
from core.picture import Picture
from core.pixels import Float32Array, PixelArray, levels_from_pixels, to_uint8

MIN_SIDE, WINDOW = 33, 64
"""Height and width from which a picture is measured, and those of a window of the sample, px."""

MOST_WINDOWS, GRID_WINDOWS = 4, 4
"""Number of windows along each side, at most, and of those that are searched for a grid."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Share of red, green and blue in luma. Source: ITU-R BT.601."""

MOST_COLOURS, MOST_GREYS, COUNTED_PIXELS = 256, 32, 4096
"""Number of levels up to which so many pixels count as graphics. A GIF has at most 256."""

CELL = 8
"""Height and width of the cells whose noise and detail are compared, px."""

EDGE_SHARE = 0.5
"""Fine energy over coarse energy of a sharp step; noise has 1, soft detail 1/16."""

NOISE_GAIN = 6
"""Fine or coarse energy of white noise of variance 1, in height or in width."""

LEAST_CELLS, LEAST_ENERGY = 0.15, 0.75
"""A quantile of the cells, and its energy relative to the mean if there is nothing but noise."""

CORNER_GAIN = 36
"""Energy of white noise of variance 1 after second differences in height and then in width."""

LEAST_WHITE, WHITE = 0.7, 0.88
"""Share of the energy of white noise in the finest diagonals, up to which and from which flat cells
hold texture and noise: reducing a picture removes its finest diagonals."""

MOST_REPEATS, FLAT_SHARE = 0.05, 0.5
"""Share of repeated pixels from which there is no noise, and from which a picture is graphics."""

MOST_NOISE = 20
"""Noise above which it is a pattern, such as the dots of a halftone, levels."""

EVIDENCE = {
    "jpeg_percent": (9, 30),
    "webp_grid": (0.08, 0.3),
    "noise": (1.25, 4),
    "colour_noise": (0.5, 3),
    "sharpness": (-2.25, -3),
}
"""Values of each measure at which it says nothing, and at which it fully speaks for restoring."""

BIAS, WEIGHTS = -2.1, (4.3, 3.3, 2.8, 2.5, 3.8)
"""Coefficients of the logistic model, for evidence in the order of `EVIDENCE`.

Fitted to the LPIPS of 507 enlarged training crops at five strengths, with restorer 0.3.0.
"""

STRETCH = 1.25
"""Factor by which probabilities are stretched around 1/2, so that strengths reach 0 and 1."""

MIN_STRENGTH = 0.1
"""Strength below which a picture is not restored: nobody would see a difference."""


class Condition(NamedTuple):
    """Measured condition of a picture.

    Attributes:
        jpeg_percent: size of the quantisation steps of JPEG relative to the standard table at
            quality 50, percent; 0 without traces of JPEG.
        webp_grid: excess of zeros on a 4 x 4 grid, see `find_grid`; 0 with traces of JPEG.
        noise: standard deviation of white noise in luma, levels of 255.
        colour_noise: standard deviation of white noise in one channel, relative to the other
            channels, levels of 255.
        sharpness: logarithm to base 2 of fine over coarse energy where detail is strongest:
            -1 for a sharp step, -4 for the softest edges.
    """

    jpeg_percent: float
    webp_grid: float
    noise: float
    colour_noise: float
    sharpness: float


def recommend_strength(lr: Picture) -> float:
    """Return how much to restore a picture before it is enlarged.

    Args:
        lr: LR picture of any size.

    Returns:
        Strength in [0, 1], a multiple of 0.01. It is 0 for graphics of few colours, for
        pictures with a side below `MIN_SIDE`, and where no window is opaque.
    """
    windows = sample_windows(lr)
    if not len(windows) or has_few_colours(windows):
        return 0.0
    return strength_of(measure_condition(windows, lr.extras.jpeg_quality))


def strength_of(condition: Condition) -> float:
    """Return the strength for a condition, in [0, 1], a multiple of 0.01."""
    evidence = zip(WEIGHTS, weigh_evidence(condition), strict=True)
    score = BIAS + sum(weight * share for weight, share in evidence)
    probability = 1 / (1 + math.exp(-score))
    strength = min(max(0.5 + STRETCH * (probability - 0.5), 0.0), 1.0)
    return round(strength, 2) if strength >= MIN_STRENGTH else 0.0


def weigh_evidence(condition: Condition) -> list[float]:
    """Return how much each measure speaks for restoring, in [0, 1], in the order of `EVIDENCE`."""
    return [
        min(max((getattr(condition, name) - nothing) / (full - nothing), 0.0), 1.0)
        for name, (nothing, full) in EVIDENCE.items()
    ]


def sample_windows(lr: Picture) -> PixelArray:
    """Return opaque windows that are spread evenly over a picture.

    Returns:
        (N, h, w, 3) of the type of the picture. N is 0 if no window is opaque, or if a side of
        the picture is below `MIN_SIDE`.
    """
    if min(lr.height, lr.width) < MIN_SIDE:
        return lr.pixels[None][:0]
    places = [
        (slice(top, top + WINDOW), slice(left, left + WINDOW))
        for top in _starts(lr.height)
        for left in _starts(lr.width)
    ]
    windows = [lr.pixels[place] for place in places if _is_opaque(lr, place)]
    return np.stack(windows) if windows else lr.pixels[None][:0]


def _starts(length: int) -> list[int]:
    """Return where windows begin along a side: evenly, on multiples of 8 px."""
    free = length - WINDOW
    if free <= 0:
        return [0]
    count = min(MOST_WINDOWS, round(length / WINDOW))
    places = np.linspace(0, free, count) if count > 1 else [free / 2]
    return [JPEG_SIDE * int(place / JPEG_SIDE) for place in places]


def _is_opaque(lr: Picture, place: tuple[slice, slice]) -> bool:
    return lr.alpha is None or bool(lr.alpha[place].min() == lr.highest)


def has_few_colours(windows: PixelArray) -> bool:
    """Return whether (N, h, w, 3) uint8 or uint16 are graphics: of a palette, or of few greys."""
    pixels = windows.reshape(-1, 3)
    counted = to_uint8(pixels[:: -(-len(pixels) // COUNTED_PIXELS)])
    red, green, blue = counted.astype(np.int32).T
    is_grey = np.array_equal(red, green) and np.array_equal(green, blue)
    colours = np.sort(red << 16 | green << 8 | blue)  # eight times as fast as np.unique
    count = 1 + int(np.count_nonzero(np.diff(colours)))
    return count <= (MOST_GREYS if is_grey else MOST_COLOURS)


def measure_condition(windows: PixelArray, jpeg_quality: float | None = None) -> Condition:
    """Measure a sample of windows.

    Args:
        windows: (N, h, w, 3) uint8 or uint16, N at least 1, h and w at least `MIN_SIDE`, at
            positions that differ by multiples of 8 px.
        jpeg_quality: quality in the header of the file, in [1, 100]; None if it is no JPEG.
    """
    red, green, blue = levels = levels_from_pixels(
        np.ascontiguousarray(np.moveaxis(windows, -1, 0))
    )
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    detail = sum(np.abs(np.diff(luma, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
    chosen = np.argsort(-detail, kind="stable")[:GRID_WINDOWS]
    percent = 0.0 if jpeg_quality is None else percent_from_quality(jpeg_quality)
    if percent < EVIDENCE["jpeg_percent"][1]:  # the file may have been a coarser JPEG before
        percent = max(percent, find_jpeg(luma[chosen], levels[:, chosen]))
    may_be_webp = not percent and _repeated_share(luma) < FLAT_SHARE
    webp_grid = find_grid(luma[chosen], WEBP_SIDE, WEBP_FREQUENCIES)[1] if may_be_webp else 0.0
    difference = (blue - red) / np.float32(math.sqrt(2))
    (noise, sharpness), (colour_noise, _) = measure_detail(np.stack([luma, difference]))
    return Condition(percent, webp_grid, noise, colour_noise, sharpness)


def measure_detail(planes: Float32Array) -> list[tuple[float, float]]:
    """Measure the noise of the flattest quarter and the sharpness of the most detailed one.

    Args:
        planes: (P, N, h, w) levels, of each plane N windows.

    Returns:
        For each plane the standard deviation of white noise, levels, and the sharpness as in
        `Condition`.
    """
    corners = _corner_energy(planes)
    energies = zip(planes, _cell_energy(planes, 1), _cell_energy(planes, 2), corners, strict=True)
    return [_measure_plane(*plane) for plane in energies]


def _measure_plane(
    plane: Float32Array, fine: Float32Array, coarse: Float32Array, corner: Float32Array
) -> tuple[float, float]:
    order = np.argsort(coarse.sum(axis=0), kind="stable")
    quarter = max(len(order) // 4, 1)
    flat, detailed = order[:quarter], order[-quarter:]
    least = float(_quantile(fine, LEAST_CELLS).min()) / (NOISE_GAIN * LEAST_ENERGY)
    variance = min(_noise_variance(fine[:, flat], coarse[:, flat]), least)
    if 0 < variance < MOST_NOISE**2:
        variance *= max(1 - _repeated_share(plane) / MOST_REPEATS, 0)
        variance *= _white_share(fine[:, flat], corner[flat])
    else:
        variance = 0.0
    fine_detail, coarse_detail = (
        max(float(energy[:, detailed].mean()) - NOISE_GAIN * variance, 0.0) + 1
        for energy in (fine, coarse)
    )
    return math.sqrt(variance), math.log2(fine_detail / coarse_detail)


def _noise_variance(fine: Float32Array, coarse: Float32Array) -> float:
    """Return the variance of the noise that edges and stripes cannot explain.

    Args:
        fine: (2, cells), energy in height and in width.
        coarse: likewise.
    """
    excess = _quantile(fine - EDGE_SHARE * coarse, 0.5).min()
    return max(float(excess), 0.0) / (NOISE_GAIN * (1 - EDGE_SHARE))


def _white_share(fine: Float32Array, corner: Float32Array) -> float:
    """Return how far flat cells hold white noise and not texture, in [0, 1].

    Args:
        fine: (2, cells), energy in height and in width.
        corner: (cells,), energy in the finest diagonals.
    """
    expected = float(fine.mean()) / NOISE_GAIN
    share = float(corner.mean()) / CORNER_GAIN / expected
    return min(max((share - LEAST_WHITE) / (WHITE - LEAST_WHITE), 0.0), 1.0)


def _quantile(values: Float32Array, share: float) -> Float32Array:
    """Return a quantile of each row, interpolated linearly; np.quantile takes 0.1 ms more."""
    ordered = np.sort(values, axis=1)
    place = share * (ordered.shape[1] - 1)
    low, high = ordered[:, math.floor(place)], ordered[:, math.ceil(place)]
    return low + np.float32(place % 1) * (high - low)


def _cell_energy(planes: Float32Array, distance: int) -> Float32Array:
    """Return the mean energy of second differences in each cell.

    Args:
        planes: (P, N, h, w) levels.
        distance: between the pixels that are compared, 1 or 2 px.

    Returns:
        (P, 2, cells): of each plane, in height and in width.
    """
    height, width = (size - 4 for size in planes.shape[2:])
    centre = 2 * planes[..., 2:-2, 2:-2]
    down, across = _cell_sums(height), _cell_sums(width)
    energies = []
    for y, x in ((distance, 0), (0, distance)):
        change = planes[..., 2 - y : 2 - y + height, 2 - x : 2 - x + width] - centre
        change += planes[..., 2 + y : 2 + y + height, 2 + x : 2 + x + width]
        change *= change
        energies.append((down.T @ (change @ across)).reshape(len(planes), -1))
    return np.stack(energies, axis=1)


def _corner_energy(planes: Float32Array) -> Float32Array:
    """Return the mean energy of the finest diagonals in each cell, (P, cells)."""
    change = planes[:, :, 1:-3] + planes[:, :, 3:-1] - 2 * planes[:, :, 2:-2]
    change = change[..., 1:-3] + change[..., 3:-1] - 2 * change[..., 2:-2]
    change *= change
    down, across = (_cell_sums(length) for length in change.shape[2:])
    energy: Float32Array = (down.T @ (change @ across)).reshape(len(planes), -1)
    return energy


@cache
def _cell_sums(length: int) -> Float32Array:
    """Return the matrix that sums the pixels of each cell of a line, (length, cells).

    Each pixel has the weight 1 / CELL, so that products in height and in width give means.
    """
    cells = length // CELL
    matrix = np.repeat(np.eye(cells, dtype=np.float32), CELL, axis=0) / np.float32(CELL)
    return np.pad(matrix, ((0, length - len(matrix)), (0, 0)))


def _repeated_share(plane: Float32Array) -> float:
    """Return the share of pixels that equal those below, to the right, and diagonally below."""
    pixels = plane[:, :-1, :-1]
    repeated = pixels == plane[:, 1:, :-1]
    repeated &= pixels == plane[:, :-1, 1:]
    repeated &= pixels == plane[:, 1:, 1:]
    return float(np.count_nonzero(repeated) / repeated.size)
