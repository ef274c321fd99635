"""How much texture SR has where HR has how much, a loss of the second stage."""

import keras
from keras import layers, ops

from training.adversaries import high_frequencies
from training.metrics import LUMA

CELL = 8  # px a side, in which texture is compared as a whole
FAINT = 4 / 255  # unit: texture well below that is as good as none
ROUNDING = 1e-6  # squared unit: the root of nought has no derivative


@keras.saving.register_keras_serializable("enhancer")
class TextureDistance(layers.Layer):
    """SR and HR (B, H, W, 3), unit -> how unlike their strength of texture is (B, 1), float32.

    Texture is what a local mean leaves of luma; its strength is the root of its mean square in
    cells of `CELL` pixels a side. The distance is the mean absolute difference of the logarithms
    of strengths: what is missing of faint texture counts as much as of strong, and grain where
    HR is even, around letters for example, counts as much as an edge that is not sharp. Where in
    a cell the texture lies is not compared.
    """

    def __init__(self, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, sr, hr):
        return ops.mean(ops.abs(strength(sr) - strength(hr)), axis=(1, 2))


def strength(pictures):
    """Logarithm of the strength of texture in the whole cells of pictures, (B, h, w, 1)."""
    luma = ops.matmul(pictures, ops.convert_to_tensor(LUMA[:, None], "float32"))
    power = ops.average_pool(ops.square(high_frequencies(luma)), CELL, strides=CELL)
    return ops.log(ops.sqrt(power + ROUNDING) + FAINT)
