import numpy as np
import pytest

from core.images.traces import (
    JPEG_FREQUENCIES,
    JPEG_SIDE,
    MIN_SHARE,
    WEBP_FREQUENCIES,
    WEBP_SIDE,
    ZERO,
    estimate_percent,
    find_grid,
    find_jpeg,
)
from tests.support.stand_ins import noise

GRIDS = [(JPEG_SIDE, JPEG_FREQUENCIES), (WEBP_SIDE, WEBP_FREQUENCIES)]


def transform(side):
    """Return the orthonormal cosine transform of a line, (frequency, position)."""
    frequency, position = np.mgrid[:side, :side]
    waves = np.cos(np.pi * (2 * position + 1) * frequency / (2 * side))
    return waves / np.linalg.norm(waves, axis=1, keepdims=True)


def zero_share(luma, side, frequencies, row, column):
    """Count zeros block by block, on a grid whose blocks leave out the last one of a line."""
    cosines = transform(side)[list(frequencies)]
    count, height, width = luma.shape
    zeros = [
        abs(cosines @ luma[window, top : top + side, left : left + side] @ cosines.T) < ZERO
        for window in range(count)
        for top in row + side * np.arange(height // side - 1)
        for left in column + side * np.arange(width // side - 1)
    ]
    return np.mean(zeros)


def on_grid(shape, side, step, offset):
    """Return windows whose blocks at an offset have multiples of a step as coefficients."""
    cosines = transform(side)
    levels = noise(*shape[1:]).astype(float)[None, ..., 0].repeat(shape[0], axis=0)
    for top in range(offset[0], shape[1] - side + 1, side):
        for left in range(offset[1], shape[2] - side + 1, side):
            block = levels[:, top : top + side, left : left + side]
            coefficients = step * np.rint(cosines @ block @ cosines.T / step)
            levels[:, top : top + side, left : left + side] = cosines.T @ coefficients @ cosines
    return levels.astype(np.float32)


@pytest.mark.parametrize(("side", "frequencies"), GRIDS)
@pytest.mark.parametrize("shape", [(1, 33, 47), (2, 64, 40), (4, 64, 64)])
def test_the_excess_is_that_of_zeros_counted_block_by_block(side, frequencies, shape):
    luma = on_grid(shape, side, 60, (3, 1))
    shares = np.array(
        [zero_share(luma, side, frequencies, *offset) for offset in np.ndindex(side, side)]
    )
    elsewhere = np.delete(shares, shares.argmax()).mean()
    excess = (shares.max() - elsewhere) / (1 - shares.max() + MIN_SHARE)
    found, received = find_grid(luma, side, frequencies)
    assert found == (3, 1)
    np.testing.assert_allclose(received, excess, rtol=0.01)


def test_noise_has_no_grid():
    luma = noise(64, 64).astype(np.float32)[None, ..., 0]
    assert all(find_grid(luma, *grid)[1] < 0.05 for grid in GRIDS)


def test_clipped_blocks_are_not_compared_with_steps():
    luma = on_grid((1, 64, 64), JPEG_SIDE, 40, (2, 5))
    inside = np.full((3, *luma.shape), 100, np.float32)
    assert find_jpeg(luma, inside) > 0
    assert find_jpeg(luma, np.zeros_like(inside)) == 0


def test_without_blocks_there_are_no_steps():
    assert estimate_percent(np.empty((0, 64), np.float32)) == (0, 0)
