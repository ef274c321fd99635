"""Validation: a run's averaged weights, measured on photographs that it is not trained on.

The figures go to `log.csv` and to TensorBoard.

A generator upscales LR, degraded as the recipe says. A restorer is measured through every SR
network that it is trained for, on LR degraded by each process of the recipe and on clean LR.
Each photograph is degraded always in the same way.
"""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import keras
import numpy as np
from tensorboardX import SummaryWriter

from core.images import resize_bicubic
from core.model.tiles import Box
from core.pixels import uint8_from_unit, unit_from_uint8
from training import CommandFailed
from training.data.degradation import AnyDegradation, DegradationMix, degrade_pairs
from training.data.photos import Pair, Photo, load_pairs
from training.evaluation.metrics import WEIGHTS, LearnedDistance, Metric, psnr_y
from training.loop.recipe import Recipe, read_recipe
from training.loop.run import CHECKPOINT, RECIPE, Run, load_checkpoint, write_json
from training.models.networks import SCALE, build_generator
from training.models.restorer import restore

CROP_SIDE = 64  # LR px, side of the centre crop of a validation photograph
SAMPLE_ROWS = 4  # crops in a sample picture
LOG = "log.csv"
EVENTS = "tensorboard"
NETWORKS = "networks.json"
CLEAN = "clean"  # name of LR that is not degraded, beside the names of processes


@dataclass(frozen=True)
class SrNetwork:
    """A trained SR network, in front of which a restorer works.

    Attributes:
        name: name of the folder of its run.
        model: the network; its averaged weights.
        sha256: hash of its weights.
    """

    name: str
    model: keras.Model
    sha256: str


def load_sr_networks(folders: Sequence[Path], recipe: Recipe) -> list[SrNetwork]:
    """Load the averaged weights of runs, for example of published graphs that were thawed.

    Raises:
        CommandFailed: if there is none, if two have one name, or if one has another architecture
            than the recipe's.
    """
    if not folders:
        raise CommandFailed(
            "A recipe with [restorer] needs SR networks (--through). Received: none."
        )
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise CommandFailed(
            "The runs of --through must have folders of different names, which name the figures. "
            f"Received: {', '.join(names)}"
        )
    networks = []
    for name, folder in zip(names, folders, strict=True):
        architecture = read_recipe(folder / RECIPE).generator
        if architecture != recipe.generator:
            raise CommandFailed(
                f"{folder} must hold a run with the [generator] of the recipe, "
                f"{recipe.generator}. Received: {architecture}"
            )
        model = build_generator(architecture)
        weights = load_checkpoint(folder / CHECKPOINT, ["ema"])[1]["ema"]
        model.set_weights(weights)
        networks.append(SrNetwork(name, model, hash_of(weights)))
    return networks


def hash_of(weights: Sequence[np.ndarray]) -> str:
    """Return the SHA-256 of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()


def check_networks(folder: Path, networks: Sequence[SrNetwork]) -> None:
    """Write the names and hashes of SR networks to the folder of a run, or compare them.

    Raises:
        CommandFailed: if the folder holds a run that was trained for other networks.
    """
    path, now = folder / NETWORKS, {network.name: network.sha256 for network in networks}
    before = json.loads(path.read_text()) if path.exists() else now
    if list(before.values()) != list(now.values()):
        raise CommandFailed(
            f"{folder} must be resumed with the SR networks that it began with, "
            f"{', '.join(before)}. Received: {', '.join(now)}, with other weights."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, before)


def read_networks(folder: Path) -> dict[str, dict[str, str]]:
    """Return names and hashes of a run's SR networks as a card states them; nothing if none."""
    path = folder / NETWORKS
    return {"networks": json.loads(path.read_text())} if path.exists() else {}


@dataclass(frozen=True)
class Validator:
    """Measures the run of a generator, and logs the figures.

    Attributes:
        pairs: validation crops; see `load_validation`.
        metrics: metrics by the name of their column in the log.
        log: where the figures go.
        devices: number of devices that share a batch.
    """

    pairs: list[Pair]
    metrics: dict[str, Metric]
    log: "RunLog"
    devices: int

    def validate(self, run: Run) -> dict[str, float]:
        """Log the figures of the current step, and return them."""
        upscaled = upscale_all(run, self.pairs, self.devices)
        figures = mean_over_pairs(upscaled, self.pairs, self.metrics)
        log_figures(self.log, run, figures)
        self.log.write_sample(run.step, draw_sample(upscaled, self.pairs))
        return figures


@dataclass(frozen=True)
class RestorerValidator:
    """Measures the run of a restorer through SR networks, and logs the figures.

    Attributes:
        sets: validation crops by the name of their degradation; see `degrade_validation`.
        networks: SR networks; the first is the one that is trained through.
        metrics: metrics by the beginning of the name of their column in the log.
        log: where the figures go.
        devices: number of devices that share a batch.
    """

    sets: dict[str, list[Pair]]
    networks: Sequence[SrNetwork]
    metrics: dict[str, Metric]
    log: "RunLog"
    devices: int

    def validate(self, run: Run) -> dict[str, float]:
        """Log the figures of the current step, and return them."""
        trained = run.generator.get_weights()
        run.generator.set_weights(run.ema)
        figures = {}
        for kind, pairs in self.sets.items():
            restored = [self._restore(run, pair.lr) for pair in pairs]
            for index, network in enumerate(self.networks):
                upscaled = self._enlarge(run, index, restored)
                if not figures:
                    self.log.write_sample(run.step, draw_sample(upscaled, pairs))
                means = mean_over_pairs(upscaled, pairs, self.metrics)
                figures |= {f"{key}_{kind}_{network.name}": mean for key, mean in means.items()}
        run.generator.set_weights(trained)
        log_figures(self.log, run, figures)
        return figures

    def _restore(self, run, lr):
        return restore(run.generator, lr, run.recipe.restorer.stride, self.devices)

    def _enlarge(self, run, index, restored):
        """Return SR of restored pictures; by averaged weights of a network that is tuned along."""
        model = self.networks[index].model
        trained = model.get_weights()
        if model is run.stage.tuned:
            model.set_weights(run.tuned_ema)
        upscaled = [enlarge(model, picture, self.devices) for picture in restored]
        model.set_weights(trained)
        return upscaled


