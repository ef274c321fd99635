"""A run: a network in training with its whole state, and the folder that keeps it.

The folder holds:

- `checkpoint.npz`: the whole state: weights, their moving average, optimizers, the step.
- `recipe.json`: the recipe.
- `origin.json`: the ancestors, if the run started from another run.
- `log.csv` and `tensorboard/`: figures and sample pictures; `training.loop.train` writes them.
- `networks.json`: the SR networks that a restorer is trained for; see `training.loop.validation`.

The ancestors of a run are a list, the oldest first. An entry is a run or a mix of runs:

    {"steps": 3000, "recipe": {...}, "began_with": 0}
    {"mixed": [{"ancestor": 1, "share": 0.6}, {"ancestor": 2, "share": 0.4}]}

The numbers are indices in the list; `began_with` is null for a run that started with random
weights. Every run is listed once. The last entry is the one that this run started from; the
list is empty if this run started with random weights.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from training import CommandFailed
from training.loop.recipe import Recipe, read_recipe
from training.loop.restoring import RestoringStage
from training.loop.stages import (
    DISCRIMINATOR,
    Losses,
    Stage,
    Teacher,
    as_arrays,
    build_stage,
    copy_values,
)
from training.models.networks import Architecture, build_generator
from training.models.restorer import RestorerArchitecture, build_restorer

CHECKPOINT = "checkpoint.npz"
RECIPE = "recipe.json"
ORIGIN = "origin.json"
TUNED_EMA = "tuned_ema"  # group of the averaged weights of an SR network that is tuned along
TEACHER = "teacher"  # name of the teacher's group of arrays in a checkpoint
EMA_EVERY = 10  # steps between updates of the moving average; its momentum is raised to this power
SAME_IN_A_RUN = (
    "generator",
    "data",
    "degradation",
    "adversarial",
    "restorer",
    "restoring",
    "processes",
    "teacher",
)
"""Tables of a recipe that must not change when a run is resumed."""

Arrays = dict[str, list[np.ndarray]]
"""Groups of arrays by name, as a checkpoint holds them."""

Ancestors = list[dict]
"""Entries as described at the top of this module."""


@dataclass
class Run:
    """A generator or a restorer in training, with its whole state.

    Attributes:
        recipe: settings of the run.
        folder: where the state is saved.
        stage: networks and optimizers.
        ema: exponential moving average of the network's weights; these are exported.
        tuned_ema: the same of the SR network that is tuned along with a restorer; else empty.
        teacher: network whose SR is mixed into the targets; None for none.
        step: number of updates done.
        losses: losses of the steps since the last call of `pop_mean_losses`.
    """

    recipe: Recipe
    folder: Path
    stage: Stage
    ema: list[np.ndarray]
    tuned_ema: list[np.ndarray] = field(default_factory=list)
    teacher: Teacher | None = None
    step: int = 0
    losses: list[Losses] = field(default_factory=list)

    @property
    def generator(self) -> keras.Model:
        """The network in training."""
        return self.stage.generator

    @property
    def is_done(self) -> bool:
        """True at the recipe's last step."""
        return self.step >= self.recipe.training.steps

    def update(self, lr: np.ndarray, hr: np.ndarray, target: np.ndarray | None = None) -> Losses:
        """Take one step on a batch of unit float32 patches; return the losses before it.

        Args:
            lr: (B, h, w, 3).
            hr: (B, 4h, 4w, 3).
            target: another network's SR for some of the patches, HR for the others; None for
                HR only.
        """
        learning_rate = self.recipe.learning_rate_at(self.step)
        if self.teacher is not None:
            hr = self.teacher.mix(lr, hr, self.step)
        losses = self.stage.update(lr, hr, learning_rate, target)
        self.losses.append(losses)
        self.step += 1
        if self.step % EMA_EVERY == 0:
            self._update_ema()
        return losses

    def _update_ema(self):
        momentum = self.recipe.training.ema_momentum**EMA_EVERY
        weights = self.generator.get_weights() + weights_of(self.stage.tuned)
        for average, weight in zip(self.ema + self.tuned_ema, weights, strict=True):
            average += (1 - momentum) * (weight - average)

    def pop_mean_losses(self) -> Losses:
        """Return the mean losses since the last call, and forget them."""
        means = {
            name: mean_without_nan([losses[name] for losses in self.losses])
            for name in self.losses[0]
        }
        self.losses.clear()
        return means

    def save(self) -> None:
        """Write the checkpoint."""
        groups = {name: as_arrays(group) for name, group in self._variables().items()}
        groups |= {"ema": self.ema, TUNED_EMA: self.tuned_ema}
        save_checkpoint(self.folder / CHECKPOINT, self.step, groups)

    def restore(self) -> None:
        """Load the checkpoint in the folder.

        Raises:
            CommandFailed: if the checkpoint holds averaged weights only.
        """
        variables = self._variables()
        averages = ["ema", TUNED_EMA] if self.tuned_ema else ["ema"]
        step, groups = load_checkpoint(self.folder / CHECKPOINT, [*variables, *averages])
        if not all(groups.values()):
            raise CommandFailed(
                f"{self.folder} must hold the whole state of a run. Received: averaged weights "
                "only, which another run can start from."
            )
        self.step, self.ema = step, groups["ema"]
        self.tuned_ema = groups.get(TUNED_EMA, [])
        for name, group in variables.items():
            copy_values(groups[name], group)

    def _variables(self) -> dict[str, list]:
        teacher = {} if self.teacher is None else {TEACHER: self.teacher.generator.weights}
        return self.stage.variables() | teacher


