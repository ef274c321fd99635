"""The networks that judge SR in the second stage: the discriminator and VGG-19 features.

`build_discriminator` and `ContentDistance` define the adversarial and the content loss.
`draw_start`, `crop` and `Shift` show them the pictures at another offset in every step.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from core.pixels import LEVELS
from training import CommandFailed

SLOPE = 0.2  # of the leaky ReLU; Ledig et al. 2017, sec. 2.1.1
LOCAL = 5  # px a side of the local mean; Fritsche et al. 2019, sec. 3.2
GAIN = 8.0  # scales the high frequencies of photographs to a deviation of about a half
SHIFTS = 8  # offsets along each axis: px a side that three poolings reduce to one
CELL = 16  # px a side of the cells in which texture is compared as a whole
MIN_SQUARE = 1e-3  # squared length of features, well below which they have no direction
VGG_WEIGHTS = "vgg19_conv1_1_to_conv3_1.npz"
VGG_CONVOLUTIONS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
POOLED_AFTER = ("conv1_2", "conv2_2")
VGG_LAYERS = [
    (block, n) for block, count in enumerate((2, 2, 4, 4, 4), start=1) for n in range(1, count + 1)
]


def build_discriminator(filters: int, *, normalised: bool = True) -> keras.Model:
    """Return a network from HR or SR (B, H, W, 3), unit float32, to logits (B, H/8, W/8, 1).

    Logits are high for HR. Each logit judges a patch, not the whole picture, and sees high
    frequencies only, so the judgement is about texture. Shown whole pictures, the network
    took many times the steps to tell the two apart. Spectral normalisation keeps it from
    getting far ahead of the generator; a discriminator that is not trained does not need it.

    Args:
        filters: channels of the first layer; the last layers have eight times as many.
        normalised: whether to use spectral normalisation.

    Source: Isola et al. 2017, arXiv:1611.07004, sec. 3.2.2 (patches); Fritsche et al.
    2019, arXiv:1911.07850, sec. 3.2 (high frequencies); Miyato et al. 2018,
    arXiv:1802.05957 (spectral normalisation).
    """
    picture = keras.Input((None, None, 3), name="picture")
    x = HighPass(name="high_frequencies")(picture)
    x = layers.LeakyReLU(SLOPE)(
        layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name="first")(x)
    )
    for index in range(3):
        x = discriminator_block(
            x,
            filters * 2 ** (index + 1),
            kernel=4,
            strides=2,
            name=f"down{index}",
            normalised=normalised,
        )
    x = discriminator_block(x, filters * 8, kernel=3, strides=1, name="deep", normalised=normalised)
    logits = layers.Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(picture, logits, name="discriminator")


def discriminator_block(x, filters, *, kernel, strides, name, normalised):
    """Apply a convolution, spectrally normalised if asked for, and a leaky ReLU."""
    convolution = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        name=name,
    )
    if normalised:
        convolution = layers.SpectralNormalization(convolution, name=f"{name}_normalised")
    return layers.LeakyReLU(SLOPE)(convolution(x))


@keras.saving.register_keras_serializable("enhancer")
class HighPass(layers.Layer):
    """Amplified high frequencies of pictures (B, H, W, 3), unit; float32."""

    def __init__(self, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, pictures):
        """Return the high frequencies times `GAIN`."""
        return GAIN * high_frequencies(pictures)


def high_frequencies(pictures):
    """Return pictures (B, H, W, C) less their local mean."""
    return pictures - ops.average_pool(pictures, LOCAL, strides=1, padding="same")


def draw_start(step: int) -> np.ndarray:
    """Return the first row and column, (2,) int32, of the pictures of a step.

    They depend on the step alone.
    """
    return np.random.default_rng(step).integers(SHIFTS, size=2, dtype=np.int32)


def crop(pictures: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return what `Shift` leaves of pictures that begin at `start`, (2,) int32."""
    height, width = (side - SHIFTS + 1 for side in pictures.shape[1:3])
    row, column = start
    return pictures[:, row : row + height, column : column + width]


