"""Estimate the motion between frames, and fuse a frame with the previous ones along it.

Motion is dense optical flow (DIS) with a confidence for each pixel. Fusion averages the luma
of the SR frames, moved to the present frame, and restores the detail that averaging weakens.

Source of DIS: Kroeger et al. 2016, arXiv:1603.03590.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np

from core.model.grid import GridSide, OutputGrid
from core.picture import Picture
from core.pixels import LEVELS, Float32Array, PixelArray, Uint8Array

Samples = TypeVar("Samples", Uint8Array, Float32Array)

FLOW_SCALE = 2
"""Factor by which the grid of the flow is finer than that of the LR frames. A quarter of an LR
pixel is a whole SR pixel, and on the LR grid DIS is less exact than that."""

MIN_SIDE = 48
"""Shortest side for DIS, LR px; smaller frames are padded at their right and lower edges. Where
fewer levels fit than requested, DIS chooses others by the width alone. It then refuses frames
of small height, or crashes."""

EXACT_SCALE, EXACT_STEPS = 1, 12
"""Finest level of DIS, as a power of two of its pixels, and its steps on each level."""

COARSE_SCALE, COARSE_STEPS = 2, 16
"""The same for the flow that only serves to check the exact one; it takes a quarter of the
time."""

INCONSISTENT_PX = 0.5
"""Gap between a pixel and where the flow there and back leads, LR px, at which confidence is
1/e."""

CUBIC, LINEAR, AREA = cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_AREA

BAND = 128
"""LR rows that are fused at a time where LR pixels become whole numbers of SR pixels, so that
memory does not grow with the frame. Other frames are fused as a whole."""

HALO = 8
"""LR rows around a band that its fused rows depend on."""

KEPT = 0.75
"""Share of the present frame's local means that is kept. Means of the SR pixels of one LR pixel are
what the camera recorded, not detail that the network adds: ghosts would be most visible in them.
The remaining share lets noise be averaged away."""

SHARPNESS_PX = 1.0
"""Standard deviation of the blur that separates detail from the rest, SR px."""

ENERGY_WINDOW = 13
"""Side of the window in which the energy of detail is compared, SR px."""

MAX_GAIN = 1.6
"""Largest factor by which detail that averaging has weakened is amplified."""

NOISE_ENERGY = 1.0
"""Energy of detail, in squared levels, below which it is hardly amplified."""

MOTION_BYTES = 120
"""Memory of fusion for each LR pixel. The flow takes most of it."""

BANDED_BYTES, UNBANDED_BYTES = 50, 58
"""Memory of fusion for each SR pixel, in bands and as a whole. Together with `MOTION_BYTES` this is
a tenth more than what frames of 640 x 360 took at 1x to 4.5x, and more than that at 3x and 4x."""

# The network uses the cores, and one thread always gives the same result.
cv2.setNumThreads(1)


class Band(NamedTuple):
    """Rows [first, last) of a frame, and with their halo [top, bottom), LR px."""

    top: int
    first: int
    last: int
    bottom: int

    def rows(self, grid: OutputGrid) -> slice:
        """Return the SR rows of the band with its halo."""
        return sr_rows(grid, self.top, self.bottom)

    def inner_rows(self, grid: OutputGrid) -> slice:
        """Return the SR rows of the band."""
        return sr_rows(grid, self.first, self.last)


def sr_rows(grid: OutputGrid, top: int, bottom: int) -> slice:
    """Return the SR rows of LR rows: all of them, or those of LR pixels that become whole ones."""
    return slice(*(row * grid.height // grid.rows.shown for row in (top, bottom)))


def bands(grid: OutputGrid) -> Iterator[Band]:
    """Yield the bands of a frame, from top to bottom."""
    height = grid.rows.shown
    step = BAND if is_aligned(grid) else height
    for first in range(0, height, step):
        last = min(first + step, height)
        yield Band(max(first - HALO, 0), first, last, min(last + HALO, height))


def fusion_bytes(grid: OutputGrid) -> int:
    """Return the largest number of bytes that fusing a frame takes, earlier frames included."""
    sr_bytes = BANDED_BYTES if is_aligned(grid) else UNBANDED_BYTES
    return MOTION_BYTES * grid.shown.pixels + sr_bytes * grid.height * grid.width


def is_aligned(grid: OutputGrid) -> bool:
    """Return whether each LR pixel of a frame becomes the same whole number of SR pixels."""
    return all(
        side.sampling(side.length // side.shown).is_identity for side in (grid.rows, grid.columns)
    )


class Motion(NamedTuple):
    """Motion between a frame and the previous one.

    Attributes:
        flow: offset from each pixel of the present frame to its position in the previous one,
            x then y, LR px: (FLOW_SCALE*H, FLOW_SCALE*W, 2) float32.
        confidence: agreement of the flow with the reverse flow, (H, W) float32 in [0, 1];
            0 for pixels from outside the previous frame.
    """

    flow: Float32Array
    confidence: Float32Array


class FusionState(NamedTuple):
    """What is kept of the frames so far.

    Attributes:
        lr: luma of the last frame, (H, W) uint8.
        fused: its fused luma, of the size of the SR frame, float32 in [0, 255].
        ages: number of frames that each pixel is the mean of, (H, W) float32, at least 1.
    """

    lr: Uint8Array
    fused: Float32Array
    ages: Float32Array


@dataclass(frozen=True)
class Fusion:
    """Fuses an SR frame with the previous ones.

    Attributes:
        kept: share of the present frame's local means that is kept, in [0, 1].
        is_sharpened: whether detail that averaging weakens is restored.
    """

    kept: float = KEPT
    is_sharpened: bool = True

    def fuse(
        self,
        sr: Picture,
        state: FusionState,
        motion: Motion,
        weights: Float32Array,
        grid: OutputGrid,
    ) -> tuple[Picture, Float32Array]:
        """Fuse the present frame with the previous ones.

        Only luma is fused: every channel is changed by the same amount.

        Args:
            sr: the present frame, upscaled by itself.
            state: the previous frames.
            motion: from the present frame to the previous one.
            weights: weight of the previous frames, (H, W) float32 in [0, 1].
            grid: pixels of the SR frame on the LR frame.

        Returns:
            The frame to show, and its luma before sharpening, for the next state.
        """
        pixels, fused = np.empty_like(sr.pixels), np.empty_like(state.fused)
        for band in bands(grid):
            rows, inner = band.rows(grid), band.inner_rows(grid)
            own = luma(sr.pixels[rows])
            past = warp_band(state.fused, motion.flow, band, grid)
            weight = to_sr_grid(weights, band, grid)
            mean = own + self._correction((past - own) * weight, band, grid)
            shown = sharpen(mean, own) if self.is_sharpened else mean
            within = slice(inner.start - rows.start, inner.stop - rows.start)
            fused[inner] = mean[within]
            pixels[inner] = add_to_channels(sr.pixels[inner], (shown - own)[within])
        return replace(sr, pixels=pixels), fused

    def _correction(self, difference: Float32Array, band: Band, grid: OutputGrid) -> Float32Array:
        """Return what to add to the present frame: the difference without its local means."""
        height, width = difference.shape
        means = resize(difference, band.bottom - band.top, grid.columns.shown, AREA)
        smooth = resize(means, height, width, CUBIC)
        return difference - np.float32(self.kept) * smooth


def find_motion(present: Uint8Array, previous: Uint8Array) -> Motion:
    """Estimate the motion between two frames from their luma, both (H, W) uint8."""
    fine_present, fine_previous = enlarge_luma(present), enlarge_luma(previous)
    height, width = (FLOW_SCALE * side for side in present.shape)
    back = compute_flow(fine_present, fine_previous, EXACT_SCALE, EXACT_STEPS)[:height, :width]
    forth = compute_flow(fine_previous, fine_present, COARSE_SCALE, COARSE_STEPS)[:height, :width]
    return Motion(back, flow_confidence(to_frame_grid(back), to_frame_grid(forth)))


def enlarge_luma(luma: Uint8Array) -> Uint8Array:
    """Enlarge (H, W) to the grid of the flow, bicubic, and pad it to the size that DIS needs."""
    missing = [(0, max(0, MIN_SIDE - side)) for side in luma.shape]
    padded = np.pad(luma, missing, mode="edge")
    return resize(padded, FLOW_SCALE * padded.shape[0], FLOW_SCALE * padded.shape[1], CUBIC)


def compute_flow(present: Uint8Array, previous: Uint8Array, scale: int, steps: int) -> Float32Array:
    """Compute the flow by DIS between two frames on the finer grid, in LR px."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis.setFinestScale(scale)
    dis.setGradientDescentIterations(steps)
    dis.setVariationalRefinementIterations(0)
    flow = np.zeros((*present.shape, 2), np.float32)
    dis.calc(present, previous, flow)
    return np.asarray(flow / FLOW_SCALE, np.float32)


