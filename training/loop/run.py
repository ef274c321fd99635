"""A run: a generator in training, with all of its state, in a folder of its own.

The folder holds `checkpoint.npz` (the whole state), `recipe.json` (what is being
trained) and `origin.json` (what came before it, if it began with another run; see
`training.loop.run`); `training.loop.train` adds what is worth reading.

Everything a run needs to go on: weights, their average, the optimizer, the step.

One file, written beside its final name and then renamed, so that a run killed at any
moment finds either the checkpoint before or the one after.

Where the weights of a run come from: all runs before it, each told once.

A list, the oldest first. An entry is a run, or a mix of runs:

    {"steps": 3000, "recipe": {...}, "began_with": 0}
    {"mixed": [{"ancestor": 1, "share": 0.6}, {"ancestor": 2, "share": 0.4}]}

The numbers are places in the list; a run that began with random weights has None. The
last entry is what the run itself began with; after random weights the list is empty.

A teacher: what a run began with, shown every patch in another orientation.

The mean of what a network makes of the eight orientations of a picture is closer to HR than
each of them (0.13 dB here), but eight times the work. A network that learns to make of every
orientation what another one makes of any other comes near that mean at no cost. And HR holds
what cannot be told from LR, which is noise to whoever learns; the teacher's word is free of
it, so much is learned in few steps.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from core.files import atomic_write
from training.data.patches import orient, orient_back
from training.errors import CommandFailed
from training.loop.recipe import Recipe, read_recipe
from training.loop.stages import DISCRIMINATOR, Losses, Stage, as_arrays, build_stage, copy_values
from training.models.networks import build_generator

Arrays = dict[str, list[np.ndarray]]


def save_checkpoint(path: Path, step: int, groups: Arrays) -> None:
    """Write named groups of arrays and the step; atomic on one file system."""
    flat = {
        f"{group}/{index}": array
        for group, arrays in groups.items()
        for index, array in enumerate(arrays)
    }
    with atomic_write(path, durable=True) as partial, partial.open("wb") as file:
        np.savez(file, step=step, **flat)


def load_checkpoint(path: Path, groups: Sequence[str]) -> tuple[int, Arrays]:
    """The step and the named groups, as they were saved."""
    with np.load(path) as file:
        return int(file["step"]), {group: _group(file, group) for group in groups}


def _group(file, group):
    count = sum(name.startswith(f"{group}/") for name in file.files)
    return [file[f"{group}/{index}"] for index in range(count)]


Ancestors = list[dict]


def add_run(ancestors: Ancestors, steps: int, recipe: dict) -> Ancestors:
    """The ancestors of what begins with a run.

    Args:
        ancestors: of the run.
        steps: that it has taken; one of none, as a mix, is what it began with.
        recipe: of the run.
    """
    if ancestors and steps == 0:
        return ancestors
    before = len(ancestors) - 1 if ancestors else None
    return [*ancestors, {"steps": steps, "recipe": recipe, "began_with": before}]


def add_mix(families: Sequence[Ancestors], shares: Sequence[float]) -> Ancestors:
    """The ancestors of what begins with a mix of the last of each family, by shares."""
    merged: Ancestors = []
    parts = [
        {"ancestor": merge(family, merged), "share": share}
        for family, share in zip(families, shares, strict=True)
    ]
    return [*merged, {"mixed": parts}]


def merge(family: Ancestors, merged: Ancestors) -> int:
    """Append to `merged` what is not there yet; the place of the family's last."""
    places: list[int] = []
    for ancestor in family:
        moved = renumber(ancestor, places)
        if moved not in merged:
            merged.append(moved)
        places.append(merged.index(moved))
    return places[-1]


def renumber(ancestor: dict, places: list[int]) -> dict:
    """The same entry in a list where those before it have other places."""
    if "mixed" in ancestor:
        parts = [part | {"ancestor": places[part["ancestor"]]} for part in ancestor["mixed"]]
        return {"mixed": parts}
    before = ancestor["began_with"]
    return ancestor | {"began_with": None if before is None else places[before]}


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