def log_figures(log: "RunLog", run: Run, figures: dict[str, float]) -> None:
    """Append mean losses since the last call, the learning rate and figures to the log."""
    rate = run.recipe.learning_rate_at(run.step)
    log.write(run.step, run.pop_mean_losses() | {"learning_rate": rate} | figures)


def load_validation(
    photos: list[Photo], degradation: AnyDegradation | None, seed: int
) -> list[Pair]:
    """Return the centre crops of photographs, degraded as the recipe says."""
    crops = [centre_crop(pair) for pair in load_pairs(photos)]
    return degrade_pairs(crops, degradation, seed)


def degrade_validation(crops: list[Pair], recipe: Recipe) -> dict[str, list[Pair]]:
    """Return crops degraded by each process of a recipe, by its name, and clean ones."""
    mixes = {
        process.name: DegradationMix((replace(process, share=1.0),)) for process in recipe.processes
    }
    seed = recipe.data.seed
    return {name: degrade_pairs(crops, mix, seed) for name, mix in mixes.items()} | {CLEAN: crops}


def centre_crop(pair: Pair) -> Pair:
    """Return the centre of a pair, a square of at most `CROP_SIDE` LR pixels a side."""
    height, width = pair.lr.shape[:2]
    side = min(CROP_SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    box = Box(top, left, top + side, left + side)
    return Pair(box.scaled(SCALE).crop(pair.hr), box.crop(pair.lr))


def choose_validation_metrics(perceptual: Path | None) -> dict[str, Metric]:
    """Return PSNR-Y, and LPIPS-sq if the folder holds its weights."""
    metrics: dict[str, Metric] = {"validation_psnr_y_db": psnr_y}
    distance = load_distance(perceptual)
    if distance is not None:
        metrics["validation_lpips_sq"] = distance
    return metrics


def load_distance(perceptual: Path | None) -> LearnedDistance | None:
    """Return LPIPS-sq; None if the folder does not hold its weights."""
    if perceptual is None or not (perceptual / WEIGHTS).exists():
        return None
    return LearnedDistance(perceptual)


def upscale_all(run: Run, pairs: list[Pair], devices: int = 1) -> list[np.ndarray]:
    """Return SR of every pair by the averaged weights, (4H, 4W, 3) uint8."""
    trained = run.generator.get_weights()
    run.generator.set_weights(run.ema)
    upscaled = [upscale(run.generator, pair.lr, devices) for pair in pairs]
    run.generator.set_weights(trained)
    return upscaled


def upscale(generator: keras.Model, lr: np.ndarray, devices: int = 1) -> np.ndarray:
    """Upscale LR (H, W, 3) uint8 to SR (4H, 4W, 3) uint8, untiled.

    If devices share batches, each gets a copy: a batch must be divisible among them.
    """
    return enlarge(generator, unit_from_uint8(lr), devices)


def enlarge(generator: keras.Model, lr: np.ndarray, devices: int = 1) -> np.ndarray:
    """Upscale LR (H, W, 3) unit float32 to SR (4H, 4W, 3) uint8; see `upscale`."""
    batch = np.repeat(lr[None], devices, axis=0)
    return uint8_from_unit(np.asarray(generator.predict_on_batch(batch))[0])


def mean_over_pairs(
    upscaled: list[np.ndarray], pairs: list[Pair], metrics: Mapping[str, Metric]
) -> dict[str, float]:
    """Return the mean of every metric over the pairs."""
    return {
        name: float(np.mean([metric(sr, p.hr) for sr, p in zip(upscaled, pairs, strict=True)]))
        for name, metric in metrics.items()
    }


def draw_sample(upscaled: list[np.ndarray], pairs: list[Pair]) -> np.ndarray:
    """Return one picture of the first crops, (H, W, 3) uint8; a row is bicubic, SR, HR."""
    rows = [
        np.concatenate([resize_bicubic(pair.lr, *sr.shape[:2]), sr, pair.hr], axis=1)
        for sr, pair in zip(upscaled[:SAMPLE_ROWS], pairs[:SAMPLE_ROWS], strict=True)
    ]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(padded)


class RunLog:
    """The log of a run: `log.csv`, and events for TensorBoard. A resumed run appends to it.

    Args:
        folder: folder of the run.
        step: step at which the run is resumed; TensorBoard discards later events.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._log = folder / LOG
        self._events = SummaryWriter(
            str(folder / EVENTS),
            purge_step=step + 1,
            filename_suffix=f".{uuid4().hex}",  # or two logs opened in one second share a file
        )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._events.close()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Append the figures of a step."""
        is_new = not self._log.exists()
        with self._log.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["step", *figures])
            if is_new:
                writer.writeheader()
            writer.writerow({"step": step} | figures)
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def write_sample(self, step: int, sample: np.ndarray) -> None:
        """Add a sample picture, (H, W, 3) uint8, to the TensorBoard events."""
        self._events.add_image("validation", sample, step, dataformats="HWC")
        self._events.flush()
