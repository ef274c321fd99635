"""Resampling of pictures that arrive in strips: rows in, rows out, in floating point.

Only the rows that the kernel still needs are kept. The result does not depend on how the source is
cut into strips.

Pixels are squares, and a picture ends where its last pixel ends, not at that pixel's centre. Beyond
its ends a picture is mirrored.

Source: Keys 1981, doi:10.1109/TASSP.1981.1163711, a = -0.5 (bicubic); Turkowski 1990, "Filters for
common resampling tasks" (antialiasing by a wider kernel).
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.pixels import LEVELS, LEVELS_16, Float32Array, PixelArray

BLOCK_ROWS = 32
"""Number of rows that are resampled at a time."""

CUBIC_RADIUS = 2
"""Radius of the bicubic kernel, in samples of the coarser grid."""

CUBIC_A = -0.5
"""Slope of the bicubic kernel at its first zero."""

LEAST_ALPHA = 0.5
"""Lowest opacity that is not rounded to 0, in levels."""

Float64Array = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]


class Sampling(NamedTuple):
    """Where the samples of one side of a result lie on its source.

    Attributes:
        source: number of samples of the source, at least 1.
        length: number of samples of the result.
        start: where the first sample of the result begins, in samples of the source.
        step: samples of the source for each sample of the result, above 0.
    """

    source: int
    length: int
    start: Fraction = Fraction(0)
    step: Fraction = Fraction(1)

    @property
    def is_identity(self) -> bool:
        """Whether the result has the samples of the source and no others."""
        return self.source == self.length and self.start == 0 and self.step == 1


Kernel = Callable[[Sampling, IndexArray], tuple[IndexArray, Float64Array]]
"""Sampling and samples (n,) of the result -> indices (n, t) of samples of the source, which may lie
beyond its ends, and their weights (n, t)."""


def bicubic(sampling: Sampling, samples: IndexArray) -> tuple[IndexArray, Float64Array]:
    """Return the samples of the source that bicubic interpolation weights, antialiased; a `Kernel`.

    The kernel is as wide as the coarser grid asks for.
    """
    centres = float(sampling.start) + (samples + 0.5) * float(sampling.step)
    pitch = max(float(sampling.step), 1.0)
    radius = CUBIC_RADIUS * pitch
    first = np.floor(centres - radius).astype(np.intp)
    indices = first[:, None] + np.arange(int(np.ceil(2 * radius)) + 1)
    weights = cubic((indices + 0.5 - centres[:, None]) / pitch)
    return indices, weights / weights.sum(axis=1, keepdims=True)


def cubic(x: Float64Array) -> Float64Array:
    """Return the bicubic kernel at distances of any sign. Source: Keys 1981, eq. 15."""
    d = np.abs(x)
    near = ((CUBIC_A + 2) * d - (CUBIC_A + 3)) * d * d + 1
    far = CUBIC_A * (((d - 5) * d + 8) * d - 4)
    weights: Float64Array = np.where(d <= 1, near, np.where(d < CUBIC_RADIUS, far, 0.0))
    return weights


def area(sampling: Sampling, samples: IndexArray) -> tuple[IndexArray, Float64Array]:
    """Return the samples of the source under each sample of the result; a `Kernel`.

    The weights are the shares of its area.
    """
    step = float(sampling.step)
    begin = float(sampling.start) + samples * step
    first = np.floor(begin).astype(np.intp)
    indices = first[:, None] + np.arange(int(np.ceil(step)) + 1)
    overlap = np.minimum(indices + 1, begin[:, None] + step) - np.maximum(indices, begin[:, None])
    return indices, np.maximum(overlap, 0.0) / step


class WeightTable:
    """Weights of the source for each sample of one side of a result.

    Args:
        sampling: samples of the result on the source.
        kernel: weights the source.
    """

    def __init__(self, sampling: Sampling, kernel: Kernel) -> None:
        indices, weights = kernel(sampling, np.arange(sampling.length))
        indices = mirror(indices, sampling.source)
        self.taps = min(indices.shape[1], sampling.source)
        self.first = np.minimum(indices.min(axis=1), sampling.source - self.taps)
        dense = np.zeros((sampling.length, self.taps))
        each = np.broadcast_to(np.arange(sampling.length)[:, None], indices.shape)
        np.add.at(dense, (each, indices - self.first[:, None]), weights)
        self._weights = dense.astype(np.float32)

    @cached_property
    def ends(self) -> IndexArray:
        """Number of samples of the source that the result needs up to each of its samples."""
        ends: IndexArray = np.maximum.accumulate(self.first + self.taps)
        return ends

    def apply(self, source: Float32Array, top: int, begin: int, end: int) -> Float32Array:
        """Return samples [begin, end) of the result.

        Args:
            source: consecutive samples of the source, (n, N).
            top: index of the first of them.
            begin: first sample of the result.
            end: sample of the result after the last one.

        Returns:
            (end - begin, N).
        """
        result = np.empty((end - begin, source.shape[1]), np.float32)
        firsts = (self.first[begin:end] - top).tolist()
        for weights, first, row in zip(self._weights[begin:end], firsts, result, strict=True):
            np.dot(weights, source[first : first + self.taps], row)
        return result


def mirror(indices: IndexArray, length: int) -> IndexArray:
    """Return indices in [0, length) for indices beyond both ends, where the source is mirrored.

    >>> mirror(np.array([-2, -1, 0, 2, 3, 4]), 3).tolist()
    [1, 0, 0, 2, 2, 1]
    """
    turned = indices % (2 * length)
    inside: IndexArray = np.minimum(turned, 2 * length - 1 - turned)
    return inside


def rows_needed(sampling: Sampling) -> list[int]:
    """Return how many samples of the source bicubic interpolation needs up to each of the result.

    They are those after which `StripResampler` returns the sample.
    """
    return [int(end) for end in WeightTable(sampling, bicubic).ends]


class StripResampler:
    """Resamples one picture, strip by strip.

    Args:
        rows: rows of the result.
        columns: columns of the result.
        kernel: `bicubic` or `area`.
    """

    def __init__(self, rows: Sampling, columns: Sampling, kernel: Kernel) -> None:
        self._rows = WeightTable(rows, kernel)
        self._columns = None if columns.is_identity else WeightTable(columns, kernel)
        self._width = columns.length
        self._height = rows.length
        self._done = 0
        self._top = 0
        self._held = np.empty((0, 0), np.float32)

    def add(self, strip: Float32Array | PixelArray) -> Float32Array:
        """Take the next rows of the source, and return those rows of the result that are complete.

        Args:
            strip: (h, w, C), h >= 1.

        Returns:
            (n, W, C) float32, n >= 0.
        """
        blocks = [
            self._add_block(strip[top : top + BLOCK_ROWS])
            for top in range(0, len(strip), BLOCK_ROWS)
        ]
        return np.concatenate(blocks).reshape(-1, self._width, strip.shape[2])

    def _add_block(self, block: Float32Array | PixelArray) -> Float32Array:
        added = self._resample_columns(block)
        self._held = np.concatenate([self._held, added]) if len(self._held) else added
        available = self._top + len(self._held)
        end = int(np.searchsorted(self._rows.ends, available, side="right"))
        result = self._rows.apply(self._held, self._top, self._done, end)
        self._release(end)
        return result

    def _resample_columns(self, block: Float32Array | PixelArray) -> Float32Array:
        """Return (h, w, C) as (h, W * C) float32."""
        height, width, channels = block.shape
        if self._columns is None:
            return block.astype(np.float32).reshape(height, -1)
        across = np.ascontiguousarray(block.transpose(1, 0, 2), np.float32).reshape(width, -1)
        resampled = self._columns.apply(across, 0, 0, self._width)
        return (
            resampled.reshape(self._width, height, channels).transpose(1, 0, 2).reshape(height, -1)
        )

    def _release(self, done: int) -> None:
        """Forget the rows that no further sample needs."""
        self._done = done
        rest = self._rows.first[done:]
        needed = int(rest.min()) if len(rest) else self._top + len(self._held)
        self._held = self._held[needed - self._top :].copy()
        self._top = needed


class StripReducer:
    """Reduces the strips of a picture to a coarser grid: bicubic, antialiased, rounded once.

    Colour is weighted by opacity, so what is transparent does not bleed into what is opaque.

    Args:
        rows: rows of the result.
        columns: columns of the result.
        has_alpha: whether the last channel is opacity.
    """

    def __init__(self, rows: Sampling, columns: Sampling, *, has_alpha: bool) -> None:
        self._resampler = StripResampler(rows, columns, bicubic)
        self._has_alpha = has_alpha

    def add(self, strip: PixelArray) -> PixelArray:
        """Take the next rows, and return those rows of the result that are complete.

        Args:
            strip: (h, w, C) uint8 in [0, 255] or uint16 in [0, 65535].

        Returns:
            (n, W, C) of the same type and range, n >= 0.
        """
        blocks = [
            self._reduce(strip[top : top + BLOCK_ROWS]) for top in range(0, len(strip), BLOCK_ROWS)
        ]
        return np.concatenate(blocks)

    def _reduce(self, block: PixelArray) -> PixelArray:
        highest = LEVELS_16 if block.dtype == np.uint16 else LEVELS
        if self._has_alpha:
            levels = divide_by_alpha(
                self._resampler.add(multiply_by_alpha(block, highest)), highest
            )
        else:
            levels = self._resampler.add(block)
        pixels: PixelArray = np.clip(np.rint(levels), 0, highest).astype(block.dtype)
        return pixels


def multiply_by_alpha(pixels: PixelArray, highest: int) -> Float32Array:
    """Return colour times opacity, colour, and opacity: (h, w, C + 1) -> (h, w, 2C + 1) float32."""
    levels = pixels.astype(np.float32)
    colour, alpha = levels[..., :-1], levels[..., -1:]
    return np.concatenate([colour * (alpha / np.float32(highest)), colour, alpha], axis=2)


def divide_by_alpha(levels: Float32Array, highest: int) -> Float32Array:
    """Undo `multiply_by_alpha`; where nothing is visible, the colour is that without opacity."""
    colours = levels.shape[2] // 2
    weighted, colour, alpha = np.split(levels, [colours, 2 * colours], axis=2)
    is_visible = alpha >= LEAST_ALPHA
    visible = weighted * (np.float32(highest) / np.maximum(alpha, np.float32(LEAST_ALPHA)))
    return np.concatenate([np.where(is_visible, visible, colour), alpha], axis=2)
