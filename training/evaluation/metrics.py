"""Metrics that compare SR with HR, of pictures and of clips.

Pictures have PSNR-Y, MSE-Y, SSIM-Y, LPIPS-sq, FLIP, colour shift and grid. Clips have the warping
error, tOF and tLP, and the metrics of pictures per frame.

PSNR-Y, MSE-Y and SSIM-Y follow the super-resolution literature: luma of BT.601 in studio range, as
MATLAB's `rgb2ycbcr` computes it, `BORDER` pixels cropped on every side, one value per
picture. The figure of a test set is the mean over its pictures.

LPIPS-sq is a learned perceptual distance: SqueezeNet 1.1 with the linear heads of LPIPS v0.1.
It is only a metric, never a loss: what is measured with it must not be trained on it. Its
values are not comparable with LPIPS on AlexNet or VGG features.

FLIP is the difference that an observer sees who alternates two pictures on one screen. It models
contrast sensitivity and colour vision at a viewing distance, and has no learned weights. So it is
independent of LPIPS-sq: LPIPS-sq forgives texture at another place, FLIP does not.

The warping error is the difference between a frame and the previous frame, warped to it by
the optical flow of HR. tOF compares the optical flow of a clip with that of HR, tLP the
perceptual distance between consecutive frames with that of HR.

Source: Zhang et al. 2018, arXiv:1801.03924, eq. 1; Andersson et al. 2020, doi:10.1145/3406183
(FLIP); Iandola et al. 2016,
arXiv:1602.07360, version 1.1; Chu et al. 2020, TecoGAN, arXiv:1811.09393, sec. 4.2 (tOF, tLP);
Lai et al. 2018, arXiv:1808.00449, sec. 4.2 (warping error); Sundaram et al. 2010,
doi:10.1007/978-3-642-15549-9_32, eq. 5 (occlusion).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import flip_evaluator
import keras
import numpy as np
from keras import ops

from core.pixels import LEVELS, unit_from_uint8
from core.temporal.fusion import CUBIC, LINEAR, sample_positions, warp

BORDER = 4  # pixels cropped on each side, and side of the blocks of the grid: the scale
MIN_STEP = 0.1  # levels; with smaller differences of neighbouring pixels no grid could show
LUMA = np.array([0.299, 0.587, 0.114])  # of R, G and B, full range; ITU-R BT.601, sec. 2.5.1
LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / LEVELS  # ITU-R BT.601, 16..235
LUMA_OFFSET = 16.0
SSIM_SIGMA = 1.5  # Wang et al. 2004, "Image quality assessment", sec. III-C
SSIM_RADIUS = 5  # window of 11 x 11
SSIM_C1, SSIM_C2 = (0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2

WEIGHTS = "squeezenet1_1_lpips.npz"
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, levels of 8 bits
POOLED_BEFORE = ("fire2", "fire4", "fire6")
COMPARED = ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
EPSILON = 1e-10  # prevents division by zero for a vector of zeros

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

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(SR, HR), both (H, W, 3) uint8 -> figure."""

Weights = Mapping[str, np.ndarray]

Frames = Sequence[np.ndarray]
"""SR frames, (4H, 4W, 3) uint8 each."""


