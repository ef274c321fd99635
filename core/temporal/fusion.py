"""A frame and the ones before it, made one picture on the SR grid.

Where the parts of a frame were in the frame before, by optical flow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np

from core.picture import Picture
from core.pixels import LEVELS, Float32Array, PixelArray, Uint8Array

Samples = TypeVar("Samples", Uint8Array, Float32Array)

FINER = 2
"""Flow is looked for on a grid this many times finer than the frames': a quarter of an LR
pixel is a whole SR pixel, and on the frames' own grid DIS is not as exact as that."""

MIN_SIDE = 48
"""LR px. Smaller frames are continued at their right and lower edges: where DIS has fewer levels
than it was told to use it chooses others by the width alone, and refuses or crashes on frames
that are low."""

EXACT_SCALE, EXACT_STEPS = 1, 12
COARSE_SCALE, COARSE_STEPS = 2, 16
"""The finest level of DIS, as a power of two of its pixels, and its steps on each level. The
coarse one takes a quarter of the time and only tells whether the exact one can be believed."""

INCONSISTENT_PX = 0.5
"""LR px between there and back again, at which trust has fallen to 1/e."""

CUBIC, LINEAR, AREA = cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_AREA

# The network has the cores, and one thread always gives the same result.
cv2.setNumThreads(1)


class Motion(NamedTuple):
    """How a frame follows from the one before.

    Attributes:
        flow: from every pixel of the present frame to its place in the one before, x then
            y, LR px: (FINER*H, FINER*W, 2) float32.
        trust: how far flow and the flow back agree, (H, W) float32 in [0, 1]; 0 for what was
            outside the frame before.
    """

    flow: Float32Array
    trust: Float32Array


def find_motion(present: Uint8Array, before: Uint8Array) -> Motion:
    """The motion between two frames, of their luma, both (H, W) uint8.

    Source: Kroeger et al. 2016, arXiv:1603.03590 (DIS).
    """
    fine_present, fine_before = enlarge(present), enlarge(before)
    height, width = (FINER * side for side in present.shape)
    back = search(fine_present, fine_before, EXACT_SCALE, EXACT_STEPS)[:height, :width]
    forth = search(fine_before, fine_present, COARSE_SCALE, COARSE_STEPS)[:height, :width]
    return Motion(back, trust(to_frame_grid(back), to_frame_grid(forth)))


def enlarge(luma: Uint8Array) -> Uint8Array:
    """(H, W) -> (FINER*H, FINER*W), bicubic, continued to what DIS can take."""
    missing = [(0, max(0, MIN_SIDE - side)) for side in luma.shape]
    padded = np.pad(luma, missing, mode="edge")
    return resize(padded, FINER * padded.shape[0], FINER * padded.shape[1], CUBIC)


def search(present: Uint8Array, before: Uint8Array, scale: int, steps: int) -> Float32Array:
    """The flow by DIS between two frames of the finer grid, LR px."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis.setFinestScale(scale)
    dis.setGradientDescentIterations(steps)
    dis.setVariationalRefinementIterations(0)
    flow = np.zeros((*present.shape, 2), np.float32)
    dis.calc(present, before, flow)
    return np.asarray(flow / FINER, np.float32)


def to_frame_grid(flow: Float32Array) -> Float32Array:
    """(FINER*H, FINER*W, 2) -> (H, W, 2), means."""
    return resize(flow, flow.shape[0] // FINER, flow.shape[1] // FINER, AREA)


def trust(back: Float32Array, forth: Float32Array) -> Float32Array:
    """How far two flows, (H, W, 2), cancel each other: (H, W) in [0, 1]."""
    gap = back + warp(forth, back, LINEAR)
    agreement = np.exp(-np.sum(gap * gap, axis=-1) / np.float32(INCONSISTENT_PX**2))
    return np.asarray(agreement * comes_from_inside(back), np.float32)


def comes_from_inside(flow: Float32Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether the place that each pixel comes from is in the picture: (H, W)."""
    height, width = flow.shape[:2]
    x, y = places(flow, 0)
    across, down = (x > -0.5) & (x < width - 0.5), (y > -0.5) & (y < height - 0.5)
    inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = across & down
    return inside


def warp(plane: Float32Array, flow: Float32Array, method: int, top: int = 0) -> Float32Array:
    """What is where `flow` points to.

    Args:
        plane: (H, W) or (H, W, C) float32.
        flow: of some rows of the result, (h, W, 2), px of `plane`.
        method: of interpolation, CUBIC or LINEAR.
        top: the first of these rows.
    """
    x, y = places(flow, top)
    warped = cv2.remap(plane, x, y, method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)


def places(flow: Float32Array, top: int) -> tuple[Float32Array, Float32Array]:
    """x and y of where `flow` points to from its rows, of which `top` is the first."""
    columns = np.arange(flow.shape[1], dtype=np.float32)
    rows = np.arange(top, top + flow.shape[0], dtype=np.float32)
    return flow[..., 0] + columns, flow[..., 1] + rows[:, None]


def resize(pixels: Samples, height: int, width: int, method: int) -> Samples:
    """Pixels of any type and number of channels, by CUBIC, LINEAR or AREA, which gives means."""
    return cast(Samples, cv2.resize(pixels, (width, height), interpolation=method))


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


class FusionState(NamedTuple):
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
        self, sr: Picture, memory: FusionState, motion: Motion, weights: Float32Array
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
