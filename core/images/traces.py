"""Traces of compression in pixels: the grid of an encoder, and its quantisation steps.

A lossy file leaves a grid in its pixels that survives a conversion to PNG: in the transform of
the blocks of its encoder, and of no others, many coefficients are zero, and the rest are
multiples of the quantisation steps.

Source: Nikoukhah et al. 2021, ZERO, doi:10.5201/ipol.2021.390 (zeros vote for the grid);
Fan and de Queiroz 2003, doi:10.1109/TIP.2002.807361 (likelihood of quantisation steps).
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.images.header import STANDARD_STEPS
from core.pixels import LEVELS, Float32Array

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


def find_jpeg(luma: Float32Array, levels: Float32Array) -> float:
    """Find the quantisation steps of JPEG in decoded pixels.

    Args:
        luma: (N, h, w) levels.
        levels: (3, N, h, w) levels; blocks that were clipped after decoding are ignored.

    Returns:
        The size of the steps as `jpeg_percent`.
    """
    offset, excess = find_grid(luma, JPEG_SIDE, JPEG_FREQUENCIES)
    if excess < MIN_EXCESS:
        return 0.0
    clipped = np.any((levels <= 0) | (levels >= LEVELS), axis=0)
    usable = ~_blocks(clipped, offset).any(axis=1)
    blocks = _blocks(luma, offset)[usable]
    turned = blocks.reshape(-1, JPEG_SIDE, JPEG_SIDE).swapaxes(1, 2).reshape(blocks.shape)
    return max(map(estimate_percent, (blocks, turned)))[1]


def find_grid(
    luma: Float32Array, side: int, frequencies: tuple[int, ...]
) -> tuple[tuple[int, int], float]:
    """Find the grid of an encoder: most coefficients of its blocks are zero.

    Args:
        luma: (N, h, w) levels, at most 4 windows of at most 64 px.
        side: height and width of a block, px.
        frequencies: of which zeros are counted, in height and in width.

    Returns:
        Offset of the grid, (row, column), and its excess: how many more coefficients are zero
        there than elsewhere, relative to those that are not zero there.
    """
    shares = _zero_shares(luma, side, frequencies)
    row, column = divmod(int(shares.argmax()), side)
    highest = shares.max()
    elsewhere = (shares.sum() - highest) / (shares.size - 1)
    return (row, column), float((highest - elsewhere) / (1 - highest + MIN_SHARE))


def _zero_shares(
    luma: Float32Array, side: int, frequencies: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the share of zeros among the coefficients at each offset, (row, column)."""
    coefficients = _sliding_transform(luma, side, frequencies)
    zeros = np.abs(coefficients, out=coefficients) < ZERO
    # One byte holds the count, as four windows have at most 60 columns. It is the fastest sum.
    counts = np.add.reduce(zeros.view(np.uint8), axis=0, dtype=np.uint8)
    width = side * len(frequencies)
    counts = counts.reshape(width, -1, width).sum(axis=1)
    counts = counts.reshape(side, len(frequencies), side, len(frequencies)).sum(axis=(1, 3))
    return np.asarray(counts.T * (counts.size / zeros.size), np.float64)


def _sliding_transform(
    planes: Float32Array, side: int, frequencies: tuple[int, ...]
) -> Float32Array:
    """Return the transform of the blocks at every offset of a grid.

    A block at any offset lies within a block at offset 0 and the next one. Products of such pairs
    are faster than products of whole lines, for which BLAS would also start threads.

    Args:
        planes: (N, h, w) levels.
        side: height and width of a block, px.
        frequencies: F frequencies, in height and in width.

    Returns:
        (N * columns, side * F, rows * side * F): for each column of blocks, offset and frequency
        in width; and for each row of blocks, offset and frequency in height.
    """
    count, height, width = planes.shape
    rows, columns = height // side, width // side
    cosines = _sliding_cosines(side, frequencies)
    lines = planes[:, : rows * side, : columns * side].swapaxes(1, 2)
    lines = lines.reshape(count, columns * side, rows, side)
    pairs = np.concatenate([lines[:, :, :-1], lines[:, :, 1:]], axis=3)
    blocks = (pairs.reshape(count, -1, 2 * side) @ cosines).reshape(count, columns, side, -1)
    pairs = np.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=2)
    transform: Float32Array = cosines.T @ pairs.reshape(-1, *pairs.shape[2:])
    return transform


@cache
def _sliding_cosines(side: int, frequencies: tuple[int, ...]) -> Float32Array:
    """Return the transform of a block at each offset in a line, (2 * side, side * F)."""
    matrix = np.zeros((2 * side, side, len(frequencies)), np.float32)
    for offset in range(side):
        matrix[offset : offset + side, offset] = _cosines(side)[list(frequencies)].T
    return matrix.reshape(2 * side, -1)


def _cosines(side: int) -> Float32Array:
    """Return the orthonormal discrete cosine transform, (frequency, position)."""
    frequency, position = np.mgrid[:side, :side]
    waves = np.cos(np.pi * (2 * position + 1) * frequency / (2 * side))
    scales = np.where(frequency == 0, 1, math.sqrt(2)) / math.sqrt(side)
    return np.asarray(waves * scales, np.float32)


def _blocks(values: NDArray[Any], offset: tuple[int, int]) -> NDArray[Any]:
    """Return the 8 x 8 blocks of (N, h, w) on a grid, (B, 64)."""
    moved = values[:, offset[0] :, offset[1] :]
    count, rows, columns = len(moved), moved.shape[1] // JPEG_SIDE, moved.shape[2] // JPEG_SIDE
    whole = moved[:, : rows * JPEG_SIDE, : columns * JPEG_SIDE]
    blocks = whole.reshape(count, rows, JPEG_SIDE, columns, JPEG_SIDE).swapaxes(2, 3)
    return blocks.reshape(-1, JPEG_SIDE**2)


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
    ratios = np.ascontiguousarray(coefficients.T) / steps
    multiples = np.rint(ratios)
    errors = np.subtract(ratios, multiples, out=ratios)
    errors *= steps / ROUNDING
    highest = np.log(steps / (ROUNDING * math.sqrt(2 * math.pi)))
    likelihood = np.maximum(highest - errors * errors / 2, LEAST_LIKELIHOOD)
    likelihood *= multiples > 0
    evidence = likelihood.sum(axis=(1, 2)) / len(coefficients)
    best = int(evidence.argmax())
    found = evidence[best] > MIN_EVIDENCE
    return float(evidence[best]), float(PERCENTS[best]) if found else 0.0


@cache
def _low_frequencies() -> tuple[Float32Array, Float32Array]:
    """Return what the coefficients of low frequency are made with and compared with.

    Returns:
        The basis, (64, F), and the quantisation steps at each of `PERCENTS`, (P, F, 1).
    """
    order = np.add.outer(np.arange(JPEG_SIDE), np.arange(JPEG_SIDE))
    row, column = np.nonzero((order > 0) & (order <= HIGHEST_ORDER))
    cosines = _cosines(JPEG_SIDE)
    basis = np.einsum("fy,fx->yxf", cosines[row], cosines[column]).reshape(JPEG_SIDE**2, -1)
    steps = np.floor((STANDARD_STEPS[row, column] * PERCENTS[:, None] + 50) / 100)
    return basis, np.maximum(steps, 1).astype(np.float32)[..., None]
