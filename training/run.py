"""A run: a generator in training, with all of its state, in a folder of its own.

The folder holds `checkpoint.npz` (the whole state), `recipe.json` (what is being
trained) and `origin.json` (what came before it, if it began with another run; see
`training.ancestry`); `training.journal` adds what is worth reading.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from training.ancestry import Ancestors, add_run
from training.checkpoint import load_checkpoint, save_checkpoint
from training.errors import CommandFailed
from training.networks import build_generator
from training.recipe import Recipe, read_recipe
from training.stages import DISCRIMINATOR, Losses, Stage, as_arrays, build_stage, copy_values
from training.teacher import Teacher

TEACHER = "teacher"  # the group of its weights, in a checkpoint
EMA_EVERY = 10  # steps between updates of the moving average; momentum is raised to it
CHECKPOINT = "checkpoint.npz"
RECIPE = "recipe.json"
ORIGIN = "origin.json"
SAME_IN_A_RUN = ("generator", "data", "degradation", "adversarial")  # tables of a recipe


@dataclass
class Run:
    """A generator in training, with all of its state.

    Attributes:
        ema: moving average of the generator's weights, the weights worth keeping.
        teacher: which has a word in what is learned, if there is one.
        step: updates done so far.
        losses: of the steps since they were last read.
    """

    recipe: Recipe
    folder: Path
    stage: Stage
    ema: list[np.ndarray]
    teacher: Teacher | None = None
    step: int = 0
    losses: list[Losses] = field(default_factory=list)

    @property
    def generator(self) -> keras.Model:
        return self.stage.generator

    @property
    def is_done(self) -> bool:
        """True at the recipe's last step."""
        return self.step >= self.recipe.training.steps

    def update(self, lr: np.ndarray, hr: np.ndarray) -> Losses:
        """One step on one batch of unit float32 patches; the losses before it."""
        learning_rate = self.recipe.learning_rate_at(self.step)
        if self.teacher is not None:
            hr = self.teacher.mix(lr, hr, self.step)
        losses = self.stage.update(lr, hr, learning_rate)
        self.losses.append(losses)
        self.step += 1
        if self.step % EMA_EVERY == 0:
            self._update_ema()
        return losses

    def _update_ema(self):
        momentum = self.recipe.training.ema_momentum**EMA_EVERY
        for average, weight in zip(self.ema, self.generator.get_weights(), strict=True):
            average += (1 - momentum) * (weight - average)

    def read_losses(self) -> Losses:
        """Means since they were last read."""
        means = {
            name: mean_of_known([losses[name] for losses in self.losses]) for name in self.losses[0]
        }
        self.losses.clear()
        return means

    def save(self) -> None:
        groups = {name: as_arrays(group) for name, group in self._variables().items()}
        save_checkpoint(self.folder / CHECKPOINT, self.step, groups | {"ema": self.ema})

    def restore(self) -> None:
        """Go back to the checkpoint in the folder."""
        variables = self._variables()
        step, groups = load_checkpoint(self.folder / CHECKPOINT, [*variables, "ema"])
        if not all(groups.values()):
            raise CommandFailed(
                f"{self.folder} must hold the whole state of a run. Received: averaged weights "
                "only, which another run can start from."
            )
        self.step, self.ema = step, groups["ema"]
        for name, group in variables.items():
            copy_values(groups[name], group)

    def _variables(self) -> dict[str, list]:
        taught = {} if self.teacher is None else {TEACHER: self.teacher.generator.weights}
        return self.stage.variables() | taught


def mean_of_known(values: list[float]) -> float:
    """Mean of those that are numbers; no number if none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def start_run(
    recipe: Recipe,
    folder: Path,
    *,
    content: keras.Model | None = None,
    start_from: Path | None = None,
) -> Run:
    """A new run in `folder`, or the one that is there, at the step it had reached.

    Args:
        recipe: what to train, and how.
        folder: of the run; it is made if it is not there.
        content: what compares pictures in the second stage.
        start_from: folder of a run whose averaged generator, and discriminator if it has one
            of the same size, a new run begins with.

    Raises:
        CommandFailed: if the folder holds a run of another recipe's generator or data.
    """
    keras.utils.set_random_seed(recipe.data.seed)
    generator = build_generator(recipe.generator)
    goes_on = (folder / CHECKPOINT).exists()
    stage = build_stage(generator, recipe, content)
    if start_from is not None and not goes_on:
        begin_with(start_from, stage, folder)
    average = [weight.copy() for weight in generator.get_weights()]
    teacher = hire_teacher(recipe, average, has_learned=goes_on or start_from is not None)
    run = Run(recipe, folder, stage, average, teacher)
    if goes_on:
        check_same_run(run)
        run.restore()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECIPE, recipe.as_dict())
    return run


def hire_teacher(recipe: Recipe, weights: list[np.ndarray], *, has_learned: bool) -> Teacher | None:
    """The teacher that a recipe asks for, with the weights that a run begins with.

    Raises:
        CommandFailed: if one is asked for that has not learned anything.
    """
    share = recipe.training.teacher_share
    if share == 0:
        return None
    if not has_learned:
        raise CommandFailed(
            "A run with `teacher_share` must start from another one (--start-from)."
        )
    teacher = Teacher(build_generator(recipe.generator), share, recipe.data.seed)
    teacher.generator.set_weights(weights)
    return teacher


def begin_with(start_from: Path, stage: Stage, folder: Path) -> None:
    """Give a stage the averaged generator of another run, and note which in `origin.json`.

    Its discriminator goes with it where both have one, of the same size.
    """
    _, groups = load_checkpoint(start_from / CHECKPOINT, ["ema", DISCRIMINATOR])
    stage.generator.set_weights(groups["ema"])
    own, other = stage.variables().get(DISCRIMINATOR, []), groups[DISCRIMINATOR]
    if [variable.shape for variable in own] == [array.shape for array in other]:
        copy_values(other, own)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ORIGIN, as_ancestors(start_from))


def as_ancestors(folder: Path) -> Ancestors:
    """The run in a folder, after all that came before it."""
    step, _ = load_checkpoint(folder / CHECKPOINT, [])
    return add_run(read_ancestors(folder), step, json.loads((folder / RECIPE).read_text()))


def read_ancestors(folder: Path) -> Ancestors:
    """What came before the run in a folder."""
    path = folder / ORIGIN
    return json.loads(path.read_text()) if path.exists() else []


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def check_same_run(run: Run) -> None:
    """Raise CommandFailed unless the folder holds a run of the same networks and data.

    A run of an earlier version has fewer settings: those it lacks are at what they were then.
    """
    before, now = read_recipe(run.folder / RECIPE).as_dict(), run.recipe.as_dict()
    changed = [part for part in SAME_IN_A_RUN if before[part] != now[part]]
    if changed:
        raise CommandFailed(
            f"{run.folder} must hold a run of this recipe. "
            f"Received: a run with another [{'], ['.join(changed)}]."
        )
