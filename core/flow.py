"""Where the parts of a frame were in the frame before, by optical flow."""

from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np

from core.pixels import Float32Array, Uint8Array

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
