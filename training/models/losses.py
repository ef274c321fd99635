"""The losses that compare SR with HR.

How much of the grid of LR shows in SR, a loss of the second stage.

How much texture SR has where HR has how much, a loss of the second stage.
"""

import keras
from keras import layers, ops

from training.evaluation.metrics import LUMA
from training.models.adversaries import high_frequencies
from training.models.networks import edge


@keras.saving.register_keras_serializable("enhancer")
class PixelLoss(keras.losses.Loss):
    """Mean Charbonnier distance: absolute for large differences, squared for small ones.

    Every channel of every pixel counts sqrt(d^2 + epsilon^2) - epsilon. With an epsilon
    of 0 that is the mean absolute difference (L1); an epsilon well above the differences
    that occur makes it as good as the mean squared difference, which PSNR measures.

    Figures of test sets are means over pictures of a logarithm. With a `log_floor` the loss
    is one, too: of every patch the logarithm of its mean distance, so that an eighth less
    counts the same in a smooth patch as in a busy one, instead of hardly at all.

    Args:
        epsilon: in the unit of the pixels, at least 0.
        chroma_weight: of colour, where luma counts once; None for all channels alike.
        log_floor: distance below which a patch counts less and less, above 0; None for
            the mean over all pixels of the batch.

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
        distance = self._of_pixels(y_pred - y_true)
        if self.log_floor is None:
            return distance
        return ops.log(ops.mean(distance, axis=(1, 2)) + self.log_floor)

    def _of_pixels(self, difference):
        """(B, H, W, C) -> (B, H, W)."""
        if self.chroma_weight is None:
            return self._distance(difference)
        luma = ops.matmul(difference, ops.convert_to_tensor(LUMA[:, None], difference.dtype))
        chroma = self._distance(difference - luma)
        return self._distance(luma) + self.chroma_weight * chroma

    def _distance(self, difference):
        """Mean over the channels, (..., C) -> (...)."""
        if self.epsilon == 0.0:  # the root has no derivative where the pictures agree
            return ops.mean(ops.abs(difference), axis=-1)
        distance = ops.sqrt(ops.square(difference) + self.epsilon**2) - self.epsilon
        return ops.mean(distance, axis=-1)

    def get_config(self):
        own = {
            "epsilon": self.epsilon,
            "chroma_weight": self.chroma_weight,
            "log_floor": self.log_floor,
        }
        return super().get_config() | own


LEAST_STEP = 1e-3  # of neighbouring pixels, unit: less is no texture that could show a lattice


@keras.saving.register_keras_serializable("enhancer")
class LatticeDistance(layers.Layer):
    """SR and HR (B, H, W, C), unit -> how much of the grid of LR shows in SR (B, 1), float32.

    In photographs, neighbouring pixels differ by as much on average wherever in the blocks of
    `side` x `side` pixels they lie, that is, in those that one pixel of LR became. The distance
    is the mean squared difference of SR and HR in what a place differs by, of the mean of all
    places, along rows and columns: of the whole batch, every picture gets the same.
    """

    def __init__(self, side: int, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.side = side

    def call(self, sr, hr):
        distances = [
            ops.mean(ops.square(self._places(steps(sr, axis)) - self._places(steps(hr, axis))))
            for axis in (1, 2)
        ]
        return ops.zeros_like(sr[:, 0, 0, :1]) + sum(distances) / len(distances)

    def _places(self, differences):
        """Mean step at each place of the blocks, of the mean of all, (side^2,)."""
        places = [(row, column) for row in range(self.side) for column in range(self.side)]
        means = [ops.mean(differences[:, r :: self.side, c :: self.side]) for r, c in places]
        return ops.stack(means) / (sum(means) / len(means) + LEAST_STEP)

    def get_config(self):
        return super().get_config() | {"side": self.side}


def steps(pictures, axis):
    """How much pixels (B, H, W, C) differ from those before them along an axis, 1 or 2."""
    return ops.abs(edge(pictures, axis, 1, None) - edge(pictures, axis, None, -1))


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