def mean_without_nan(values: list[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if all are."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def start_run(
    recipe: Recipe,
    folder: Path,
    *,
    content: keras.Model | None = None,
    start_from: Path | None = None,
    sr_network: keras.Model | None = None,
) -> Run:
    """Start a run in `folder`, or resume the one that is there.

    Args:
        recipe: settings of the run.
        folder: folder of the run; it is created if it does not exist.
        content: VGG-19 features for the second stage; None for the first.
        start_from: folder of another run. A new run starts from its averaged network and
            from its discriminator, if it has one of the same size.
        sr_network: network in front of which a restorer is trained; None for a generator.

    Raises:
        CommandFailed: if the folder holds a run with another generator or other data.
    """
    keras.utils.set_random_seed(recipe.data.seed)
    network = build_network(recipe.as_dict())
    is_resumed = (folder / CHECKPOINT).exists()
    if recipe.restoring is None:
        stage = build_stage(network, recipe, content)
    else:
        stage = RestoringStage(network, recipe.restoring, content, sr_network)
    if start_from is not None and not is_resumed:
        initialise_from(start_from, stage, folder)
    average = weights_of(network)
    teacher = build_teacher(recipe, average, is_trained=is_resumed or start_from is not None)
    run = Run(recipe, folder, stage, average, weights_of(stage.tuned), teacher)
    if is_resumed:
        check_same_run(run)
        run.restore()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECIPE, recipe.as_dict())
    return run


def build_network(recipe: Mapping) -> keras.Model:
    """Return the network that a recipe trains: its restorer if it has one, else its generator.

    Args:
        recipe: tables as in `recipe.json` and in cards.

    Raises:
        CommandFailed: if the recipe states neither.
    """
    if recipe.get("restorer"):
        return build_restorer(RestorerArchitecture(**recipe["restorer"]))
    if "generator" not in recipe:
        raise CommandFailed(
            "A recipe must state the sizes of a network in [generator] or [restorer]. "
            f"Received: {', '.join(recipe) or 'no tables'}."
        )
    return build_generator(Architecture(**recipe["generator"]))


def weights_of(network: keras.Model | None) -> list[np.ndarray]:
    """Return copies of the weights of a network; none without a network."""
    return [] if network is None else [weight.copy() for weight in network.get_weights()]


def initialise_from(start_from: Path, stage: Stage, folder: Path) -> None:
    """Load the averaged network of another run into a stage, and write `origin.json`.

    Its discriminator is loaded too if both have one of the same size, and so is an SR network
    that both tune along.
    """
    _, groups = load_checkpoint(start_from / CHECKPOINT, ["ema", DISCRIMINATOR, TUNED_EMA])
    stage.generator.set_weights(groups["ema"])
    if stage.tuned is not None and groups[TUNED_EMA]:
        stage.tuned.set_weights(groups[TUNED_EMA])
    own, other = stage.variables().get(DISCRIMINATOR, []), groups[DISCRIMINATOR]
    if [variable.shape for variable in own] == [array.shape for array in other]:
        copy_values(other, own)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ORIGIN, ancestry_of(start_from))


