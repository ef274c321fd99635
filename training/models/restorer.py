"""The restorer: a U-Net that cleans a picture on its own grid before it is upscaled.

It maps LR to LR of the same size without blur, noise and traces of compression, so that the SR
network sees what it was trained for. It is a Keras 3 model and runs on any Keras backend.

Most residual blocks are on the coarsest grid, where a pixel stands for `stride` x `stride` LR
pixels and a block costs little. Height and width must be multiples of the stride;
`pad_to_stride` extends pictures of other sizes.

Source: Ronneberger et al. 2015, U-Net, arXiv:1505.04597, fig. 1; Zhang et al. 2021, DRUNet,
arXiv:2008.13751, sec. 3 (residual blocks, strided and transposed convolutions, sums as skips).
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from core.pixels import unit_from_uint8

FACTOR = 2  # between two grids, on each side
SMALL = 0.02  # variance of the last kernel of a block, relative to 1 / fan-in


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
        return (
            2
            + sum(2 * count * FACTOR**level for level, count in self._blocks_by_level())
            + self.stride
            - 1
        )

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
        """Yield (level, number of blocks), on the way down and then up."""
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
    correction = layers.Conv2D(3, 3, padding="same", dtype="float32", name="tail")(x)
    restored = layers.Add(dtype="float32", name="restored")([correction, lr])
    return keras.Model(lr, restored, name="restorer")


def add_blocks(x, channels, count, name):
    """Apply `count` residual blocks: 3x3 convolution - ReLU - 3x3 convolution, plus the input."""
    for index in range(count):
        block = f"{name}_block{index}"
        y = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"{block}_conv1")(x)
        small = keras.initializers.VarianceScaling(SMALL, mode="fan_in")
        y = layers.Conv2D(
            channels, 3, padding="same", kernel_initializer=small, name=f"{block}_conv2"
        )(y)
        x = layers.Add(name=f"{block}_add")([x, y])
    return x


def pad_to_stride(pixels: np.ndarray, stride: int) -> np.ndarray:
    """Extend (H, W, C) by its mirror image until its sides are multiples of `stride`."""
    bottom, right = (-side % stride for side in pixels.shape[:2])
    return np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="symmetric")


def restore(restorer: keras.Model, lr: np.ndarray, stride: int) -> np.ndarray:
    """Restore LR (H, W, 3) uint8 -> (H, W, 3) float32, unit, not clipped."""
    height, width = lr.shape[:2]
    padded = unit_from_uint8(pad_to_stride(lr, stride))
    return np.asarray(restorer.predict_on_batch(padded[None]))[0, :height, :width]
