"""Condition of a picture: traces of compression, noise and blur, and how much to restore it.

The measures are computed on a fixed sample of windows, so the largest picture costs a few
milliseconds, and the same pixels always give the same strength. A logistic model turns them
into the strength that makes the enlarged picture look most like the original.

A lossy file leaves a grid in its pixels that survives a conversion to PNG: in the transform of
the blocks of its encoder, and of no others, many coefficients are zero, and the rest are
multiples of the quantisation steps.

Source: Nikoukhah et al. 2021, ZERO, doi:10.5201/ipol.2021.390 (zeros vote for the grid);
Fan and de Queiroz 2003, doi:10.1109/TIP.2002.807361 (likelihood of quantisation steps).
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.images.header import STANDARD_STEPS, percent_from_quality
from core.picture import Picture
from core.pixels import LEVELS, Float32Array, PixelArray, levels_from_pixels, to_uint8

MIN_SIDE, WINDOW = 33, 64
"""Height and width from which a picture is measured, and those of a window of the sample, px."""

MOST_WINDOWS, GRID_WINDOWS = 4, 4
"""Number of windows along each side, at most, and of those that are searched for a grid."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Share of red, green and blue in luma. Source: ITU-R BT.601."""

MOST_COLOURS, MOST_GREYS, COUNTED_PIXELS = 256, 32, 4096
"""Number of levels up to which so many pixels count as graphics. A GIF has at most 256."""

JPEG_SIDE, JPEG_FREQUENCIES = 8, (2, 3, 4, 5)
"""Side of the blocks of JPEG, px, and the frequencies of which zeros are counted."""

WEBP_SIDE, WEBP_FREQUENCIES = 4, (1, 2, 3)
"""The same for WebP."""

ROUNDING, ZERO = 0.4, 0.5
"""Standard deviation of the rounding errors in a coefficient, and what counts as zero, levels."""

MIN_EXCESS, MIN_SHARE = 0.05, 0.01
"""Excess of zeros from which a grid may be that of JPEG, and the share that keeps it finite."""

LEAST_LIKELIHOOD = -2.3
"""Logarithm of the likelihood, relative to that of no grid, of a coefficient off the grid."""

MIN_EVIDENCE = 0.5
"""Mean logarithm of the likelihood of a block from which steps count as found."""

PERCENTS = np.geomspace(10, 400, 68)
"""Sizes of quantisation steps that are tried, relative to `STANDARD_STEPS`, percent."""

HIGHEST_ORDER = 4
"""Sum of row and column of the coefficients that are compared with the steps, at most."""

COMPARED_BLOCKS, MIN_COEFFICIENT = 128, 4
"""Number of blocks that are compared with the steps, those with most coefficients from 4 on."""

CELL = 8
"""Height and width of the cells whose noise and detail are compared, px."""

EDGE_SHARE = 0.5
"""Fine energy over coarse energy of a sharp step; noise has 1, soft detail 1/16."""

NOISE_GAIN = 6
"""Fine or coarse energy of white noise of variance 1, in height or in width."""

LEAST_CELLS, LEAST_ENERGY = 0.15, 0.75
"""A quantile of the cells, and its energy relative to the mean if there is nothing but noise."""

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

