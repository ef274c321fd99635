"""A frame and the ones before it, made one picture on the SR grid."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import cv2
import numpy as np

from core.flow import AREA, CUBIC, FINER, LINEAR, Motion, resize, warp
from core.picture import Picture
from core.pixels import LEVELS, Float32Array, PixelArray, Uint8Array

BAND = 128
"""LR rows that are fused at a time: memory is that of a band, not of a frame."""

HALO = 8
"""LR rows around a band on which its fused rows depend."""

KEPT = 0.75
"""Share of the present frame's local means that is kept, whatever came before. Means of 4 x 4 SR
pixels are what the camera saw and no invention of the network: ghosts would show in them most.
The rest is left for noise to be averaged away."""

SHARPNESS_PX = 1.0
"""Standard deviation of the blur above which detail begins, SR px."""

ENERGY_WINDOW = 13
"""SR px, in which detail is compared."""

MAX_GAIN = 1.6
"""Of detail that averaging has weakened."""

NOISE_ENERGY = 1.0
"""Squared levels, below which detail is not worth a gain."""


class Memory(NamedTuple):
    """What is kept of the frames so far.

    Attributes:
        lr: luma of the last frame, (H, W) uint8.
        fused: its fused luma, (4H, 4W) float32 in [0, 255].
        ages: frames that each pixel is the mean of, (H, W) float32, at least 1.
    """

    lr: Uint8Array
    fused: Float32Array
    ages: Float32Array


@dataclass(frozen=True)
class Fusion:
    """How frames are fused.

    Attributes:
        kept: share of the present frame's local means that is kept, in [0, 1].
        is_sharpened: whether detail that averaging weakened is made as strong as before.
    """

    kept: float = KEPT
    is_sharpened: bool = True

    def fuse(
        self, sr: Picture, memory: Memory, motion: Motion, weights: Float32Array
    ) -> tuple[Picture, Float32Array]:
        """The present frame with what is remembered.

        Colour stays that of the present frame; the same is added to all its channels.

        Args:
            sr: the present frame by itself.
            memory: of the frames before.
            motion: from the present frame to the one before.
            weights: of what is remembered, (H, W) float32 in [0, 1].

        Returns:
            The frame to show, and its luma before it was sharpened, which is to be remembered.
        """
        pixels, fused = np.empty_like(sr.pixels), np.empty_like(memory.fused)
        scale = sr.height // len(weights)
        for band in bands(len(weights)):
            rows = slice(scale * band.top, scale * band.bottom)
            own = luma(sr.pixels[rows])
            past = warp_band(memory.fused, motion.flow, band, scale)
            height, width = own.shape
            weight = resize(weights[band.top : band.bottom], height, width, LINEAR)
            mean = own + self._correction((past - own) * weight, scale)
            shown = sharpen(mean, own) if self.is_sharpened else mean
            inner = slice(scale * band.first, scale * band.last)
            within = slice(inner.start - rows.start, inner.stop - rows.start)
            fused[inner] = mean[within]
            pixels[inner] = add(sr.pixels[inner], (shown - own)[within])
        return replace(sr, pixels=pixels), fused

    def _correction(self, difference: Float32Array, scale: int) -> Float32Array:
        """What is added to the present frame: the difference, less of its local means."""
        height, width = difference.shape
        means = resize(difference, height // scale, width // scale, AREA)
        smooth = resize(means, height, width, CUBIC)
        return difference - np.float32(self.kept) * smooth


class Band(NamedTuple):
    """Some rows of a frame, LR px: [first, last), and those around them, [top, bottom)."""

    top: int
    first: int
    last: int
    bottom: int


def bands(height: int) -> Iterator[Band]:
    """The bands of a frame, from top to bottom."""
    for first in range(0, height, BAND):
        last = min(first + BAND, height)
        yield Band(max(first - HALO, 0), first, last, min(last + HALO, height))


def warp_band(fused: Float32Array, flow: Float32Array, band: Band, scale: int) -> Float32Array:
    """The rows of a band as they were in the frame before, on the SR grid."""
    rows = flow[FINER * band.top : FINER * band.bottom]
    height = scale * (band.bottom - band.top)
    on_sr_grid = resize(rows, height, fused.shape[1], LINEAR) * np.float32(scale)
    return warp(fused, on_sr_grid, CUBIC, top=scale * band.top)


def sharpen(mean: Float32Array, own: Float32Array) -> Float32Array:
    """Make the detail of a mean of frames as strong as that of the present one alone.

    A constant gain would exaggerate what all frames agree on; only what the mean has lost
    around a pixel is given back.

    Args:
        mean: luma, (h, w) float32.
        own: of the present frame, likewise.
    """
    detail = detail_of(mean)
    ratio = (energy(detail_of(own)) + NOISE_ENERGY) / (energy(detail) + NOISE_ENERGY)
    gain = np.clip(np.sqrt(ratio), 1, MAX_GAIN, dtype=np.float32)
    return np.asarray(mean + (gain - 1) * detail, np.float32)


def detail_of(plane: Float32Array) -> Float32Array:
    """What a plane has beyond its blurred self."""
    blurred = cv2.GaussianBlur(plane, (0, 0), SHARPNESS_PX, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(plane - blurred, np.float32)


def energy(detail: Float32Array) -> Float32Array:
    """The mean square around every pixel."""
    return local_mean(detail * detail, ENERGY_WINDOW)


def local_mean(plane: Float32Array, window: int) -> Float32Array:
    """The mean of the window around every pixel."""
    mean = cv2.blur(plane, (window, window), borderType=cv2.BORDER_REPLICATE)
    # A running sum leaves traces below zero where all is zero.
    return np.maximum(np.asarray(mean, np.float32), 0)


def luma(pixels: PixelArray) -> Float32Array:
    """(H, W, 3) sRGB of 8 or 16 bits -> (H, W) float32 in [0, 255], BT.601."""
    levels = pixels.astype(np.float32)
    grey = np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY), np.float32)
    return grey * np.float32(LEVELS / np.iinfo(pixels.dtype).max)


def add(pixels: PixelArray, levels: Float32Array) -> PixelArray:
    """Add the same to every channel: (H, W, 3) of 8 or 16 bits, (H, W) levels of 8 bits."""
    highest = np.iinfo(pixels.dtype).max
    samples = np.rint(levels * np.float32(highest / LEVELS)).astype(np.int32)
    depth = cv2.CV_8U if pixels.dtype == np.uint8 else cv2.CV_16U
    total = cv2.add(pixels, cv2.merge([samples] * pixels.shape[2]), dtype=depth)  # saturates
    return cast(PixelArray, total)