@keras.saving.register_keras_serializable("enhancer")
class Shift(layers.Layer):
    """Pictures (B, H, W, C) without their first rows and columns, (B, H - 7, W - 7, C).

    Networks with pooling see a grid of pixel blocks. If patches always began on that grid,
    the generator would learn to draw it, so the grid is moved at every step.
    """

    def call(self, pictures, start):
        """Crop the pictures.

        Args:
            pictures: (B, H, W, C).
            start: first row and column to keep, (B, 2) int32, below `SHIFTS`; rows equal.
        """
        batch, height, width, channels = ops.shape(pictures)
        kept = (batch, height - SHIFTS + 1, width - SHIFTS + 1, channels)
        return ops.slice(pictures, (0, start[0, 0], start[0, 1], 0), kept)

    def compute_output_shape(self, pictures_shape, start_shape):  # noqa: ARG002, Keras wants both
        """Return the shape of the cropped pictures."""
        batch, height, width, channels = pictures_shape
        smaller = [side if side is None else side - SHIFTS + 1 for side in (height, width)]
        return (batch, *smaller, channels)


def build_content_features(folder: Path | None, names: Sequence[str]) -> keras.Model:
    """Return a network from RGB (B, H, W, 3), unit, to activations of layers of VGG-19.

    The output is a list of activations, each after its ReLU. The network is not trainable.

    Args:
        folder: folder with `vgg19_conv1_1_to_conv3_1.npz`, which holds the layers that
            training on a CPU can afford. If it is None or lacks that file, Keras downloads
            the whole network once.
        names: names of the layers, for example `conv3_1`; at least one.

    Raises:
        CommandFailed: if there is no such layer.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, table 1, column E.
    """
    if folder is not None and (folder / VGG_WEIGHTS).exists():
        check_layers(names, VGG_CONVOLUTIONS)
        features = build_first_layers(dict(np.load(folder / VGG_WEIGHTS)), names)
    else:
        features = build_whole_network(names)
    features.trainable = False
    return features


def build_first_layers(weights: Mapping[str, np.ndarray], names: Sequence[str]) -> keras.Model:
    """Return the named layers of VGG-19, from weights whose activations have mean 1.

    Args:
        weights: `<layer>/kernel` and `<layer>/bias` of `VGG_CONVOLUTIONS`, and of
            `rgb_to_caffe`, a 1x1 convolution that converts unit RGB to the network's input.
        names: names of the layers.
    """
    rgb = keras.Input((None, None, 3), name="rgb")
    x = fixed_convolution(weights, "rgb_to_caffe", activation=None, dtype="float32")(rgb)
    activations = {}
    for name in VGG_CONVOLUTIONS[: max(map(VGG_CONVOLUTIONS.index, names)) + 1]:
        x = activations[name] = fixed_convolution(weights, name, activation="relu")(x)
        if name in POOLED_AFTER:
            x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    return keras.Model(rgb, [activations[name] for name in names], name="content_features")


def build_whole_network(names: Sequence[str]) -> keras.Model:
    """Return the named layers of the VGG-19 of `keras.applications`."""
    network = keras.applications.VGG19(include_top=False, weights="imagenet")
    known = {f"conv{block}_{n}": f"block{block}_conv{n}" for block, n in VGG_LAYERS}
    check_layers(names, known)
    rgb = keras.Input((None, None, 3), name="rgb")
    levels = layers.Rescaling(LEVELS, dtype="float32")(rgb)
    caffe = keras.applications.vgg19.preprocess_input(levels)
    cut = keras.Model(network.input, [network.get_layer(known[name]).output for name in names])
    return keras.Model(rgb, cut(caffe), name="content_features")


def check_layers(names: Sequence[str], known: Collection[str]) -> None:
    """Raise CommandFailed unless there is a name, and all names are known layers."""
    if not names or not set(names) <= set(known):
        raise CommandFailed(
            f"`content_layers` must be some of {', '.join(known)}. Received: {list(names)}"
        )


def fixed_convolution(weights: Mapping[str, np.ndarray], name: str, **kwargs) -> layers.Layer:
    """Return a convolution with given weights."""
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    height, width, _, filters = kernel.shape
    return layers.Conv2D(
        filters,
        (height, width),
        padding="same",
        kernel_initializer=keras.initializers.Constant(kernel),
        bias_initializer=keras.initializers.Constant(bias),
        name=name,
        **kwargs,
    )


