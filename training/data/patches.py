"""Training patches: aligned random crops of pairs, mirrored and rotated at random.

The seed and the step alone determine a batch, so there is no random state to save: a
resumed run gets exactly the batches that an uninterrupted run gets.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from core.model.tiles import Box
from core.pixels import unit_from_uint8
from training import CommandFailed
from training.data.degradation import Degradation, crop_lr
from training.data.photos import Pair
from training.models.networks import SCALE

PREPARED_AHEAD = 8  # number of batches drawn while the network computes


class PatchSampler:
    """Draws batches of (LR, HR) patches; every LR pixel is equally likely.

    Args:
        pairs: photographs; those smaller than a patch are ignored.
        patch: side of an LR patch, px.
        batch: patches in a batch.
        seed: together with the step, it determines a batch.
        degradation: how LR is made from HR; None for the LR of the pairs.

    Raises:
        CommandFailed: if all photographs are smaller than a patch.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        patch: int,
        batch: int,
        seed: int,
        degradation: Degradation | None = None,
    ) -> None:
        self.pairs = [pair for pair in pairs if min(pair.lr.shape[:2]) >= patch]
        if not self.pairs:
            raise CommandFailed(
                f"At least one photograph must be {SCALE * patch} px high and wide. "
                f"Received: {len(pairs)} photographs, all smaller."
            )
        sizes = np.array([pair.lr.shape[0] * pair.lr.shape[1] for pair in self.pairs])
        self.weights = sizes / sizes.sum()
        self.patch, self.batch, self.seed = patch, batch, seed
        self.degradation = degradation

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch of a step: LR (B, h, w, 3) and HR (B, 4h, 4w, 3), unit float32."""
        rng = np.random.default_rng((self.seed, step))
        chosen = rng.choice(len(self.pairs), self.batch, p=self.weights)
        patches = [self._draw_one(self.pairs[index], rng) for index in chosen]
        lr, hr = (np.stack(side) for side in zip(*patches, strict=True))
        return unit_from_uint8(lr), unit_from_uint8(hr)

    def batches(self, first_step: int):
        """Yield batches from `first_step` on, endlessly; a thread draws them ahead."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            ahead = [pool.submit(self.draw, first_step + k) for k in range(PREPARED_AHEAD)]
            step = first_step + PREPARED_AHEAD
            while True:
                ahead.append(pool.submit(self.draw, step))
                step += 1
                yield ahead.pop(0).result()

    def _draw_one(self, pair, rng):
        height, width = pair.lr.shape[:2]
        top = rng.integers(height - self.patch + 1)
        left = rng.integers(width - self.patch + 1)
        turns, mirrored = rng.integers(4), rng.integers(2)
        box = Box(top, left, top + self.patch, left + self.patch)
        lr, hr = crop_lr(pair, box, self.degradation, rng), box.scaled(SCALE).crop(pair.hr)
        return orient(lr, turns, mirrored), orient(hr, turns, mirrored)


def orient(pixels: np.ndarray, turns: int, mirrored: int) -> np.ndarray:
    """Rotate pictures (..., H, W, C) by quarter turns, then mirror them if asked for."""
    turned = np.rot90(pixels, turns, axes=(-3, -2))
    return turned[..., ::-1, :] if mirrored else turned


def orient_back(pixels: np.ndarray, turns: int, mirrored: int) -> np.ndarray:
    """Undo `orient`."""
    turned = pixels[..., ::-1, :] if mirrored else pixels
    return np.rot90(turned, -turns, axes=(-3, -2))
