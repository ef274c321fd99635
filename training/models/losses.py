"""The losses that compare SR with HR without a network, and the lengths of gradients.

The losses compare pixels, the lattice of LR, and texture. `UnitGradient` gives the gradient of
a loss a length, so that a loss of any size counts as much as asked for.
"""

import keras
from keras import layers, ops

from training.evaluation.metrics import LUMA
from training.models.adversaries import high_frequencies
from training.models.networks import slice_axis

MIN_STEP = 1e-3  # difference of neighbouring pixels, unit; with less, no lattice could show
REPEATS = 8  # LR px a side of the areas in which the lattice of LR is looked for
CELL = 8  # px a side of the cells in which texture is compared as a whole
MIN_STRENGTH = 4 / 255  # unit; texture well below this counts as none
GRADIENT_LENGTH = 1000.0  # of a share of 1: keeps Adam's epsilon small beside the gradients
MIN_LENGTH = 1e-12  # of a gradient; prevents division by zero
MIN_POWER = 1e-6  # squared unit; the square root has no derivative at zero


@keras.saving.register_keras_serializable("enhancer")
class PixelLoss(keras.losses.Loss):
    """Mean Charbonnier distance: absolute for large differences, squared for small ones.

    Every channel of every pixel counts sqrt(d^2 + epsilon^2) - epsilon. With epsilon 0 that
    is the mean absolute difference (L1). With epsilon well above the differences that occur,
    it is proportional to the mean squared difference, which PSNR measures.

    The PSNR of a test set is a mean of logarithms, one per picture. With `log_floor` the loss
    is one, too: the logarithm of each patch's mean distance. A distance that shrinks by an
    eighth then counts the same in a smooth patch as in a busy one.

    Args:
        epsilon: in the unit of the pixels, at least 0.
        chroma_weight: weight of chroma where luma has 1; None for RGB without weights.
        log_floor: distance below which a patch counts less and less, above 0; None for the
            mean over all pixels of the batch.
        name: name of the loss.
        **kwargs: other arguments of `keras.losses.Loss`.

    Source: Lai et al. 2017, LapSRN, arXiv:1704.03915, eq. 2; Chen et al. 2021, HINet,
    arXiv:2105.06086 (PSNR as a loss).
    """

    def __init__(
        self,
        epsilon: float = 0.0,
        chroma_weight: float | None = None,
        log_floor: float | None = None,
        name: str = "pixel",
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon
        self.chroma_weight = chroma_weight
        self.log_floor = log_floor

    def call(self, y_true, y_pred):
        """Return the distance of every pixel (B, H, W), or of every patch (B,) if logarithmic."""
        distance = self._pixel_distance(y_pred - y_true)
        if self.log_floor is None:
            return distance
        return ops.log(ops.mean(distance, axis=(1, 2)) + self.log_floor)

    def _pixel_distance(self, difference):
        """(B, H, W, C) -> (B, H, W)."""
        if self.chroma_weight is None:
            return self._charbonnier(difference)
        luma = ops.matmul(difference, ops.convert_to_tensor(LUMA[:, None], difference.dtype))
        chroma = self._charbonnier(difference - luma)
        return self._charbonnier(luma) + self.chroma_weight * chroma

    def _charbonnier(self, difference):
        """Mean over the channels, (..., C) -> (...)."""
        if self.epsilon == 0.0:  # the square root has no derivative where the pictures agree
            return ops.mean(ops.abs(difference), axis=-1)
        distance = ops.sqrt(ops.square(difference) + self.epsilon**2) - self.epsilon
        return ops.mean(distance, axis=-1)

    def get_config(self):
        """Return the constructor's arguments."""
        own = {
            "epsilon": self.epsilon,
            "chroma_weight": self.chroma_weight,
            "log_floor": self.log_floor,
        }
        return super().get_config() | own


@keras.saving.register_keras_serializable("enhancer")
class PixelDistance(layers.Layer):
    """`PixelLoss` of two batches (B, H, W, 3), unit: its mean for each picture, (B, 1), float32.

    Args:
        epsilon: as in `PixelLoss`.
        **kwargs: other arguments of `keras.layers.Layer`.
    """

    def __init__(self, epsilon: float, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.epsilon = epsilon

    def call(self, pictures, targets):
        """Compare pictures with targets."""
        return ops.mean(PixelLoss(self.epsilon).call(targets, pictures), axis=(1, 2))[:, None]

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"epsilon": self.epsilon}


@keras.saving.register_keras_serializable("enhancer")
class UnitGradient(layers.Layer):
    """The identity, whose gradient is scaled to a length: `share` times `GRADIENT_LENGTH`.

    If every loss sees a picture through a layer of its own, the shares say how much each loss
    counts, whatever its size and unit. A gradient that is not finite becomes zero.

    Args:
        share: length of the gradient over the whole batch, relative to those of other losses.
        **kwargs: other arguments of `keras.layers.Layer`.

    Source: Chen et al. 2018, GradNorm, arXiv:1711.02257, sec. 3 (balance by gradients).
    """

    def __init__(self, share: float, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.share = share

    def call(self, pictures):
        """Return the pictures as they are."""

        @ops.custom_gradient
        def identity(x):
            def backward(*arguments, upstream=None):
                return self._scale(arguments[0] if upstream is None else upstream)

            return ops.copy(x), backward

        return identity(pictures)

    def _scale(self, gradient):
        length = ops.sqrt(ops.sum(ops.square(gradient)))
        scaled = gradient * (self.share * GRADIENT_LENGTH / (length + MIN_LENGTH))
        return ops.where(ops.isfinite(length), scaled, ops.zeros_like(gradient))

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"share": self.share}


def repeated_block(pictures, side):
    """Return the mean block of an area: what repeats there from one LR pixel to the next.

    Args:
        pictures: SR or HR, (B, H, W, C), unit; H and W are multiples of `side`.
        side: px a side of a block, which corresponds to an LR pixel.

    Returns:
        (B, h, w, side^2 * C) for overlapping areas of `REPEATS` x `REPEATS` LR pixels.
    """
    blocks = ops.nn.space_to_depth(pictures, side)
    return ops.average_pool(blocks, REPEATS, strides=REPEATS // 2)


@keras.saving.register_keras_serializable("enhancer")
class LatticeDistance(layers.Layer):
    """How much the grid of LR pixels shows in SR: (B, 1), float32.

    SR and HR are (B, H, W, C), unit. One LR pixel corresponds to a block of `side` x `side`
    SR pixels. In photographs, neighbouring pixels differ by the same amount on average at
    every position in these blocks. The distance compares, between SR and HR, the mean
    difference at each position relative to the mean over all positions. It is the mean
    square over positions, rows and columns, computed for the whole batch: every picture
    gets the same value.

    Args:
        side: px a side of a block, the scale.
        **kwargs: other arguments of `keras.layers.Layer`.
    """

    def __init__(self, side: int, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.side = side

    def call(self, sr, hr):
        """Compare SR with HR."""
        distances = [
            ops.mean(ops.square(self._profile(sr, axis) - self._profile(hr, axis)))
            for axis in (1, 2)
        ]
        return ops.zeros_like(sr[:, 0, 0, :1]) + sum(distances) / len(distances)

    def _profile(self, pictures, axis):
        """Mean difference at each position in the blocks, relative to their mean, (side^2,)."""
        steps = neighbour_differences(pictures, axis)
        positions = [(row, column) for row in range(self.side) for column in range(self.side)]
        means = [ops.mean(steps[:, r :: self.side, c :: self.side]) for r, c in positions]
        return ops.stack(means) / (sum(means) / len(means) + MIN_STEP)

    def get_config(self):
        """Return the constructor's arguments."""
        return super().get_config() | {"side": self.side}


def neighbour_differences(pictures, axis):
    """Return absolute differences of neighbouring pixels (B, H, W, C) along an axis, 1 or 2."""
    return ops.abs(slice_axis(pictures, axis, 1, None) - slice_axis(pictures, axis, None, -1))


@keras.saving.register_keras_serializable("enhancer")
class TextureDistance(layers.Layer):
    """Difference between SR and HR in strength of texture: (B, 1), float32.

    SR and HR are (B, H, W, 3), unit. Texture is luma less its local mean; its strength is the
    root mean square in cells of `CELL` pixels a side. The distance is the mean absolute
    difference of the logarithms of strengths. Faint texture that is missing counts as much
    as strong texture, and grain where HR is smooth, for example around letters, as much as
    an edge that is blurred. The position of texture within a cell does not count.
    """

    def __init__(self, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, sr, hr):
        """Compare SR with HR."""
        return ops.mean(ops.abs(log_strength(sr) - log_strength(hr)), axis=(1, 2))


def log_strength(pictures):
    """Return the logarithm of the strength of texture in every whole cell, (B, h, w, 1)."""
    luma = ops.matmul(pictures, ops.convert_to_tensor(LUMA[:, None], "float32"))
    power = ops.average_pool(ops.square(high_frequencies(luma)), CELL, strides=CELL)
    return ops.log(ops.sqrt(power + MIN_POWER) + MIN_STRENGTH)