BIAS, WEIGHTS = -2.05, (4.4, 3.7, 4.1, 2.6, 3.2)
"""Coefficients of the logistic model, for evidence in the order of `EVIDENCE`.

Fitted to the LPIPS of 460 enlarged training crops at five strengths, with restorer 0.1.0.
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
    pixels = to_uint8(windows).reshape(-1, 3)
    red, green, blue = pixels[:: -(-len(pixels) // COUNTED_PIXELS)].astype(np.int32).T
    is_grey = np.array_equal(red, green) and np.array_equal(green, blue)
    colours = np.unique(red << 16 | green << 8 | blue)
    return len(colours) <= (MOST_GREYS if is_grey else MOST_COLOURS)


def measure_condition(windows: PixelArray, jpeg_quality: float | None = None) -> Condition:
    """Measure a sample of windows.

    Args:
        windows: (N, h, w, 3) uint8 or uint16, N at least 1, h and w at least `MIN_SIDE`, at
            positions that differ by multiples of 8 px.
        jpeg_quality: quality in the header of the file, in [1, 100]; None if it is no JPEG.
    """
    levels = levels_from_pixels(windows)
    luma = np.einsum("nyxc,c->nyx", levels, LUMA)
    detail = sum(np.abs(np.diff(luma, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
    chosen = np.argsort(-detail, kind="stable")[:GRID_WINDOWS]
    percent = 0.0 if jpeg_quality is None else percent_from_quality(jpeg_quality)
    if percent < EVIDENCE["jpeg_percent"][1]:  # the file may have been a coarser JPEG before
        percent = max(percent, find_jpeg(luma[chosen], levels[chosen]))
    may_be_webp = not percent and _repeated_share(luma) < FLAT_SHARE
    webp_grid = find_grid(luma[chosen], WEBP_SIDE, WEBP_FREQUENCIES)[1] if may_be_webp else 0.0
    noise, sharpness = measure_detail(luma)
    colour_noise, _ = measure_detail((levels[..., 2] - levels[..., 0]) / np.float32(math.sqrt(2)))
    return Condition(percent, webp_grid, noise, colour_noise, sharpness)


def find_jpeg(luma: Float32Array, levels: Float32Array) -> float:
    """Find the quantisation steps of JPEG in decoded pixels.

    Args:
        luma: (N, h, w) levels.
        levels: (N, h, w, 3) levels; blocks that were clipped after decoding are ignored.

    Returns:
        The size of the steps as `jpeg_percent`.
    """
    offset, excess = find_grid(luma, JPEG_SIDE, JPEG_FREQUENCIES)
    if excess < MIN_EXCESS:
        return 0.0
    clipped = np.count_nonzero((levels <= 0) | (levels >= LEVELS), axis=-1)
    usable = _blocks(clipped, offset).max(axis=1, initial=0) == 0
    blocks = _blocks(luma, offset)[usable]
    turned = blocks.reshape(-1, JPEG_SIDE, JPEG_SIDE).swapaxes(1, 2).reshape(blocks.shape)
    return max(map(estimate_percent, (blocks, turned)))[1]


def find_grid(
    luma: Float32Array, side: int, frequencies: tuple[int, ...]
) -> tuple[tuple[int, int], float]:
    """Find the grid of an encoder: most coefficients of its blocks are zero.

    Args:
        luma: (N, h, w) levels.
        side: height and width of a block, px.
        frequencies: of which zeros are counted, in height and in width.

    Returns:
        Offset of the grid, (row, column), and its excess: how many more coefficients are zero
        there than elsewhere, relative to those that are not zero there.
    """
    down, across = (_sliding_cosines(length, side, frequencies) for length in luma.shape[1:])
    # (N, side, 1, blocks * F, w) @ (side, w, blocks * F). Many small products are faster here
    # than a large one, for which BLAS would start threads.
    coefficients = (down @ luma[:, None])[:, :, None] @ across.swapaxes(1, 2)
    zeros = (np.abs(coefficients) < ZERO).mean(axis=(0, 3, 4))
    row, column = divmod(int(zeros.argmax()), side)
    elsewhere = (zeros.sum() - zeros.max()) / (zeros.size - 1)
    excess = (zeros.max() - elsewhere) / (1 - zeros.max() + MIN_SHARE)
    return (row, column), float(excess)


@cache
def _sliding_cosines(length: int, side: int, frequencies: tuple[int, ...]) -> Float32Array:
    """Return the transform of the blocks at every offset of a line.

    Returns:
        (side, blocks * F, length): for each offset, each block and each frequency.
    """
    blocks = length // side - 1
    matrix = np.zeros((side, blocks, len(frequencies), length), np.float32)
    for offset, block in np.ndindex(side, blocks):
        start = offset + side * block
        matrix[offset, block, :, start : start + side] = _cosines(side)[list(frequencies)]
    return matrix.reshape(side, -1, length)


def _cosines(side: int) -> Float32Array:
    """Return the orthonormal discrete cosine transform, (frequency, position)."""
    frequency, position = np.mgrid[:side, :side]
    waves = np.cos(np.pi * (2 * position + 1) * frequency / (2 * side))
    scales = np.where(frequency == 0, 1, math.sqrt(2)) / math.sqrt(side)
    return np.asarray(waves * scales, np.float32)


def _tiles(values: NDArray[Any], side: int) -> NDArray[Any]:
    """Cut (N, h, w) to whole tiles, (N, rows, side, columns, side)."""
    count, height, width = values.shape
    rows, columns = height // side, width // side
    whole = values[:, : rows * side, : columns * side]
    return whole.reshape(count, rows, side, columns, side)


def _blocks(values: NDArray[Any], offset: tuple[int, int]) -> NDArray[Any]:
    """Return the 8 x 8 blocks of (N, h, w) on a grid, (B, 64)."""
    tiles = _tiles(values[:, offset[0] :, offset[1] :], JPEG_SIDE)
    return tiles.swapaxes(2, 3).reshape(-1, JPEG_SIDE**2)


def estimate_percent(blocks: Float32Array) -> tuple[float, float]:
    """Estimate the size of quantisation steps from blocks on the grid, (B, 64) levels.

    Only coefficients above half a step count: smaller ones are frequent in any picture.

    Returns:
        The evidence for the most likely of `PERCENTS`, and this size; 0 if the evidence is weak.
    """
    if not len(blocks):
        return 0.0, 0.0
    basis, steps = _low_frequencies()
    coefficients = np.abs(blocks @ basis)
    detail = np.count_nonzero(coefficients > MIN_COEFFICIENT, axis=1)
    coefficients = coefficients[np.argsort(-detail, kind="stable")[:COMPARED_BLOCKS]]
    ratios = coefficients / steps
    multiples = np.rint(ratios)
    errors = (ratios - multiples) * (steps / ROUNDING)
    highest = np.log(steps / (ROUNDING * math.sqrt(2 * math.pi)))
    likelihood = np.maximum(highest - errors * errors / 2, LEAST_LIKELIHOOD)
    evidence = np.where(multiples > 0, likelihood, 0).sum(axis=(1, 2)) / len(coefficients)
    best = int(evidence.argmax())
    found = evidence[best] > MIN_EVIDENCE
    return float(evidence[best]), float(PERCENTS[best]) if found else 0.0


@cache
def _low_frequencies() -> tuple[Float32Array, Float32Array]:
    """Return what the coefficients of low frequency are made with and compared with.

    Returns:
        The basis, (64, F), and the quantisation steps at each of `PERCENTS`, (P, 1, F).
    """
    order = np.add.outer(np.arange(JPEG_SIDE), np.arange(JPEG_SIDE))
    row, column = np.nonzero((order > 0) & (order <= HIGHEST_ORDER))
    cosines = _cosines(JPEG_SIDE)
    basis = np.einsum("fy,fx->yxf", cosines[row], cosines[column]).reshape(JPEG_SIDE**2, -1)
    steps = np.floor((STANDARD_STEPS[row, column] * PERCENTS[:, None, None] + 50) / 100)
    return basis, np.maximum(steps, 1).astype(np.float32)


def measure_detail(plane: Float32Array) -> tuple[float, float]:
    """Measure the noise of the flattest quarter and the sharpness of the most detailed one.

    Args:
        plane: (N, h, w) levels.

    Returns:
        Standard deviation of white noise, levels, and the sharpness as in `Condition`.
    """
    fine, coarse = _cell_energy(plane, 1), _cell_energy(plane, 2)
    order = np.argsort(coarse.sum(axis=0), kind="stable")
    quarter = max(len(order) // 4, 1)
    flat, detailed = order[:quarter], order[-quarter:]
    least = float(np.quantile(fine, LEAST_CELLS, axis=1).min()) / (NOISE_GAIN * LEAST_ENERGY)
    variance = min(_noise_variance(fine[:, flat], coarse[:, flat]), least)
    variance *= max(1 - _repeated_share(plane) / MOST_REPEATS, 0) * (variance < MOST_NOISE**2)
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
    excess = np.median(fine - EDGE_SHARE * coarse, axis=1).min()
    return max(float(excess), 0.0) / (NOISE_GAIN * (1 - EDGE_SHARE))


def _cell_energy(plane: Float32Array, distance: int) -> Float32Array:
    """Return the energy of second differences in each cell, in height and in width, (2, cells).

    Args:
        plane: (N, h, w) levels.
        distance: between the pixels that are compared, 1 or 2 px.
    """
    height, width = (size - 4 for size in plane.shape[1:])
    centre = plane[:, 2:-2, 2:-2]
    energies = []
    for down, across in ((distance, 0), (0, distance)):
        before = plane[:, 2 - down : 2 - down + height, 2 - across : 2 - across + width]
        after = plane[:, 2 + down : 2 + down + height, 2 + across : 2 + across + width]
        tiles = _tiles(before + after - 2 * centre, CELL)
        energies.append(np.einsum("nrycx,nrycx->nrc", tiles, tiles).ravel())
    return np.asarray(energies, np.float32) / np.float32(CELL**2)


def _repeated_share(plane: Float32Array) -> float:
    """Return the share of pixels that equal those below, to the right, and diagonally below."""
    pixels = plane[:, :-1, :-1]
    others = plane[:, 1:, :-1], plane[:, :-1, 1:], plane[:, 1:, 1:]
    return float(np.logical_and.reduce([pixels == other for other in others]).mean())