def build_teacher(recipe: Recipe, weights: list[np.ndarray], *, is_trained: bool) -> Teacher | None:
    """Return the teacher that a recipe asks for; None if it asks for none.

    Args:
        recipe: settings of the run.
        weights: weights that the run starts from.
        is_trained: whether they are trained weights.

    Raises:
        CommandFailed: if a teacher is asked for and the weights are not trained.
    """
    share = recipe.training.teacher_share
    if share == 0:
        return None
    if not is_trained:
        raise CommandFailed(
            "A run with `teacher_share` must start from another one (--start-from)."
        )
    teacher = Teacher(build_generator(recipe.generator), share, recipe.data.seed)
    teacher.generator.set_weights(weights)
    return teacher


def check_same_run(run: Run) -> None:
    """Raise CommandFailed unless the folder holds a run with the same networks and data.

    A recipe of an earlier version may lack settings; they get their default values.
    """
    before, now = read_recipe(run.folder / RECIPE).as_dict(), run.recipe.as_dict()
    changed = [part for part in SAME_IN_A_RUN if before[part] != now[part]]
    if changed:
        raise CommandFailed(
            f"{run.folder} must hold a run of this recipe. "
            f"Received: a run with another [{'], ['.join(changed)}]."
        )


def save_checkpoint(path: Path, step: int, groups: Arrays) -> None:
    """Write the step and named groups of arrays.

    The file is written beside its final name and then renamed, so that a run killed at any
    moment leaves either the previous checkpoint or the new one.
    """
    flat = {
        f"{group}/{index}": array
        for group, arrays in groups.items()
        for index, array in enumerate(arrays)
    }
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, step=step, **flat)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path, groups: Sequence[str]) -> tuple[int, Arrays]:
    """Return the step and the named groups; a group that is not in the file is empty."""
    with np.load(path) as file:
        return int(file["step"]), {group: _load_group(file, group) for group in groups}


def _load_group(file, group):
    count = sum(name.startswith(f"{group}/") for name in file.files)
    return [file[f"{group}/{index}"] for index in range(count)]


def read_ancestors(folder: Path) -> Ancestors:
    """Return the ancestors of the run in a folder."""
    path = folder / ORIGIN
    return json.loads(path.read_text()) if path.exists() else []


def find_teacher(recipe: dict, ancestors: Ancestors) -> dict | None:
    """Return name, licence and source of the teacher of a run, or of its newest taught ancestor.

    None if there is none. `recipe` is that of the run, in JSON's types.
    """
    recipes = [recipe, *(run["recipe"] for run in reversed(ancestors) if "recipe" in run)]
    taught = next((recipe["teacher"] for recipe in recipes if recipe.get("teacher")), None)
    return taught and {name: taught[name] for name in ("name", "licence", "source")}


def ancestry_of(folder: Path) -> Ancestors:
    """Return the ancestors of the run in a folder, followed by the run itself."""
    step, _ = load_checkpoint(folder / CHECKPOINT, [])
    return add_run(read_ancestors(folder), step, json.loads((folder / RECIPE).read_text()))


def add_run(ancestors: Ancestors, steps: int, recipe: dict) -> Ancestors:
    """Return the ancestors of whatever starts from a run.

    Args:
        ancestors: ancestors of the run.
        steps: number of steps it has taken. A run of 0 steps, such as a mix, adds no entry.
        recipe: recipe of the run.
    """
    if ancestors and steps == 0:
        return ancestors
    before = len(ancestors) - 1 if ancestors else None
    return [*ancestors, {"steps": steps, "recipe": recipe, "began_with": before}]


def add_mix(families: Sequence[Ancestors], shares: Sequence[float]) -> Ancestors:
    """Return the ancestors of a mix of several runs.

    Args:
        families: for each run, its ancestors and itself; see `ancestry_of`.
        shares: share of each run.
    """
    merged: Ancestors = []
    parts = [
        {"ancestor": merge_into(merged, family), "share": share}
        for family, share in zip(families, shares, strict=True)
    ]
    return [*merged, {"mixed": parts}]


def merge_into(merged: Ancestors, family: Ancestors) -> int:
    """Append the entries that `merged` lacks; return the index there of the family's last."""
    indices: list[int] = []
    for ancestor in family:
        moved = renumber(ancestor, indices)
        if moved not in merged:
            merged.append(moved)
        indices.append(merged.index(moved))
    return indices[-1]


def renumber(ancestor: dict, indices: list[int]) -> dict:
    """Return an entry that refers to other entries by their new indices."""
    if "mixed" in ancestor:
        parts = [part | {"ancestor": indices[part["ancestor"]]} for part in ancestor["mixed"]]
        return {"mixed": parts}
    before = ancestor["began_with"]
    return ancestor | {"began_with": None if before is None else indices[before]}


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n")
