"""The losses that compare SR with HR."""

import keras
from keras import ops


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

    def __init__(self, epsilon: float = 0.0, name: str = "pixel", **kwargs) -> None:
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true, y_pred):
        difference = y_pred - y_true
        if self.epsilon == 0.0:  # the root has no derivative where the pictures agree
            return ops.mean(ops.abs(difference), axis=-1)
        distance = ops.sqrt(ops.square(difference) + self.epsilon**2) - self.epsilon
        return ops.mean(distance, axis=-1)

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon}
