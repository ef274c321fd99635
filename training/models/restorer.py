"""The restorer, a U-Net that cleans a picture before it is upscaled, and its discriminator.

The restorer maps LR to LR of the same size without blur, noise and traces of compression, so
that the SR network sees what it was trained for. It is a Keras 3 model and runs on any Keras
backend.

Most residual blocks are on the coarsest grid, where a pixel stands for `stride` x `stride` LR
pixels and a block costs little. Height and width must be multiples of the stride;
`pad_to_stride` extends pictures of other sizes.

The discriminator, `build_judge`, tells real pictures from restored ones, or from restored ones
that were enlarged.

Source: Ronneberger et al. 2015, U-Net, arXiv:1505.04597, fig. 1; Zhang et al. 2021, DRUNet,
arXiv:2008.13751, sec. 3 (residual blocks, strided and transposed convolutions, sums as skips).
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from core.pixels import unit_from_uint8
from training.models.adversaries import SLOPE, direction, stride_of

FACTOR = 2  # between two grids, on each side
SMALL = 0.02  # variance of the last kernel of a block, relative to 1 / fan-in
JUDGED_LAYERS = {1: "conv1_2", 4: "conv2_2"}  # of VGG-19, by SR pixels a side of an LR pixel
BAND_SIDES = (3, 9)  # px a side of the local means that part the bands of frequency
SPECTRAL_GAIN = 1.4  # of a normalised convolution; with a leaky ReLU it keeps activations' size
EPSILON = 1e-6  # prevents division by zero for a kernel of zeros


@dataclass(frozen=True)
class RestorerArchitecture:
    """Table `[restorer]`: sizes from which a restorer can be built, from fine to coarse grids."""

    filters: tuple[int, ...]  # channels on each grid
    blocks: tuple[int, ...]  # residual blocks on each grid, on the way down and on the way up

    def __post_init__(self) -> None:
        if not self.filters or len(self.filters) != len(self.blocks):
            raise ValueError(
                "`filters` and `blocks` must have one number for each grid. "
                f"Received: {list(self.filters)} and {list(self.blocks)}"
            )

    @property
    def stride(self) -> int:
        """LR pixels a side of a pixel of the coarsest grid."""
        return FACTOR ** (len(self.filters) - 1)

    @property
    def radius(self) -> int:
        """LR pixels on each side that a restored pixel depends on.

        Every 3x3 convolution adds one pixel of its own grid. There are one at the beginning
        and one at the end, and two per block. The strided convolutions add up to all but
        one of the pixels of the coarsest grid.
        """
        blocks = sum(2 * count * FACTOR**level for level, count in self._blocks_by_level())
        return 1 + blocks + 1 + self.stride - 1

    @property
    def mflop_per_lr_pixel(self) -> float:
        """Arithmetic of all convolutions, in 1e6 operations (2 per multiply-add)."""
        ends = 2 * 9 * 3 * self.filters[0]
        blocks = sum(
            2 * count * 9 * self.filters[level] ** 2 / FACTOR ** (2 * level)
            for level, count in self._blocks_by_level()
        )
        pairs = zip(self.filters, self.filters[1:], strict=False)
        # A strided convolution has FACTOR^2 taps for each pixel of the coarse grid, a
        # transposed one has a single tap for each pixel of the fine grid: the same number.
        between = sum(
            2 * fine * coarse / FACTOR ** (2 * level) for level, (fine, coarse) in enumerate(pairs)
        )
        return 2 * (ends + blocks + between) / 1e6

    def _blocks_by_level(self):
        """Return pairs of level and number of blocks, on the way down and then up."""
        down = list(enumerate(self.blocks))
        return [*down, *down[:-1]]


def build_restorer(architecture: RestorerArchitecture) -> keras.Model:
    """Return a network from LR (B, H, W, 3) to restored LR of the same shape.

    Both are float32 sRGB in the unit range [0, 1]; the output is not clipped. Height and width
    must be multiples of the stride. The network computes a correction, which it adds to its
    input; the sum stays in float32 under mixed precision.
    """
    filters, blocks = architecture.filters, architecture.blocks
    lr = keras.Input((None, None, 3), name="lr")
    x = layers.Conv2D(filters[0], 3, padding="same", name="head")(lr)
    skips = []
    for level, (channels, count) in enumerate(zip(filters, blocks, strict=True)):
        if level:
            skips.append(x)
            x = layers.Conv2D(channels, FACTOR, strides=FACTOR, name=f"down{level}")(x)
        x = add_blocks(x, channels, count, name=f"encoder{level}")
    for level in reversed(range(len(skips))):
        up = layers.Conv2DTranspose(filters[level], FACTOR, strides=FACTOR, name=f"up{level}")
        x = layers.Add(name=f"skip{level}")([up(x), skips[level]])
        x = add_blocks(x, filters[level], blocks[level], name=f"decoder{level}")
    tail = layers.Conv2D(
        3, 3, padding="same", kernel_initializer=small_init(), dtype="float32", name="tail"
    )
    restored = layers.Add(dtype="float32", name="restored")([tail(x), lr])
    return keras.Model(lr, restored, name="restorer")


def add_blocks(x, channels, count, name):
    """Apply `count` residual blocks: 3x3 convolution - ReLU - 3x3 convolution, plus the input."""
    for index in range(count):
        block = f"{name}_block{index}"
        y = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"{block}_conv1")(x)
        y = layers.Conv2D(
            channels, 3, padding="same", kernel_initializer=small_init(), name=f"{block}_conv2"
        )(y)
        x = layers.Add(name=f"{block}_add")([x, y])
    return x


def small_init():
    """Return the initialisation of what is added to something: it starts close to zero."""
    return keras.initializers.VarianceScaling(SMALL, mode="fan_in")


def pad_to_stride(pixels: np.ndarray, stride: int) -> np.ndarray:
    """Extend (H, W, C) by its mirror image until its sides are multiples of `stride`."""
    bottom, right = (-side % stride for side in pixels.shape[:2])
    return np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="symmetric")


def restore(restorer: keras.Model, lr: np.ndarray, stride: int, devices: int = 1) -> np.ndarray:
    """Restore LR (H, W, 3) uint8 -> (H, W, 3) float32, unit, not clipped.

    If devices share batches, each gets a copy: a batch must be divisible among them.
    """
    height, width = lr.shape[:2]
    padded = unit_from_uint8(pad_to_stride(lr, stride))
    batch = np.repeat(padded[None], devices, axis=0)
    return np.asarray(restorer.predict_on_batch(batch))[0, :height, :width]


def build_judge(features: keras.Model, filters: int, scale: int) -> keras.Model:
    """Return a discriminator from pictures (B, H, W, 3), unit float32, to two maps of logits.

    Logits are high for real pictures. The maps have the size of the LR grid and half of it. The
    network sees the pixels in three bands of frequency, and features of VGG-19. Only its layer
    `head` is to be trained.

    Args:
        features: layer `JUDGED_LAYERS[scale]` of VGG-19; it is not trained.
        filters: channels of the first layers; the last ones have twice as many.
        scale: pixels a side of a picture for one LR pixel; height and width are multiples of it.

    Source: Wang et al. 2018, pix2pixHD, arXiv:1711.11585, sec. 3.2 (several scales); Sauer et
    al. 2021, arXiv:2111.01007 (features of a fixed network).
    """
    picture = keras.Input((None, None, 3), name="picture")
    bands = FrequencyBands(scale, name="bands")(picture)
    pool = scale // stride_of(JUDGED_LAYERS[scale])
    maps = Directions(name="directions")(features(ops.average_pool(picture, pool, strides=pool)))
    head = build_judge_head(bands.shape[-1], maps.shape[-1], filters)
    return keras.Model(picture, head([bands, maps]), name="judge")


def build_judge_head(band_channels: int, feature_channels: int, filters: int) -> keras.Model:
    """Return the trained part of `build_judge`: (bands, features) -> two maps of logits."""
    bands, maps = (keras.Input((None, None, n)) for n in (band_channels, feature_channels))
    x, logits = layers.Concatenate()([bands, maps]), []
    for index, (channels, strides) in enumerate(((filters, 1), (2 * filters, 2))):
        for depth in range(3):
            kernel, step = (4, strides) if strides > 1 and depth == 0 else (3, 1)
            name = f"scale{index}_{depth}"
            x = layers.LeakyReLU(SLOPE)(SpectralConv2D(channels, kernel, step, name=name)(x))
        last = layers.Conv2D(1, 3, padding="same", dtype="float32", name=f"logits{index}")
        logits.append(last(x))
    return keras.Model([bands, maps], logits, name="head")


@keras.saving.register_keras_serializable("enhancer")
class SpectralConv2D(layers.Layer):
    """Convolution whose kernel is divided by its largest singular value.

    The singular value is computed in float32 under any dtype policy: in bfloat16 the power
    iteration of `keras.layers.SpectralNormalization` drifts, and training with it diverges.

    Source: Miyato et al. 2018, arXiv:1802.05957, algorithm 1.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.strides = filters, kernel_size, strides

    def build(self, shape):
        """Create kernel, bias and the estimate of the first left singular vector."""
        kernel = (self.kernel_size, self.kernel_size, shape[-1], self.filters)
        self.kernel = self.add_weight(kernel, "he_normal", name="kernel", autocast=False)
        self.bias = self.add_weight((self.filters,), "zeros", name="bias")
        self.vector = self.add_weight(
            (1, self.filters), "random_normal", trainable=False, name="vector", autocast=False
        )

    def call(self, x, training=False):
        """Convolve; if the layer is being trained, improve the estimate by a power iteration."""
        matrix = ops.reshape(self.kernel, (-1, self.filters))
        fixed = ops.stop_gradient(matrix)
        right = ops.normalize(ops.matmul(self.vector, ops.transpose(fixed)))
        left = ops.normalize(ops.matmul(right, fixed))
        if training and self.trainable:
            self.vector.assign(left)
        largest = ops.sum(ops.matmul(right, matrix) * left)
        kernel = ops.cast(self.kernel * (SPECTRAL_GAIN / (largest + EPSILON)), x.dtype)
        return ops.conv(x, kernel, self.strides, padding="same") + self.bias

    def get_config(self):
        """Return the constructor's arguments."""
        own = {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }
        return super().get_config() | own


@keras.saving.register_keras_serializable("enhancer")
class FrequencyBands(layers.Layer):
    """Three bands of frequency of pictures (B, s*h, s*w, 3), unit: (B, h, w, 9*s*s), float32."""

    def __init__(self, scale: int, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.scale = scale

    def call(self, pictures):
        """Return high, middle and low frequencies, amplified to similar sizes."""
        means = [ops.average_pool(pictures, n, strides=1, padding="same") for n in BAND_SIDES]
        high, middle = pictures - means[0], means[0] - means[1]
        bands = ops.concatenate([8 * high, 4 * middle, pictures - 0.5], axis=-1)
        return ops.nn.space_to_depth(bands, self.scale) if self.scale > 1 else bands

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"scale": self.scale}


@keras.saving.register_keras_serializable("enhancer")
class Directions(layers.Layer):
    """Features (B, h, w, C) divided by their length, times the root of C; float32."""

    def __init__(self, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, features):
        """Return the directions of the features, of mean square 1."""
        return direction(features) * features.shape[-1] ** 0.5
