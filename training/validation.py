"""What a run is judged by while it lasts: photographs that it is not trained on."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from core.images import resize_bicubic
from core.pixels import uint8_from_unit, unit_from_uint8
from core.tiles import Box
from training.degradation import Degradation, degrade_pairs
from training.figures import Metric
from training.metrics import psnr_y
from training.networks import SCALE
from training.perceptual import WEIGHTS, LearnedDistance
from training.photos import Pair, Photo, load_pairs
from training.run import Run

SIDE = 64  # LR px of the centre crop that a photograph gives
SHOWN = 4  # crops that a sample picture shows


def load_validation(photos: list[Photo], degradation: Degradation | None, seed: int) -> list[Pair]:
    """The centre crops of photographs that are not trained on, degraded as those that are."""
    crops = [centre_crop(pair) for pair in load_pairs(photos)]
    return degrade_pairs(crops, degradation, seed)


def choose_figures(perceptual: Path | None) -> dict[str, Metric]:
    """PSNR-Y; with the weights for it in the folder, LPIPS-sq too."""
    figures: dict[str, Metric] = {"validation_psnr_y_db": psnr_y}
    distance = find_distance(perceptual)
    if distance is not None:
        figures["validation_lpips_sq"] = distance
    return figures


def find_distance(perceptual: Path | None) -> LearnedDistance | None:
    """LPIPS-sq, if the weights for it are in the folder."""
    if perceptual is None or not (perceptual / WEIGHTS).exists():
        return None
    return LearnedDistance(perceptual)


def upscale_all(run: Run, pairs: list[Pair], devices: int = 1) -> list[np.ndarray]:
    """SR of every pair by the averaged weights, (4H, 4W, 3) uint8."""
    trained = run.generator.get_weights()
    run.generator.set_weights(run.ema)
    upscaled = [upscale(run.generator, pair.lr, devices) for pair in pairs]
    run.generator.set_weights(trained)
    return upscaled


def upscale(generator: keras.Model, lr: np.ndarray, devices: int = 1) -> np.ndarray:
    """LR (H, W, 3) uint8 -> SR (4H, 4W, 3) uint8, untiled.

    Devices that share batches get a copy each: a batch must be divisible among them.
    """
    batch = np.repeat(unit_from_uint8(lr)[None], devices, axis=0)
    return uint8_from_unit(np.asarray(generator.predict_on_batch(batch))[0])


def mean_figures(
    upscaled: list[np.ndarray], pairs: list[Pair], figures: Mapping[str, Metric]
) -> dict[str, float]:
    """The mean of every figure over the pairs."""
    return {
        name: float(np.mean([figure(sr, p.hr) for sr, p in zip(upscaled, pairs, strict=True)]))
        for name, figure in figures.items()
    }


def centre_crop(pair: Pair) -> Pair:
    """The middle of a pair, at most `SIDE` LR pixels a side."""
    height, width = pair.lr.shape[:2]
    side = min(SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    box = Box(top, left, top + side, left + side)
    return Pair(box.scaled(SCALE).crop(pair.hr), box.crop(pair.lr))


def draw_sample(upscaled: list[np.ndarray], pairs: list[Pair]) -> np.ndarray:
    """The first crops, one a row: bicubic interpolation, SR, HR; (H, W, 3) uint8."""
    rows = [
        np.concatenate([resize_bicubic(pair.lr, *sr.shape[:2]), sr, pair.hr], axis=1)
        for sr, pair in zip(upscaled[:SHOWN], pairs[:SHOWN], strict=True)
    ]
    width = max(row.shape[1] for row in rows)
    wide = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(wide)
