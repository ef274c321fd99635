"""Train a generator on a pixel loss, resumable at any step.

A run lives in a folder of its own: `checkpoint.npz` (the whole state), `log.csv` (one
line per validation) and `recipe.json` (what is being trained).
"""

import csv
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from core.pixels import uint8_from_unit, unit_from_uint8
from training.checkpoint import load_checkpoint, save_checkpoint
from training.metrics import psnr_y
from training.networks import build_generator
from training.patches import PatchSampler, crop
from training.photos import Pair, load_pairs, read_manifest
from training.recipe import Recipe

EMA_EVERY = 10  # steps between updates of the moving average; momentum is raised to it
VALIDATION_SIDE = 64  # LR px of the centre crop that a validation photograph gives
CHECKPOINT = "checkpoint.npz"


@dataclass
class Run:
    """A generator in training, with all of its state.

    Attributes:
        ema: moving average of the generator's weights, the weights worth keeping.
        step: updates done so far.
    """

    recipe: Recipe
    folder: Path
    generator: keras.Model
    ema: list[np.ndarray]
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def update(self, lr: np.ndarray, hr: np.ndarray) -> None:
        """One step of Adam on one batch of unit float32 patches."""
        self.generator.optimizer.learning_rate = self.recipe.training.learning_rate_at(self.step)
        self.losses.append(float(self.generator.train_on_batch(lr, hr)))
        self.step += 1
        if self.step % EMA_EVERY == 0:
            self._update_ema()

    def _update_ema(self):
        momentum = self.recipe.training.ema_momentum**EMA_EVERY
        for average, weight in zip(self.ema, self.generator.get_weights(), strict=True):
            average += (1 - momentum) * (weight - average)

    def save(self) -> None:
        groups = {
            "generator": self.generator.get_weights(),
            "optimizer": [np.asarray(v) for v in self.generator.optimizer.variables],
            "ema": self.ema,
        }
        save_checkpoint(self.folder / CHECKPOINT, self.step, groups)


def start_run(recipe: Recipe, folder: Path) -> Run:
    """A new run in `folder`, or the one that is there, at the step it had reached.

    Raises:
        ValueError: if the folder holds a run of another recipe's generator or data.
    """
    keras.mixed_precision.set_global_policy(recipe.training.precision)
    keras.utils.set_random_seed(recipe.data.seed)
    generator = build_generator(recipe.generator)
    jit = keras.backend.backend() == "jax"  # XLA makes TensorFlow slower on a CPU
    generator.compile(keras.optimizers.Adam(1.0), "mean_absolute_error", jit_compile=jit)
    generator.optimizer.build(generator.trainable_variables)
    run = Run(recipe, folder, generator, [weight.copy() for weight in generator.get_weights()])
    if (folder / CHECKPOINT).exists():
        _restore(run)
    else:
        folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(recipe.as_dict(), indent=2) + "\n")
    return run


def _restore(run):
    before = json.loads((run.folder / "recipe.json").read_text())
    now = run.recipe.as_dict()
    changed = [part for part in ("generator", "data") if before[part] != now[part]]
    if changed:
        raise ValueError(
            f"{run.folder} must hold a run of this recipe. "
            f"Received: a run with another [{'], ['.join(changed)}]."
        )
    run.step, groups = load_checkpoint(run.folder / CHECKPOINT, ["generator", "optimizer", "ema"])
    run.generator.set_weights(groups["generator"])
    run.ema = groups["ema"]
    for variable, value in zip(run.generator.optimizer.variables, groups["optimizer"], strict=True):
        variable.assign(value)


def train(recipe: Recipe, photos_folder: Path, run_folder: Path, max_minutes: float) -> Run:
    """Train until the recipe's last step or for `max_minutes`, whichever comes first."""
    deadline = time.monotonic() + 60 * max_minutes
    run = start_run(recipe, run_folder)
    photos = read_manifest(photos_folder)
    pairs = load_pairs([photo for photo in photos if not photo.is_validation])
    validation = [centre_crop(pair) for pair in load_pairs([p for p in photos if p.is_validation])]
    sampler = PatchSampler(
        pairs, patch=recipe.data.patch, batch=recipe.data.batch, seed=recipe.data.seed
    )
    steps = recipe.training.steps
    with tqdm(total=steps, initial=run.step, unit="step") as bar:
        for lr, hr in sampler.batches(run.step):
            if run.step >= steps or time.monotonic() > deadline:
                break
            run.update(lr, hr)
            bar.update()
            if run.step % recipe.training.validate_every == 0 or run.step == steps:
                run.save()
                bar.set_postfix(log_progress(run, validation))
    run.save()
    return run


def log_progress(run: Run, validation: list[Pair]) -> dict[str, float]:
    """Validate, append a line to `log.csv` and return it."""
    line = {
        "step": run.step,
        "loss": float(np.mean(run.losses)),
        "learning_rate": run.recipe.training.learning_rate_at(run.step),
        "validation_psnr_y_db": validate(run, validation),
    }
    run.losses.clear()
    path = run.folder / "log.csv"
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, line)
        if is_new:
            writer.writeheader()
        writer.writerow(line)
    return line


def validate(run: Run, pairs: list[Pair]) -> float:
    """Mean PSNR-Y of the averaged weights on the validation crops, dB."""
    trained = run.generator.get_weights()
    run.generator.set_weights(run.ema)
    values = [psnr_y(upscale(run.generator, pair.lr), pair.hr) for pair in pairs]
    run.generator.set_weights(trained)
    return float(np.mean(values))


def upscale(generator: keras.Model, lr: np.ndarray) -> np.ndarray:
    """LR (H, W, 3) uint8 -> SR (4H, 4W, 3) uint8, untiled."""
    sr = generator.predict_on_batch(unit_from_uint8(lr)[None])
    return uint8_from_unit(np.asarray(sr)[0])


def centre_crop(pair: Pair) -> Pair:
    """The middle of a pair, at most `VALIDATION_SIDE` LR pixels a side."""
    height, width = pair.lr.shape[:2]
    side = min(VALIDATION_SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    scale = pair.hr.shape[0] // height
    return Pair(
        crop(pair.hr, scale * top, scale * left, scale * side), crop(pair.lr, top, left, side)
    )
