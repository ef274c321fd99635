"""Train a generator, in either stage, resumable at any step.

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
from training.degradation import degrade_pairs
from training.metrics import psnr_y
from training.networks import build_generator
from training.patches import PatchSampler, crop
from training.photos import Pair, load_pairs, read_manifest
from training.recipe import Recipe
from training.stages import Losses, Stage, as_arrays, build_stage

EMA_EVERY = 10  # steps between updates of the moving average; momentum is raised to it
VALIDATION_SIDE = 64  # LR px of the centre crop that a validation photograph gives
CHECKPOINT = "checkpoint.npz"
RECIPE = "recipe.json"
SAME_IN_A_RUN = ("generator", "data", "degradation", "adversarial")  # tables of a recipe


@dataclass
class Run:
    """A generator in training, with all of its state.

    Attributes:
        ema: moving average of the generator's weights, the weights worth keeping.
        step: updates done so far.
        losses: of the steps since the last line of the log.
    """

    recipe: Recipe
    folder: Path
    stage: Stage
    ema: list[np.ndarray]
    step: int = 0
    losses: list[Losses] = field(default_factory=list)

    @property
    def generator(self) -> keras.Model:
        return self.stage.generator

    def update(self, lr: np.ndarray, hr: np.ndarray) -> None:
        """One step on one batch of unit float32 patches."""
        learning_rate = self.recipe.training.learning_rate_at(self.step)
        self.losses.append(self.stage.update(lr, hr, learning_rate))
        self.step += 1
        if self.step % EMA_EVERY == 0:
            self._update_ema()

    def _update_ema(self):
        momentum = self.recipe.training.ema_momentum**EMA_EVERY
        for average, weight in zip(self.ema, self.generator.get_weights(), strict=True):
            average += (1 - momentum) * (weight - average)

    def save(self) -> None:
        groups = {name: as_arrays(group) for name, group in self.stage.variables().items()}
        save_checkpoint(self.folder / CHECKPOINT, self.step, groups | {"ema": self.ema})

    def restore(self) -> None:
        """Go back to the checkpoint in the folder."""
        variables = self.stage.variables()
        self.step, groups = load_checkpoint(self.folder / CHECKPOINT, [*variables, "ema"])
        self.ema = groups["ema"]
        for name, group in variables.items():
            for variable, value in zip(group, groups[name], strict=True):
                variable.assign(value)


def start_run(
    recipe: Recipe, folder: Path, *, features: Path | None = None, start_from: Path | None = None
) -> Run:
    """A new run in `folder`, or the one that is there, at the step it had reached.

    Args:
        recipe: what to train, and how.
        folder: of the run; it is made if it is not there.
        features: folder of perceptual weights, for the second stage.
        start_from: folder of a run whose averaged generator a new run begins with.

    Raises:
        ValueError: if the folder holds a run of another recipe's generator or data.
    """
    keras.mixed_precision.set_global_policy(recipe.training.precision)
    keras.utils.set_random_seed(recipe.data.seed)
    generator = build_generator(recipe.generator)
    if start_from is not None:
        _, groups = load_checkpoint(start_from / CHECKPOINT, ["ema"])
        generator.set_weights(groups["ema"])
    stage = build_stage(generator, recipe, features)
    run = Run(recipe, folder, stage, [weight.copy() for weight in generator.get_weights()])
    if (folder / CHECKPOINT).exists():
        check_same_run(run)
        run.restore()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE).write_text(json.dumps(recipe.as_dict(), indent=2) + "\n")
    return run


def check_same_run(run: Run) -> None:
    """Raise ValueError unless the folder holds a run of the same networks and data."""
    before, now = json.loads((run.folder / RECIPE).read_text()), run.recipe.as_dict()
    changed = [part for part in SAME_IN_A_RUN if before.get(part) != now[part]]
    if changed:
        raise ValueError(
            f"{run.folder} must hold a run of this recipe. "
            f"Received: a run with another [{'], ['.join(changed)}]."
        )


def train(
    recipe: Recipe,
    photos_folder: Path,
    run_folder: Path,
    max_minutes: float,
    *,
    features: Path | None = None,
    start_from: Path | None = None,
) -> Run:
    """Train until the recipe's last step or for `max_minutes`, whichever comes first."""
    deadline = time.monotonic() + 60 * max_minutes
    run = start_run(recipe, run_folder, features=features, start_from=start_from)
    photos = read_manifest(photos_folder)
    pairs = load_pairs([photo for photo in photos if not photo.is_validation])
    validation = [centre_crop(pair) for pair in load_pairs([p for p in photos if p.is_validation])]
    validation = degrade_pairs(validation, recipe.degradation, recipe.data.seed)
    sampler = PatchSampler(
        pairs,
        patch=recipe.data.patch,
        batch=recipe.data.batch,
        seed=recipe.data.seed,
        degradation=recipe.degradation,
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
        **{name: float(np.mean([x[name] for x in run.losses])) for name in run.losses[0]},
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
