"""A teacher: what a run began with, shown every patch in another orientation.

The mean of what a network makes of the eight orientations of a picture is closer to HR than
each of them (0.13 dB here), but eight times the work. A network that learns to make of every
orientation what another one makes of any other comes near that mean at no cost. And HR holds
what cannot be told from LR, which is noise to whoever learns; the teacher's word is free of
it, so much is learned in few steps.
"""

import keras
import numpy as np

from training.patches import orient, orient_back


class Teacher:
    """Mixes what a network makes of patches into what is learned from them.

    Args:
        generator: the network, which is not trained.
        share: of its word in the mix, in (0, 1]; HR has the rest.
        seed: with the step, it decides on the orientation.

    Source: Hinton et al. 2015, arXiv:1503.02531 (teachers); Timofte et al. 2016,
    arXiv:1511.02228, sec. 3.5 (the mean over orientations).
    """

    def __init__(self, generator: keras.Model, share: float, seed: int) -> None:
        self.generator = generator
        self._share, self._seed = share, seed

    def mix(self, lr: np.ndarray, hr: np.ndarray, step: int) -> np.ndarray:
        """What is to be learned from LR (B, h, w, 3) and HR (B, 4h, 4w, 3), like HR."""
        turns, mirrored = np.random.default_rng((self._seed, step)).integers((4, 2))
        turned = orient(lr, turns, mirrored)
        sr = np.asarray(self.generator.predict_on_batch(turned))
        return (1 - self._share) * hr + self._share * orient_back(sr, turns, mirrored)
