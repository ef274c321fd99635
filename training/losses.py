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

    Args:
        epsilon: in the unit of the pixels, at least 0.

    Source: Lai et al. 2017, LapSRN, arXiv:1704.03915, eq. 2.
    """

    def __init__(
        self,
        epsilon: float = 0.0,
        chroma_weight: float | None = None,
        name: str = "pixel",
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon
        self.chroma_weight = chroma_weight

    def call(self, y_true, y_pred):
        difference = y_pred - y_true
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
        own = {"epsilon": self.epsilon, "chroma_weight": self.chroma_weight}
        return super().get_config() | own