def to_frame_grid(flow: Float32Array) -> Float32Array:
    """Average (FLOW_SCALE*H, FLOW_SCALE*W, 2) to (H, W, 2)."""
    return resize(flow, flow.shape[0] // FLOW_SCALE, flow.shape[1] // FLOW_SCALE, AREA)


def flow_confidence(back: Float32Array, forth: Float32Array) -> Float32Array:
    """Return how well two flows, (H, W, 2), cancel each other: (H, W) in [0, 1]."""
    gap = back + warp(forth, back, LINEAR)
    agreement = np.exp(-np.sum(gap * gap, axis=-1) / np.float32(INCONSISTENT_PX**2))
    return np.asarray(agreement * points_inside(back), np.float32)


def points_inside(flow: Float32Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which pixels come from a position inside the picture: (H, W)."""
    height, width = flow.shape[:2]
    x, y = sample_positions(flow, 0)
    across, down = (x > -0.5) & (x < width - 0.5), (y > -0.5) & (y < height - 0.5)
    inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = across & down
    return inside


def warp(plane: Float32Array, flow: Float32Array, method: int, top: int = 0) -> Float32Array:
    """Sample a plane at the positions that the flow points to.

    Args:
        plane: (H, W) or (H, W, C) float32.
        flow: offsets of some rows of the result, (h, W, 2), px of `plane`.
        method: interpolation, CUBIC or LINEAR.
        top: number of the first of these rows.
    """
    x, y = sample_positions(flow, top)
    warped = cv2.remap(plane, x, y, method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)


def sample_positions(flow: Float32Array, top: int) -> tuple[Float32Array, Float32Array]:
    """Return the x and y that the flow points to; its first row is row `top` of the frame."""
    columns = np.arange(flow.shape[1], dtype=np.float32)
    rows = np.arange(top, top + flow.shape[0], dtype=np.float32)
    return flow[..., 0] + columns, flow[..., 1] + rows[:, None]


def warp_band(
    fused: Float32Array, flow: Float32Array, band: Band, grid: OutputGrid
) -> Float32Array:
    """Move the previous frame's pixels to the rows of a band, on the SR grid."""
    scales = np.array([1 / grid.columns.pitch, 1 / grid.rows.pitch], np.float32)
    return warp(fused, to_sr_grid(flow, band, grid) * scales, CUBIC, top=band.rows(grid).start)


def to_sr_grid(plane: Float32Array, band: Band, grid: OutputGrid) -> Float32Array:
    """Interpolate a plane at the SR pixels of a band.

    Args:
        plane: samples of a whole LR frame, on its grid or a finer one, (H, W) or (H, W, C).
        band: LR rows.
        grid: pixels of the SR frame on the LR frame.
    """
    density = len(plane) // grid.rows.shown
    rows = band.rows(grid)
    if is_aligned(grid):
        part = plane[density * band.top : density * band.bottom]
        return resize(part, rows.stop - rows.start, grid.width, LINEAR)
    (pitch_x, left), (pitch_y, top) = (
        sample_line(side, density) for side in (grid.columns, grid.rows)
    )
    placement = np.array([[pitch_x, 0, left], [0, pitch_y, top]])
    flags = LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    sampled = cv2.warpAffine(
        plane, placement, (grid.width, grid.height), flags=flags, borderMode=border
    )
    return np.asarray(sampled, np.float32)


def sample_line(side: GridSide, density: int) -> tuple[float, float]:
    """Return the distance of SR pixels and the position of the first, in samples of LR planes.

    Args:
        side: side of an SR frame.
        density: samples for each LR pixel.
    """
    pitch = density * side.pitch
    return float(pitch), float(density * side.start + (pitch - 1) / 2)


def sharpen(mean: Float32Array, own: Float32Array) -> Float32Array:
    """Make the detail of a mean of frames as strong as that of the present frame.

    A constant gain would exaggerate the detail that all frames share. The gain of each pixel
    therefore restores only what the mean has lost around it.

    Args:
        mean: luma of the mean, (h, w) float32.
        own: luma of the present frame, (h, w) float32.
    """
    detail = detail_of(mean)
    ratio = (energy(detail_of(own)) + NOISE_ENERGY) / (energy(detail) + NOISE_ENERGY)
    gain = np.clip(np.sqrt(ratio), 1, MAX_GAIN, dtype=np.float32)
    return np.asarray(mean + (gain - 1) * detail, np.float32)


def detail_of(plane: Float32Array) -> Float32Array:
    """Return the difference between a plane and its blurred version."""
    blurred = cv2.GaussianBlur(plane, (0, 0), SHARPNESS_PX, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(plane - blurred, np.float32)


def energy(detail: Float32Array) -> Float32Array:
    """Return the mean square in the window around each pixel."""
    return local_mean(detail * detail, ENERGY_WINDOW)


def local_mean(plane: Float32Array, window: int) -> Float32Array:
    """Return the mean of the square window around each pixel of a non-negative plane."""
    mean = cv2.blur(plane, (window, window), borderType=cv2.BORDER_REPLICATE)
    # OpenCV's running sum leaves values slightly below zero where the plane is zero.
    return np.maximum(np.asarray(mean, np.float32), 0)


def luma(pixels: PixelArray) -> Float32Array:
    """Convert (H, W, 3) sRGB of 8 or 16 bits to BT.601 luma, (H, W) float32 in [0, 255]."""
    levels = pixels.astype(np.float32)
    grey = np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY), np.float32)
    return grey * np.float32(LEVELS / np.iinfo(pixels.dtype).max)


def add_to_channels(pixels: PixelArray, levels: Float32Array) -> PixelArray:
    """Add the same amount to every channel, and clip.

    Args:
        pixels: (H, W, 3) of 8 or 16 bits.
        levels: amount in 8-bit levels, (H, W).
    """
    highest = np.iinfo(pixels.dtype).max
    samples = np.rint(levels * np.float32(highest / LEVELS)).astype(np.int32)
    depth = cv2.CV_8U if pixels.dtype == np.uint8 else cv2.CV_16U
    total = cv2.add(pixels, cv2.merge([samples] * pixels.shape[2]), dtype=depth)  # saturates
    return cast(PixelArray, total)


def resize(pixels: Samples, height: int, width: int, method: int) -> Samples:
    """Resize pixels of any type and channel count by CUBIC, LINEAR or AREA (means)."""
    return cast(Samples, cv2.resize(pixels, (width, height), interpolation=method))
