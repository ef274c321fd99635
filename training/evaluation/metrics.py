"""How close SR is to HR, by the protocol of the super-resolution literature.

On the luma of BT.601 in studio range, as MATLAB's `rgb2ycbcr` computes it, with
`BORDER` pixels shaved off on every side, one value per picture; a set's figure is
the mean over its pictures.

LPIPS-sq: how different two pictures look to a network trained to see.

A yardstick, never a loss: what is measured with it must not be trained on it. The
network is SqueezeNet 1.1 with the linear heads of LPIPS v0.1; figures are not
comparable with LPIPS on AlexNet or VGG features.

Source: Zhang et al. 2018, arXiv:1801.03924, eq. 1; Iandola et al. 2016,
arXiv:1602.07360, version 1.1.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from keras import ops

from core.pixels import LEVELS

BORDER = 4  # pixels shaved on each side, and side of the blocks of a grid: the scale
LEAST_STEP = 0.1  # levels: with less there is nothing that could show a grid
LUMA = np.array([0.299, 0.587, 0.114])  # of R, G and B, full range; ITU-R BT.601, sec. 2.5.1
LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / LEVELS  # ITU-R BT.601, 16..235
LUMA_OFFSET = 16.0
SSIM_SIGMA = 1.5  # Wang et al. 2004, "Image quality assessment", sec. III-C
SSIM_RADIUS = 5  # window of 11 x 11
SSIM_C1, SSIM_C2 = (0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2


def psnr_y(sr: np.ndarray, hr: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two (H, W, 3) uint8 pictures, dB."""
    error = shaved_luma(sr) - shaved_luma(hr)
    return float(10 * np.log10(LEVELS**2 / np.mean(error**2)))


def ssim_y(sr: np.ndarray, hr: np.ndarray) -> float:
    """Structural similarity of two (H, W, 3) uint8 pictures, at most 1.

    Only windows that lie inside the picture count, so both must measure at least
    11 pixels a side after shaving.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861, eq. 13.
    """
    x, y = shaved_luma(sr), shaved_luma(hr)
    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x = local_mean(x * x) - mean_x**2
    var_y = local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    return float(
        np.mean(likeness / ((mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2)))
    )


def colour_shift(sr: np.ndarray, lr: np.ndarray) -> float:
    """Largest difference between the mean of a channel and that of the input, levels.

    Args:
        sr: (4H, 4W, 3) uint8.
        lr: (H, W, 3) uint8.
    """
    return float(np.abs(sr.mean(axis=(0, 1)) - lr.mean(axis=(0, 1))).max())


def grid_share(sr: np.ndarray, hr: np.ndarray) -> float:
    """How much of the grid of LR shows in SR, both (H, W, 3) uint8; 0 is none, 1 very much.

    In photographs neighbouring pixels differ by as much on average wherever in the blocks lie
    that one pixel of LR becomes. This is the root mean square, over places and both directions,
    by how much SR differs from that more than HR does, as a share of the mean difference.
    """
    uneven = [
        mean_steps(shaved_luma(sr), axis) - mean_steps(shaved_luma(hr), axis) for axis in (0, 1)
    ]
    return float(np.sqrt(np.mean(np.square(uneven))))


def mean_steps(luma: np.ndarray, axis: int) -> np.ndarray:
    """What a pixel differs by from the next along an axis, at each place of a block, (4,).

    Of the mean over all places; a picture without steps has none anywhere.
    """
    steps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
    means = np.array([steps[place::BORDER].mean() for place in range(BORDER)])
    return means / (means.mean() + LEAST_STEP)


def shaved_luma(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H - 8, W - 8) float64 luma in [16, 235]."""
    luma = rgb.astype(np.float64) @ LUMA_WEIGHTS + LUMA_OFFSET
    return luma[BORDER:-BORDER, BORDER:-BORDER]


def local_mean(plane: np.ndarray) -> np.ndarray:
    """Gaussian-weighted mean of every 11 x 11 window inside the plane."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(plane, len(weights), axis)
        plane = windows @ weights
    return plane


WEIGHTS = "squeezenet1_1_lpips.npz"
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, levels of 8 bits
POOLED_BEFORE = ("fire2", "fire4", "fire6")
COMPARED = ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
EPSILON = 1e-10  # keeps a vector of zeros from being divided by its length

Weights = Mapping[str, np.ndarray]


class LearnedDistance:
    """LPIPS-sq as a function of two (H, W, 3) uint8 sRGB pictures of one size."""

    def __init__(self, folder: Path) -> None:
        weights = dict(np.load(folder / WEIGHTS))
        self._features = build_features(weights)
        self._heads = [weights[f"lpips/lin{index}"] for index in range(len(COMPARED))]

    def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
        """0 for equal pictures; larger is more different."""
        return self.between(self.see(sr), self.see(hr))

    def see(self, picture: np.ndarray) -> list[np.ndarray]:
        """What is compared of a picture: unit vectors of every layer, (h, w, C) each.

        They take about 130 bytes a pixel.
        """
        layers = self._features(picture[None].astype(np.float32))
        return [unit_vectors(np.asarray(layer)[0]) for layer in layers]

    def between(self, one: list[np.ndarray], other: list[np.ndarray]) -> float:
        """The distance of two pictures that were seen before."""
        layers = zip(one, other, self._heads, strict=True)
        return float(sum(np.mean((a - b) ** 2 @ head) for a, b, head in layers))


def unit_vectors(features: np.ndarray) -> np.ndarray:
    """Scale the feature vector of every pixel, (h, w, C), to length 1."""
    return features / (np.sqrt(np.sum(features**2, axis=-1, keepdims=True)) + EPSILON)


def build_features(weights: Weights) -> keras.Model:
    """RGB (B, H, W, 3) float32 in [0, 255] -> the activations that are compared."""
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
    """A 1x1 convolution to few channels, then 1x1 and 3x3 ones to many, side by side."""
    squeezed = convolve(x, weights, f"{name}/squeeze1x1")
    wide = [convolve(squeezed, weights, f"{name}/expand{k}") for k in ("1x1", "3x3")]
    return ops.concatenate(wide, axis=-1)


def convolve(x, weights, name, *, strides=1, padding="same"):
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    return ops.relu(ops.conv(x, kernel, strides=strides, padding=padding) + bias)
