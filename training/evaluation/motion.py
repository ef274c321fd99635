"""Metrics of clips: warping error, tOF, tLP, and the usual metrics per frame.

The warping error is the difference between a frame and the previous frame, warped to it by
the optical flow of HR. tOF compares the optical flow of a clip with that of HR, tLP the
perceptual distance between consecutive frames with that of HR.

Source: Chu et al. 2020, TecoGAN, arXiv:1811.09393, sec. 4.2 (tOF, tLP); Lai et al. 2018,
arXiv:1808.00449, sec. 4.2 (warping error); Sundaram et al. 2010,
doi:10.1007/978-3-642-15549-9_32, eq. 5 (occlusion).
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from core.pixels import LEVELS
from core.temporal.fusion import CUBIC, LINEAR, sample_positions, warp
from training.evaluation.metrics import LearnedDistance, psnr_y, ssim_y

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""Settings with which the code of TecoGAN measures tOF."""

Frames = Sequence[np.ndarray]
"""SR frames, (4H, 4W, 3) uint8 each."""


class FrameMotion(NamedTuple):
    """Motion from an HR frame of a clip to the previous frame.

    Attributes:
        flow: offset of every pixel's position in the previous frame, (H, W, 2) px.
        is_visible: whether the pixel is visible in both frames, (H, W).
    """

    flow: np.ndarray
    is_visible: np.ndarray


class ClipMetrics:
    """Measures outputs against the HR frames of a clip.

    Args:
        hr: (T, 4H, 4W, 3) uint8.
        distance: LPIPS-sq; None to leave out LPIPS-sq and tLP.
    """

    def __init__(self, hr: np.ndarray, distance: LearnedDistance | None) -> None:
        self._hr = hr
        self._distance = distance
        pairs = list(zip(hr[1:], hr, strict=False))
        self._motions: list[FrameMotion] = [estimate_motion(*pair) for pair in pairs]
        self._flows = [farneback_flow(*pair) for pair in pairs]
        self._features = [distance.extract(frame) for frame in hr] if distance else []

    def measure(self, frames: Frames) -> dict[str, float]:
        """Return means over frames, or over pairs of consecutive frames, rounded to six places.

        For HR itself, only the warping error is measured. It is the error of flow and
        interpolation when nothing flickers.
        """
        figures = {"warping_error": self._warping_error(frames)}
        if frames is not self._hr:
            figures["tof_px"] = self._tof(frames)
            figures |= self._per_frame(frames)
            if self._distance:
                figures |= self._perceptual(self._distance, frames)
        return {key: round(float(value), 6) for key, value in figures.items()}

    def _warping_error(self, frames: Frames) -> float:
        pairs = zip(frames[1:], frames, self._motions, strict=False)
        return float(np.mean([warping_error(*pair) for pair in pairs]))

    def _tof(self, frames: Frames) -> float:
        flows = [farneback_flow(*pair) for pair in zip(frames[1:], frames, strict=False)]
        return float(
            np.mean([flow_distance(*pair) for pair in zip(flows, self._flows, strict=True)])
        )

    def _per_frame(self, frames: Frames) -> dict[str, float]:
        return {
            key: float(np.mean([metric(*pair) for pair in zip(frames, self._hr, strict=True)]))
            for key, metric in {"psnr_y_db": psnr_y, "ssim_y": ssim_y}.items()
        }

    def _perceptual(self, distance: LearnedDistance, frames: Frames) -> dict[str, float]:
        features = [distance.extract(frame) for frame in frames]
        changes, expected = (
            [distance.between(*pair) for pair in zip(clip[1:], clip, strict=False)]
            for clip in (features, self._features)
        )
        pairs = zip(features, self._features, strict=True)
        distances = [distance.between(*pair) for pair in pairs]
        gaps = np.abs(np.subtract(changes, expected))
        return {"tlp": float(np.mean(gaps)), "lpips_sq": float(np.mean(distances))}


def warping_error(present: np.ndarray, before: np.ndarray, motion: FrameMotion) -> float:
    """Return the mean squared difference between a frame and the previous one, warped to it.

    The mean is over all channels in [0, 1], where the pixel is visible in both frames. The
    previous frame is interpolated by bicubic convolution: bilinear interpolation would blur
    it, and so favour blurred frames.
    """
    moved = warp(before.astype(np.float32), motion.flow, CUBIC)
    difference = (present - moved)[motion.is_visible] / LEVELS
    return float(np.mean(difference**2))


def estimate_motion(present: np.ndarray, before: np.ndarray) -> FrameMotion:
    """Return the motion between two HR frames, (H, W, 3) uint8, by DIS at its medium preset.

    The medium preset is the most accurate one.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = dis.calc(grey(present), grey(before), None)
    forth = dis.calc(grey(before), grey(present), None)
    return FrameMotion(back, find_visible(back, forth))


def find_visible(back: np.ndarray, forth: np.ndarray) -> np.ndarray:
    """Return where the flow back and forth ends near its start, inside the picture."""
    height, width = back.shape[:2]
    returned = warp(forth, back, LINEAR)
    gap = np.sum((back + returned) ** 2, axis=-1)
    length = np.sum(back**2, axis=-1) + np.sum(returned**2, axis=-1)
    x, y = sample_positions(back, 0)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside & (gap <= 0.01 * length + 0.5)


def farneback_flow(present: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return Farneback's flow from the previous frame to the present one, (H, W, 2) px."""
    return cv2.calcOpticalFlowFarneback(grey(before), grey(present), None, **FARNEBACK)


def flow_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean end-point distance between two flows, px: tOF of a pair of frames."""
    return float(np.mean(np.sqrt(np.sum((one - other) ** 2, axis=-1))))


def grey(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB -> (H, W) uint8."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
