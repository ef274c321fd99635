"""The generator, a Keras 3 model that runs on any Keras backend.

It is a residual network after SRResNet (Ledig et al. 2017, arXiv:1609.04802, fig. 4) with
changes that later work established: no batch normalisation, ReLU (Lim et al. 2017, EDSR,
arXiv:1707.02921), 3x3 kernels only, and sub-pixel stages with fewer channels towards the
x4 grid, where a channel costs sixteen times what it costs on the LR grid. No layer is
global, so the radius is finite and tiling can be exact.

The generator is served in another form than it is trained in: with its last convolution
before the last shuffle (`served_generator`). On the x4 grid that convolution makes 3 channels
from few, which leaves a processor's vectors half empty, and its input must first be
reordered in memory. On the x2 grid it computes the same sums for all four sub-pixels of a
pixel at once. Most of the larger kernel is zero, yet the whole network is a tenth faster,
and its largest tensor exists once instead of twice.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

SCALE = 4
TAIL = "tail"  # name of the last convolution
FACTOR = 2  # of the last shuffle
SUB_PIXELS = FACTOR**2


@dataclass(frozen=True)
class Architecture:
    """Sizes from which a generator can be built, as recipes and cards state them."""

    filters: int  # channels of the trunk
    blocks: int  # residual blocks in the trunk
    x2_filters: int  # channels on the x2 grid
    x4_filters: int  # channels on the x4 grid

    @property
    def radius(self) -> int:
        """LR pixels that one SR pixel depends on, on each side.

        Every 3x3 convolution adds one pixel of its own grid. On the LR grid there are the
        head, two per block, the end of the trunk and the first stage. The x2 and x4 grids
        add half and a quarter of an LR pixel, rounded up together.
        """
        return 1 + 2 * self.blocks + 1 + 1 + 1

    @property
    def mflop_per_lr_pixel(self) -> float:
        """Arithmetic of all convolutions, in 1e6 operations (2 per multiply-add)."""
        trunk = 3 * self.filters + (2 * self.blocks + 1) * self.filters**2
        x2_stage = self.filters * 4 * self.x2_filters
        x4_stage = 4 * self.x2_filters * 4 * self.x4_filters
        last = 16 * self.x4_filters * 3
        return 2 * 9 * (trunk + x2_stage + x4_stage + last) / 1e6


def build_generator(architecture: Architecture, *, tail_first: bool = False) -> keras.Model:
    """Return a network from LR (B, H, W, 3) to SR (B, 4H, 4W, 3).

    Both are float32 sRGB in the unit range [0, 1]; the output is not clipped. The network
    adds detail to a bilinear upsampling of its input, which stays in float32 under mixed
    precision. A nearest-neighbour upsampling would show as a lattice where much detail is
    added.

    Args:
        architecture: sizes of the network.
        tail_first: whether the last convolution comes before the last shuffle, as in
            `served_generator`.
    """
    lr = keras.Input((None, None, 3), name="lr")
    x = head = conv(architecture.filters, name="head")(lr)
    for index in range(architecture.blocks):
        x = residual_block(x, architecture.filters, name=f"block{index}")
    x = conv(architecture.filters, name="trunk_end", kernel_initializer=small_init())(x)
    x = layers.Add(name="trunk_skip")([x, head])
    x = upsampling_stage(x, architecture.x2_filters, name="x2")
    x = sub_pixel_conv(x, architecture.x4_filters, name="x4")
    shuffle = PixelShuffle(FACTOR, name="x4_shuffle")
    if tail_first:
        detail = shuffle(conv(SUB_PIXELS * 3, name=TAIL, kernel_initializer=small_init())(x))
    else:
        detail = conv(3, name=TAIL, kernel_initializer=small_init())(shuffle(x))
    base = Bilinear(SCALE, dtype="float32", name="base")(lr)
    sr = layers.Add(dtype="float32", name="sr")([base, detail])
    return keras.Model(lr, sr, name="generator")


def residual_block(x, filters, name):
    """Apply 3x3 convolution - ReLU - 3x3 convolution, and add the input."""
    y = conv(filters, name=f"{name}_conv1", activation="relu")(x)
    y = conv(filters, name=f"{name}_conv2", kernel_initializer=small_init())(y)
    return layers.Add(name=f"{name}_add")([x, y])


def upsampling_stage(x, filters, name):
    """Apply a sub-pixel convolution: twice the height and width, `filters` channels, ReLU."""
    return PixelShuffle(2, name=f"{name}_shuffle")(sub_pixel_conv(x, filters, name))


def sub_pixel_conv(x, filters, name):
    """Compute the channels of all four sub-pixels of every pixel, with ReLU, not yet shuffled."""
    init = SubPixelNearest(2)
    return conv(filters * 4, name=f"{name}_conv", activation="relu", kernel_initializer=init)(x)


def conv(filters, *, name, kernel_initializer="he_normal", **kwargs):
    """Return a 3x3 convolution, zero-padded to the same size; there is no other kind here."""
    return layers.Conv2D(
        filters, 3, padding="same", name=name, kernel_initializer=kernel_initializer, **kwargs
    )


def small_init():
    """Return He initialisation scaled by 0.1: every residual branch starts close to zero.

    Source: Wang et al. 2018, ESRGAN, arXiv:1809.00219, sec. 3.1.
    """
    return keras.initializers.VarianceScaling(scale=2.0 * 0.1**2, mode="fan_in")


@keras.saving.register_keras_serializable("enhancer")
class SubPixelNearest(keras.initializers.Initializer):
    """Initialiser with which a sub-pixel convolution is a nearest-neighbour upsampling (ICNR).

    All r^2 sub-pixels of a channel get the same kernel, so training starts without a lattice.

    Source: Aitken et al. 2017, arXiv:1707.02937, sec. 3.2.
    """

    def __init__(self, factor, seed=None):
        self.factor = factor
        self.seed = seed

    def __call__(self, shape, dtype=None):
        """Return a kernel."""
        sub_pixels = self.factor**2
        kernel = keras.initializers.HeNormal(seed=self.seed)(
            (*shape[:-1], shape[-1] // sub_pixels), dtype=dtype
        )
        return ops.tile(kernel, (1, 1, 1, sub_pixels))

    def get_config(self):
        """Return the constructor's arguments."""
        return {"factor": self.factor, "seed": self.seed}