def compare_content(
    features: keras.Model, distance: "ContentDistance", weights: Sequence[float], sr, hr
):
    """Return the content distance of SR from HR (B, H, W, 3), (B, 1), summed over scales.

    At smaller scales, features cover more of the picture, and LR determines where they are.
    Compared at one scale only, correct structure at large would count little.

    Args:
        features: network that `build_content_features` returned.
        distance: distance between its outputs.
        weights: weight of the pictures at full, half, quarter size, and so on.
        sr: pictures to judge.
        hr: pictures to compare them with.

    Source: Wang et al. 2003, "Multi-scale structural similarity", sec. 3 (scales).
    """
    scales = zip(weights, pyramid(sr), pyramid(hr), strict=False)  # pyramids are endless
    return sum(weight * distance(features(s), features(h)) for weight, s, h in scales if weight)


def pyramid(pictures):
    """Yield pictures (B, H, W, C) at full size, half the size, a quarter, and so on."""
    while True:
        yield pictures
        pictures = ops.average_pool(pictures, 2, strides=2)


@keras.saving.register_keras_serializable("enhancer")
class ContentDistance(layers.Layer):
    """Distance between two lists of feature maps (B, h, w, C): (B, 1), float32.

    The features at a pixel of a map, divided by their length, are its direction. The
    distance between two maps is the mean squared difference of their directions. Lengths do
    not count: if activations were compared as they are, strong edges would dominate and
    faint texture would count for nothing.

    All maps are compared after averaging over cells of `CELL` pixels a side. This compares
    how much texture there is, but not where in the cell it is: LR does not determine that,
    and pixel by pixel the best guess would be no texture. Only the last map, whose features
    cover most of the picture, is also compared pixel by pixel. The distance is the mean of
    all comparisons. Where the target follows from LR, as that of a restorer does, all maps can
    be compared pixel by pixel instead, or those of some layers in cells and the others so.

    Args:
        names: names of the layers of VGG-19 that the maps come from, the deepest last.
        in_cells: whether to compare averages over cells; or the names of the layers whose
            maps are compared so, the others being compared pixel by pixel.
        **kwargs: other arguments of `keras.layers.Layer`.

    Source: Zhang et al. 2018, arXiv:1801.03924, eq. 1, with equal weights for all channels;
    Sajjadi et al. 2017, arXiv:1612.07919, sec. 4.2.3 (texture in patches of 16 pixels).
    """

    def __init__(self, names: Sequence[str], *, in_cells: bool | Sequence[str] = True, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.names, self.in_cells = list(names), in_cells

    def call(self, sr_features, hr_features):
        """Compare two lists of maps, in the order of `names`."""
        maps = list(zip(sr_features, hr_features, strict=True))
        distances = [direction_distance(sr, hr) for sr, hr in self._choose(maps)]
        return ops.mean(ops.stack(distances), axis=0)[:, None]

    def _choose(self, maps):
        all_in_cells = self.in_cells is True
        in_cells = self.names if all_in_cells else self.in_cells or ()
        chosen = [
            average_cells(name, pair) if name in in_cells else pair
            for name, pair in zip(self.names, maps, strict=True)
        ]
        return [*chosen, maps[-1]] if all_in_cells else chosen

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"names": self.names, "in_cells": self.in_cells}


def average_cells(name, pair):
    """Return the averages over cells of two maps from a layer of VGG-19."""
    return [average(features, CELL // stride_of(name)) for features in pair]


def stride_of(name: str) -> int:
    """Return the pixels a side that one feature of a layer of VGG-19 stands for."""
    block = int(name.removeprefix("conv").partition("_")[0])
    return 2 ** (block - 1)


def average(features, side):
    """Average features (B, h, w, C) over cells of `side` x `side`; cells at the border are cut."""
    return ops.average_pool(features, side, strides=side, padding="same")


def direction_distance(sr_features, hr_features):
    """Return the mean squared difference of directions in two maps (B, h, w, C), (B,)."""
    difference = direction(sr_features) - direction(hr_features)
    return ops.mean(ops.sum(ops.square(difference), axis=-1), axis=(1, 2))


def direction(features):
    """Divide features (B, h, w, C) by their length; zeros stay zeros."""
    squares = ops.sum(ops.square(features), axis=-1, keepdims=True)
    return features * ops.rsqrt(squares + MIN_SQUARE)
