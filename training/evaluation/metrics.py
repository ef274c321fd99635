"""Metrics that compare SR with HR: PSNR-Y, SSIM-Y, LPIPS-sq, colour shift, grid.

PSNR-Y and SSIM-Y follow the super-resolution literature: luma of BT.601 in studio range, as
MATLAB's `rgb2ycbcr` computes it, `BORDER` pixels cropped on every side, one value per
picture. The figure of a test set is the mean over its pictures.

LPIPS-sq is a learned perceptual distance: SqueezeNet 1.1 with the linear heads of LPIPS v0.1.
It is only a metric, never a loss: what is measured with it must not be trained on it. Its
values are not comparable with LPIPS on AlexNet or VGG features.

Source: Zhang et al. 2018, arXiv:1801.03924, eq. 1; Iandola et al. 2016,
arXiv:1602.07360, version 1.1.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
from keras import ops

from core.pixels import LEVELS

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

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(SR, HR), both (H, W, 3) uint8 -> figure."""

Weights = Mapping[str, np.ndarray]


def psnr_y(sr: np.ndarray, hr: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two (H, W, 3) uint8 pictures, dB."""
    error = cropped_luma(sr) - cropped_luma(hr)
    return float(10 * np.log10(LEVELS**2 / np.mean(error**2)))


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
