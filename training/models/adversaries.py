"""What judges the generator in the second stage: discriminator and content features."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from core.pixels import LEVELS
from training.errors import CommandFailed

SLOPE = 0.2  # of the leaky ReLU; Ledig et al. 2017, sec. 2.1.1
LOCAL = 5  # px a side of the local mean; Fritsche et al. 2019, sec. 3.2
GAIN = 8.0  # brings what is left of photographs to a deviation of about a half
SHIFTS = 8  # places of the lattice on each side: px that three poolings make one of
CELL = 16  # px a side, in which texture is compared as a whole
FAINT = 1e-3  # squared length of features, below which they have no direction
VGG_WEIGHTS = "vgg19_conv1_1_to_conv3_1.npz"
VGG_CONVOLUTIONS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
POOLED_AFTER = ("conv1_2", "conv2_2")
VGG_LAYERS = [
    (block, n) for block, count in enumerate((2, 2, 4, 4, 4), start=1) for n in range(1, count + 1)
]


def build_discriminator(filters: int, *, normalised: bool = True) -> keras.Model:
    """HR or SR (B, H, W, 3), unit float32 -> logits (B, H/8, W/8, 1), high for HR.

    Every logit judges a patch, not the whole picture, and sees high frequencies only,
    so the judgement is about texture: shown whole pictures, it took many times the steps
    to tell the two apart. Spectral normalisation keeps it from running away from the
    generator; a discriminator that is not trained can do without.

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
        x = judge(
            x,
            filters * 2 ** (index + 1),
            kernel=4,
            strides=2,
            name=f"down{index}",
            normalised=normalised,
        )
    x = judge(x, filters * 8, kernel=3, strides=1, name="deep", normalised=normalised)
    logits = layers.Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(picture, logits, name="discriminator")


@keras.saving.register_keras_serializable("enhancer")
class HighPass(layers.Layer):
    """Pictures (B, H, W, 3), unit -> what a local mean leaves of them, amplified, float32."""

    def __init__(self, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, pictures):
        return GAIN * high_frequencies(pictures)


def high_frequencies(pictures):
    """What a local mean leaves of pictures (B, H, W, C)."""
    return pictures - ops.average_pool(pictures, LOCAL, strides=1, padding="same")


def judge(x, filters, *, kernel, strides, name, normalised):
    """Convolution, of bounded gain if normalised, and leaky ReLU."""
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


