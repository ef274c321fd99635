"""How things move in a clip, and how far that of one clip is that of another.

Source of tOF: Chu et al. 2020, TecoGAN,
arXiv:1811.09393, sec. 4.2; of the warping error: Lai et al. 2018, arXiv:1808.00449, sec. 4.2;
of what counts as occluded: Sundaram et al. 2010, doi:10.1007/978-3-642-15549-9_32, eq. 5.
"""

from typing import NamedTuple

import cv2
import numpy as np

from core.flow import CUBIC, FINER, LINEAR, Motion, enlarge, places, to_frame_grid, trust, warp
from core.pixels import LEVELS

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""As tOF is measured in the code of TecoGAN."""


class Passage(NamedTuple):
    """From a frame of a clip to the one before, as its HR frames tell.

    Attributes:
        flow: to the place of every pixel in the frame before, (H, W, 2) px.
        is_seen: whether it can be seen in both frames, (H, W).
    """

    flow: np.ndarray
    is_seen: np.ndarray


def grey(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB -> (H, W) uint8."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def find_passage(present: np.ndarray, before: np.ndarray) -> Passage:
    """The passage between two HR frames, (H, W, 3) uint8, by DIS at its most careful preset."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = dis.calc(grey(present), grey(before), None)
    forth = dis.calc(grey(before), grey(present), None)
    return Passage(back, is_seen(back, forth))


def is_seen(back: np.ndarray, forth: np.ndarray) -> np.ndarray:
    """Where the way back and forth ends near its beginning, inside the picture."""
    height, width = back.shape[:2]
    returned = warp(forth, back, LINEAR)
    gap = np.sum((back + returned) ** 2, axis=-1)
    length = np.sum(back**2, axis=-1) + np.sum(returned**2, axis=-1)
    x, y = places(back, 0)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside & (gap <= 0.01 * length + 0.5)


def warping_error(present: np.ndarray, before: np.ndarray, passage: Passage) -> float:
    """Mean squared difference between a frame and the one before, warped to it.

    Over all channels in [0, 1], where both can be seen; the frame before is interpolated by
    bicubic convolution, since bilinear would blur it and so favour blurred frames.
    """
    moved = warp(before.astype(np.float32), passage.flow, CUBIC)
    difference = (present - moved)[passage.is_seen] / LEVELS
    return float(np.mean(difference**2))


def perceived_flow(present: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Farneback's flow from the frame before to the present one, (H, W, 2) px."""
    return cv2.calcOpticalFlowFarneback(grey(before), grey(present), None, **FARNEBACK)


def flow_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance between the ends of two flows, px: tOF of a pair of frames."""
    return float(np.mean(np.sqrt(np.sum((one - other) ** 2, axis=-1))))


def find_motion_by_farneback(present: np.ndarray, before: np.ndarray) -> Motion:
    """What `core.flow.find_motion` finds, found by another method."""
    height, width = (FINER * side for side in present.shape)
    pair = enlarge(present), enlarge(before)
    back, forth = (
        cv2.calcOpticalFlowFarneback(*ends, None, **FARNEBACK)[:height, :width] / FINER
        for ends in (pair, pair[::-1])
    )
    return Motion(back, trust(to_frame_grid(back), to_frame_grid(forth)))
