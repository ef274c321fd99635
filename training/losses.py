"""The losses that compare SR with HR."""

import keras
from keras import ops

from training.metrics import LUMA


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