def build_content_features(folder: Path | None, names: Sequence[str]) -> keras.Model:
    """RGB (B, H, W, 3), unit -> activations of layers of VGG-19, a list, each after its ReLU.

    Not trainable.

    Args:
        folder: with `vgg19_conv1_1_to_conv3_1.npz`, whose layers suffice for training
            on a CPU; None, or a folder without it, for the whole network as Keras has it,
            which it downloads once.
        names: of the layers, `conv3_1` for example, at least one.

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
    """The named layers of VGG-19, from weights whose activations are of mean 1."""
    rgb = keras.Input((None, None, 3), name="rgb")
    x = fixed_convolution(weights, "rgb_to_caffe", activation=None, dtype="float32")(rgb)
    activations = {}
    for name in VGG_CONVOLUTIONS[: max(map(VGG_CONVOLUTIONS.index, names)) + 1]:
        x = activations[name] = fixed_convolution(weights, name, activation="relu")(x)
        if name in POOLED_AFTER:
            x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    return keras.Model(rgb, [activations[name] for name in names], name="content_features")


def build_whole_network(names: Sequence[str]) -> keras.Model:
    """The named layers of the VGG-19 of `keras.applications`."""
    network = keras.applications.VGG19(include_top=False, weights="imagenet")
    known = {f"conv{block}_{n}": f"block{block}_conv{n}" for block, n in VGG_LAYERS}
    check_layers(names, known)
    rgb = keras.Input((None, None, 3), name="rgb")
    levels = layers.Rescaling(LEVELS, dtype="float32")(rgb)
    caffe = keras.applications.vgg19.preprocess_input(levels)
    cut = keras.Model(network.input, [network.get_layer(known[name]).output for name in names])
    return keras.Model(rgb, cut(caffe), name="content_features")


def check_layers(names: Sequence[str], known: Collection[str]) -> None:
    """Raise CommandFailed unless the content loss can compare there."""
    if not names or not set(names) <= set(known):
        raise CommandFailed(
            f"`content_layers` must be some of {', '.join(known)}. Received: {list(names)}"
        )


def fixed_convolution(weights: Mapping[str, np.ndarray], name: str, **kwargs) -> layers.Layer:
    """A convolution with given weights."""
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


def draw_start(step: int) -> np.ndarray:
    """First row and column, (2,) int32, of the pictures of a step: a function of the step alone."""
    return np.random.default_rng(step).integers(SHIFTS, size=2, dtype=np.int32)


def crop(pictures: np.ndarray, start: np.ndarray) -> np.ndarray:
    """What `Shift` leaves of pictures that begin at `start`, (2,) int32."""
    height, width = (side - SHIFTS + 1 for side in pictures.shape[1:3])
    row, column = start
    return pictures[:, row : row + height, column : column + width]


@keras.saving.register_keras_serializable("enhancer")
class Shift(layers.Layer):
    """Pictures (B, H, W, C) without their first rows and columns, (B, H - 7, W - 7, C).

    Networks that pool see a lattice of blocks of pixels. Patches that always begin on it
    teach the generator to draw it, so it is laid elsewhere at every step.
    """

    def call(self, pictures, start):
        """`start` is (B, 2) int32, the first row and column kept, below `SHIFTS`; rows equal."""
        batch, height, width, channels = ops.shape(pictures)
        kept = (batch, height - SHIFTS + 1, width - SHIFTS + 1, channels)
        return ops.slice(pictures, (0, start[0, 0], start[0, 1], 0), kept)

    def compute_output_shape(self, pictures_shape, start_shape):  # noqa: ARG002, Keras wants both
        batch, height, width, channels = pictures_shape
        smaller = [side if side is None else side - SHIFTS + 1 for side in (height, width)]
        return (batch, *smaller, channels)


@keras.saving.register_keras_serializable("enhancer")
class ContentDistance(layers.Layer):
    """Two lists of feature maps (B, h, w, C) -> how far apart they point (B, 1), float32.

    Every place of a map has a direction, its features divided by their length; two maps are
    as far apart as the mean squared difference of their directions. Lengths do not count:
    comparing activations as they are, strong edges counted most and faint texture for nothing.

    All maps are compared after their features were averaged over cells of `CELL` pixels a
    side: how much texture there is, wherever in the cell it is. Where it must lie cannot be
    told from a small picture, and place by place the best guess is none. So only the last
    map, whose features see widest, is compared place by place as well. The distance is the
    mean of all comparisons.

    Args:
        names: of the layers of VGG-19 that the maps come from, the deepest last.

    Source: Zhang et al. 2018, arXiv:1801.03924, eq. 1, all channels weighed alike; Sajjadi et
    al. 2017, arXiv:1612.07919, sec. 4.2.3 (texture in patches of 16 pixels).
    """

    def __init__(self, names: Sequence[str], **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.names = list(names)

    def call(self, sr_features, hr_features):
        maps = list(zip(sr_features, hr_features, strict=True))
        in_cells = [
            [average(features, CELL // stride_of(name)) for features in pair]
            for name, pair in zip(self.names, maps, strict=True)
        ]
        distances = [apart(sr, hr) for sr, hr in [*in_cells, maps[-1]]]
        return ops.mean(ops.stack(distances), axis=0)[:, None]

    def get_config(self):
        return super().get_config() | {"names": self.names}


def stride_of(name: str) -> int:
    """Pixels a side that a feature of a layer of VGG-19 stands for: each block is pooled."""
    block = int(name.removeprefix("conv").partition("_")[0])
    return 2 ** (block - 1)


def average(features, side):
    """Features (B, h, w, C), mean over cells of `side` x `side`, those at the border smaller."""
    return ops.average_pool(features, side, strides=side, padding="same")


def apart(sr_features, hr_features):
    """Mean squared difference of the directions in two maps (B, h, w, C), (B,)."""
    difference = direction(sr_features) - direction(hr_features)
    return ops.mean(ops.sum(ops.square(difference), axis=-1), axis=(1, 2))


def direction(features):
    """Features (B, h, w, C) divided by their length; zeros stay zeros."""
    squares = ops.sum(ops.square(features), axis=-1, keepdims=True)
    return features * ops.rsqrt(squares + FAINT)