@keras.saving.register_keras_serializable("enhancer")
class PixelShuffle(layers.Layer):
    """(B, H, W, C * r^2) -> (B, r*H, r*W, C), channel-major blocks.

    Source: Shi et al. 2016, arXiv:1609.05158, eq. 4, in the channel order of
    TensorFlow's `depth_to_space`: the C channels of one sub-pixel are adjacent.
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        """Shuffle channels to pixels."""
        return ops.nn.depth_to_space(x, self.factor)

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"factor": self.factor}


@keras.saving.register_keras_serializable("enhancer")
class Bilinear(layers.Layer):
    """(B, H, W, C) -> (B, r*H, r*W, C), linear between pixel centres, constant beyond the last.

    It uses slices and sums, because `keras.ops.image.resize` must know the size beforehand.
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        """Upsample pictures."""
        return self._stretch(self._stretch(x, axis=1), axis=2)

    def _stretch(self, x, axis):
        """Return `x` with r times as many pixels along one axis."""
        before = ops.concatenate([slice_axis(x, axis, 0, 1), slice_axis(x, axis, None, -1)], axis)
        after = ops.concatenate([slice_axis(x, axis, 1, None), slice_axis(x, axis, -1, None)], axis)
        offsets = (np.arange(self.factor) + 0.5) / self.factor - 0.5  # from a pixel's centre
        between = [x + abs(p) * ((before if p < 0 else after) - x) for p in offsets.tolist()]
        stacked = ops.stack(between, axis + 1)
        shape = list(ops.shape(x))
        shape[axis] = shape[axis] * self.factor
        return ops.reshape(stacked, shape)

    def compute_output_shape(self, input_shape):
        """Return the shape of the upsampled pictures."""
        batch, height, width, channels = input_shape
        larger = [None if side is None else side * self.factor for side in (height, width)]
        return (batch, *larger, channels)

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"factor": self.factor}


def slice_axis(x, axis, start, stop):
    """Return a slice of (B, H, W, C) along one axis, 1 or 2."""
    return x[:, start:stop] if axis == 1 else x[:, :, start:stop]


def count_parameters(generator: keras.Model) -> int:
    """Return the number of weights."""
    return int(sum(np.prod(weight.shape) for weight in generator.weights))


def served_generator(generator: keras.Model, architecture: Architecture) -> keras.Model:
    """Return the same function as a generator, arranged for inference."""
    served = build_generator(architecture, tail_first=True)
    for layer in served.layers:
        weights = generator.get_layer(layer.name).get_weights()
        if layer.name == TAIL:
            kernel, bias = weights
            weights = [kernel_before_shuffle(kernel), np.tile(bias, SUB_PIXELS)]
        layer.set_weights(weights)
    return served


def trained_tail(kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """Return kernel and bias of the last convolution as trained, from the served ones."""
    return [kernel_after_shuffle(kernel), bias[: len(bias) // SUB_PIXELS]]


def kernel_before_shuffle(kernel: np.ndarray) -> np.ndarray:
    """Return the kernel that computes before a shuffle what `kernel` computes after it.

    (3, 3, C, N) -> (3, 3, 4*C, 4*N).
    """
    _, _, channels, outputs = kernel.shape
    shape = (3, 3, SUB_PIXELS, channels, SUB_PIXELS, outputs)
    before = np.zeros(shape, kernel.dtype)
    for target, tap, row, column, source in tap_positions():
        before[row, column, source, :, target, :] = kernel[tap]
    return before.reshape(3, 3, SUB_PIXELS * channels, SUB_PIXELS * outputs)


def kernel_after_shuffle(kernel: np.ndarray) -> np.ndarray:
    """Return the argument of `kernel_before_shuffle`, given its result."""
    _, _, channels, outputs = (*kernel.shape[:2], *(n // SUB_PIXELS for n in kernel.shape[2:]))
    before = kernel.reshape(3, 3, SUB_PIXELS, channels, SUB_PIXELS, outputs)
    after = np.zeros((3, 3, channels, outputs), kernel.dtype)
    for target, tap, row, column, source in tap_positions():
        after[tap] = before[row, column, source, :, target, :]
    return after


def tap_positions():
    """Yield where each tap of each sub-pixel's kernel goes.

    Each item is (sub-pixel, tap, row, column, sub-pixel that the tap reads).
    """
    for i, j, a, b in np.ndindex(FACTOR, FACTOR, 3, 3):
        row, source_i = divmod(i + a - 1, FACTOR)
        column, source_j = divmod(j + b - 1, FACTOR)
        yield i * FACTOR + j, (a, b), row + 1, column + 1, source_i * FACTOR + source_j