def psnr_y(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two (H, W, 3) uint8 pictures, dB."""
    return float(10 * np.log10(LEVELS**2 / np.float64(mse_y(sr, hr))))


def mse_y(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return the mean squared error of the luma of two (H, W, 3) uint8 pictures, squared levels."""
    error = cropped_luma(sr) - cropped_luma(hr)
    return float(np.mean(error**2))


def ssim_y(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return the structural similarity of two (H, W, 3) uint8 pictures, at most 1.

    Only windows inside the picture count, so both must measure at least 11 pixels a side
    after cropping.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13.
    """
    x, y = cropped_luma(sr), cropped_luma(hr)
    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x = local_mean(x * x) - mean_x**2
    var_y = local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    return float(
        np.mean(numerator / ((mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2)))
    )


def cropped_luma(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H - 8, W - 8) float64 luma in [16, 235]."""
    luma = rgb.astype(np.float64) @ LUMA_WEIGHTS + LUMA_OFFSET
    return luma[BORDER:-BORDER, BORDER:-BORDER]


def local_mean(plane: np.ndarray) -> np.ndarray:
    """Return the Gaussian-weighted mean of every 11 x 11 window inside a plane."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(plane, len(weights), axis)
        plane = windows @ weights
    return plane


def flip(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return FLIP of two (H, W, 3) uint8 sRGB pictures in [0, 1]; 0 for equal pictures.

    The viewing distance is that of the publication: 67 pixels per degree, which is 0.7 m before a
    screen of 3840 pixels on 0.7 m.
    """
    _, mean, _ = flip_evaluator.evaluate(
        unit_from_uint8(hr), unit_from_uint8(sr), "LDR", applyMagma=False
    )
    return float(mean)


def colour_shift(sr: np.ndarray, lr: np.ndarray) -> float:
    """Return the largest difference between channel means of SR and LR, levels.

    Args:
        sr: (4H, 4W, 3) uint8.
        lr: (H, W, 3) uint8.
    """
    return float(np.abs(sr.mean(axis=(0, 1)) - lr.mean(axis=(0, 1))).max())


def grid_share(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return how much the grid of LR pixels shows in SR; 0 is none, 1 is very much.

    In photographs, neighbouring pixels differ by the same amount on average at every
    position in the blocks that correspond to one LR pixel. This is how much more SR deviates
    from that than HR, as a share of the mean difference: the root mean square over positions
    and both directions.

    Args:
        sr: (H, W, 3) uint8.
        hr: (H, W, 3) uint8.
    """
    excess = [
        step_profile(cropped_luma(sr), axis) - step_profile(cropped_luma(hr), axis)
        for axis in (0, 1)
    ]
    return float(np.sqrt(np.mean(np.square(excess))))


def step_profile(luma: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean difference of neighbours at each position in a block, (4,).

    It is relative to the mean over all positions, and 0 for a picture without differences.
    """
    steps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
    means = np.array([steps[position::BORDER].mean() for position in range(BORDER)])
    return means / (means.mean() + MIN_STEP)


class LearnedDistance:
    """LPIPS-sq as a function of two (H, W, 3) uint8 sRGB pictures of the same size.

    Args:
        folder: folder with `squeezenet1_1_lpips.npz`: `<layer>/kernel` and `<layer>/bias` of
            SqueezeNet 1.1, and `lpips/lin<index>`, one weight per channel.
    """

    def __init__(self, folder: Path) -> None:
        weights = dict(np.load(folder / WEIGHTS))
        self._features = build_features(weights)
        self._heads = [weights[f"lpips/lin{index}"] for index in range(len(COMPARED))]

    def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """Return 0 for equal pictures; a larger value means more difference."""
        return self.between(self.extract(sr), self.extract(hr))

    def extract(self, picture: np.ndarray) -> list[np.ndarray]:
        """Return the features of a picture: unit vectors of every layer, (h, w, C) each.

        They take about 130 bytes a pixel.
        """
        layers = self._features(picture[None].astype(np.float32))
        return [unit_vectors(np.asarray(layer)[0]) for layer in layers]

    def between(self, one: list[np.ndarray], other: list[np.ndarray]) -> float:
        """Return the distance between the features of two pictures."""
        layers = zip(one, other, self._heads, strict=True)
        return float(sum(np.mean((a - b) ** 2 @ head) for a, b, head in layers))


def unit_vectors(features: np.ndarray) -> np.ndarray:
    """Scale the feature vector of every pixel, (h, w, C), to length 1."""
    return features / (np.sqrt(np.sum(features**2, axis=-1, keepdims=True)) + EPSILON)


def build_features(weights: Weights) -> keras.Model:
    """Return a network from RGB (B, H, W, 3) float32 in [0, 255] to the compared activations."""
    rgb = keras.Input((None, None, 3), dtype="float32")
    x = ops.flip(rgb, axis=-1) - ops.array(CAFFE_MEAN_BGR, "float32")
    x = convolve(x, weights, "conv1", strides=2, padding="valid")
    compared = [x]
    for index in range(2, 10):
        name = f"fire{index}"
        if name in POOLED_BEFORE:
            x = ops.max_pool(x, 3, strides=2, padding="valid")
        x = fire(x, weights, name)
        if name in COMPARED:
            compared.append(x)
    return keras.Model(rgb, compared)


def fire(x, weights, name):
    """Apply a 1x1 convolution to few channels, then parallel 1x1 and 3x3 ones to many."""
    squeezed = convolve(x, weights, f"{name}/squeeze1x1")
    wide = [convolve(squeezed, weights, f"{name}/expand{k}") for k in ("1x1", "3x3")]
    return ops.concatenate(wide, axis=-1)


def convolve(x, weights, name, *, strides=1, padding="same"):
    """Apply the named convolution and ReLU."""
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    return ops.relu(ops.conv(x, kernel, strides=strides, padding=padding) + bias)


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
