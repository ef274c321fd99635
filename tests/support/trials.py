"""Trials of tiny pictures, and raters whose opinions are known."""

from itertools import combinations

import numpy as np
from PIL import Image
from scipy import stats

from training.opinion.prepare import Preparation
from training.opinion.trial import ANCHORS, FIRST, SAME, SECOND, Design

OUTPUTS = ("a", "b", "c", "d")
CHOSEN = {"consent": True, "screen": "monitor", "distance": "30 to 60 cm", "light": "lamps"}
EDGES = np.array([1.5, 2.5, 3.5, 4.5])  # opinions between which scores change


def write_pictures(folder, pictures=5, outputs=OUTPUTS, height=16, width=24):
    """Write the test set `Tiny`, and a folder `outputs/<label>/Tiny` for every output."""
    rng = np.random.default_rng(7)
    for index in range(pictures):
        lr = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        versions = {"sets/Tiny/LRx4": lr, "sets/Tiny/HR": rng.permutation(upscale(lr))}
        versions |= {f"outputs/{label}/Tiny": rng.permutation(upscale(lr)) for label in outputs}
        for path, pixels in versions.items():
            (folder / path).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / path / f"picture{index}.png")


def upscale(lr):
    return lr.repeat(4, axis=0).repeat(4, axis=1)


def preparation(folder, labels=OUTPUTS, **options):
    """Return how to prepare the pictures of a folder as its `trial`."""
    defaults = {
        "trial": folder / "trial",
        "test_sets": folder / "sets",
        "sets": ["Tiny"],
        "outputs": {label: folder / "outputs" / label for label in labels},
        "design": Design.ABSOLUTE,
        "raters": 3,
        "pictures": None,
        "examples": 1,
        "anchors": 2,
        "repeats": 2,
        "screen": (100, 100),
        "seed": 1,
    }
    return Preparation(**(defaults | options))


class SimulatedRaters:
    """Raters with biases and tastes, and pictures that suit some outputs better than others.

    An opinion is a real number, the sum of the output's quality and of normal errors of the
    rater, the picture, and both together with the output. A score is the nearest from 1 to 5.

    Args:
        qualities: mean opinion by label; anchors are added.
        raters: their number.
        pictures: names of the pictures.
        seed: of all errors.
    """

    RATER, PICTURE, TASTE, SUITED, NOISE = 0.5, 0.35, 0.3, 0.35, 0.6  # standard deviations
    TIE = 0.3  # two opinions that differ less are the same

    def __init__(self, qualities, raters, pictures, seed):
        self.qualities = dict(qualities) | dict(zip(ANCHORS, (1.0, 5.2), strict=True))
        self.pictures = {name: index for index, name in enumerate(pictures)}
        self.columns = {label: index for index, label in enumerate(self.qualities)}
        shape = raters, len(self.pictures), len(self.qualities)
        rng = np.random.default_rng(seed)
        self.steady = (
            np.array(list(self.qualities.values()))
            + rng.normal(0, self.RATER, (raters, 1, 1))
            + rng.normal(0, self.PICTURE, (1, shape[1], 1))
            + rng.normal(0, self.TASTE, (raters, 1, shape[2]))
            + rng.normal(0, self.SUITED, (1, *shape[1:]))
        )
        self.rng = rng

    def scores(self, labels):
        """Return a score for each rater, picture and label."""
        opinions = self.steady + self.rng.normal(0, self.NOISE, self.steady.shape)
        return np.clip(np.rint(opinions[..., [self.columns[name] for name in labels]]), 1, 5)

    def wins(self, labels):
        """Return wins of each rater, picture, label and other label."""
        wins = np.zeros((*self.steady.shape[:2], len(labels), len(labels)))
        for first, second in combinations(range(len(labels)), 2):
            columns = [self.columns[labels[index]] for index in (first, second)]
            opinions = self.steady[..., columns]
            noisy = opinions + self.rng.normal(0, self.NOISE, opinions.shape)
            difference = noisy[..., 0] - noisy[..., 1]
            won = np.select([difference > self.TIE, difference < -self.TIE], [1.0, 0.0], 0.5)
            wins[..., first, second], wins[..., second, first] = won, 1 - won
        return wins

    def answer(self, rater, versions):
        """Return a rater's answer to a question about versions of a picture."""
        places = [(self.pictures[v.picture], self.columns[v.label]) for v in versions]
        opinions = [self.steady[rater, *place] + self.rng.normal(0, self.NOISE) for place in places]
        if len(opinions) == 1:
            return int(np.clip(round(opinions[0]), 1, 5))
        difference = opinions[0] - opinions[1]
        return SAME if abs(difference) < self.TIE else FIRST if difference > 0 else SECOND

    @classmethod
    def true_mos(cls, quality):
        """Return the mean score of all raters and pictures that there could be."""
        deviations = (cls.RATER, cls.PICTURE, cls.TASTE, cls.SUITED, cls.NOISE)
        return 1 + float(stats.norm.sf(EDGES, quality, np.linalg.norm(deviations)).sum())
