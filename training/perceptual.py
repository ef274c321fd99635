"""LPIPS-sq: how different two pictures look to a network trained to see.

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
