"""How much of the grid of LR shows in SR, a loss of the second stage."""

import keras
from keras import layers, ops

from training.networks import edge

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
