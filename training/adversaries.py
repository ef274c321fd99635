"""What judges the generator in the second stage: discriminator and content features."""

from collections.abc import Collection, Mapping
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
        mean = ops.average_pool(pictures, LOCAL, strides=1, padding="same")
        return GAIN * (pictures - mean)


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


def build_content_features(folder: Path | None, layer: str, natural: np.ndarray) -> keras.Model:
    """RGB (B, H, W, 3), unit -> activations of a layer of VGG-19, after its ReLU.

    Not trainable. The mean activation over natural pictures is about 1.

    Args:
        folder: with `vgg19_conv1_1_to_conv3_1.npz`, whose layers suffice for training
            on a CPU; None, or a folder without it, for the whole network as Keras has it,
            which it downloads once.
        layer: of the network, `conv3_1` for example.
        natural: pictures (B, H, W, 3), unit float32, that the scale is measured on.

    Raises:
        CommandFailed: if there is no such layer.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, table 1, column E.
    """
    if folder is not None and (folder / VGG_WEIGHTS).exists():
        check_layer(layer, VGG_CONVOLUTIONS)
        features = build_first_layers(dict(np.load(folder / VGG_WEIGHTS)), layer)
    else:
        features = build_whole_network(layer, natural)
    features.trainable = False
    return features


def build_first_layers(weights: Mapping[str, np.ndarray], last: str) -> keras.Model:
    """VGG-19 up to a layer, from weights whose activations are of mean 1 already."""
    rgb = keras.Input((None, None, 3), name="rgb")
    x = fixed_convolution(weights, "rgb_to_caffe", activation=None, dtype="float32")(rgb)
    for name in VGG_CONVOLUTIONS[: VGG_CONVOLUTIONS.index(last) + 1]:
        x = fixed_convolution(weights, name, activation="relu")(x)
        if name in POOLED_AFTER and name != last:
            x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    return keras.Model(rgb, x, name="content_features")


def build_whole_network(layer: str, natural: np.ndarray) -> keras.Model:
    """VGG-19 of `keras.applications` up to a layer, divided by its mean activation."""
    network = keras.applications.VGG19(include_top=False, weights="imagenet")
    names = {f"conv{block}_{n}": f"block{block}_conv{n}" for block, n in VGG_LAYERS}
    check_layer(layer, names)
    rgb = keras.Input((None, None, 3), name="rgb")
    levels = layers.Rescaling(LEVELS, dtype="float32")(rgb)
    caffe = keras.applications.vgg19.preprocess_input(levels)
    cut = keras.Model(network.input, network.get_layer(names[layer]).output)
    activations = cut(caffe)
    mean = float(np.mean(keras.Model(rgb, activations).predict_on_batch(natural)))
    return keras.Model(rgb, layers.Rescaling(1 / mean)(activations), name="content_features")


def check_layer(layer: str, known: Collection[str]) -> None:
    """Raise CommandFailed unless the content loss can compare there."""
    if layer not in known:
        raise CommandFailed(f"`content_layer` must be one of {', '.join(known)}. Received: {layer}")


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
    """Two feature maps (B, h, w, C) -> mean absolute difference (B, 1), float32."""

    def __init__(self, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, sr_features, hr_features):
        difference = ops.abs(sr_features - hr_features)
        return ops.mean(difference, axis=(1, 2, 3))[:, None]
