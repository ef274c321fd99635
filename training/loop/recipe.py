"""A recipe: every setting of a training run, read from a TOML file.

Each table of the file has a dataclass here or, for the networks and the degradations,
beside the code that it configures.

- A recipe with `[adversarial]` is one of the second stage of a generator.
- A recipe with `[restorer]` and `[restoring]` trains a restorer. Its table `[generator]` states
  the architecture of the SR network that the restorer works for.
- With `[degradation]` or `[[processes]]`, LR is made from HR by a random degradation; without,
  by bicubic interpolation.
- With `[teacher]`, another network's SR is the target of a share of the patches.
"""

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from training import CommandFailed
from training.data.degradation import (
    AnyDegradation,
    Degradation,
    DegradationMix,
    DegradationProcess,
    DegradationRound,
    check_shares,
)
from training.models.networks import Architecture
from training.models.restorer import RestorerArchitecture

LR_GRID, SR_GRID = "lr", "sr"
"""Values of `grid` in `[restoring]`: where the losses compare pictures."""


@dataclass(frozen=True)
class DataSettings:
    """Table `[data]`: how batches are drawn."""

    patch: int  # side of an LR patch, px
    batch: int  # patches in a batch
    seed: int
    sizes: tuple[float, ...] = (1.0,)  # every photograph is used at each share of its sides
    drawings: int = 0  # number of generated pictures among the photographs

    def __post_init__(self) -> None:
        if not self.sizes or not all(0 < size <= 1 for size in self.sizes):
            raise ValueError(
                "`sizes` must be shares in (0, 1], at least one. "
                f"Received: sizes={list(self.sizes)}"
            )
        if self.drawings < 0:
            raise ValueError(f"`drawings` must be 0 or more. Received: {self.drawings}")


@dataclass(frozen=True)
class TrainingSettings:
    """Table `[training]`: the schedule, the pixel loss of the first stage, and the teacher."""

    steps: int
    warmup_steps: int  # steps in which the learning rate rises linearly from zero
    learning_rate: float  # of Adam, between warm-up and decay
    decay_steps: int  # last steps, in which the learning rate falls linearly to zero
    ema_momentum: float  # of the exponential moving average of the weights, per step
    precision: str  # a Keras dtype policy, or "auto"; see `training.loop.train`
    validate_every: int  # steps between two validations
    pixel_epsilon: float = 0.0  # of the pixel loss, unit range; see `PixelLoss`
    chroma_weight: float | None = None  # of chroma where luma has 1; None: RGB without weights
    log_floor: float | None = None  # if given, the pixel loss is a logarithm; see `PixelLoss`
    teacher_share: float = 0.0  # weight of the teacher's SR in the target; see `Teacher`

    def __post_init__(self) -> None:
        if not 0 <= self.teacher_share <= 1:
            raise ValueError(f"`teacher_share` must be in [0, 1]. Received: {self.teacher_share}")

    def learning_rate_at(self, step: int, first: int = 0) -> float:
        """Return the learning rate of a trapezoid: warm-up, constant, decay.

        The constant part makes it possible to prolong a run.

        Args:
            step: number of updates done before.
            first: step at which the generator's training, and the warm-up, begins.

        Source: Zhai et al. 2022, arXiv:2106.04560, sec. 3.5 (cooldown).
        """
        if step < first:
            return self.learning_rate
        rise = (step - first + 1) / self.warmup_steps
        fall = (self.steps - step) / self.decay_steps
        return self.learning_rate * min(1.0, rise, fall)


@dataclass(frozen=True)
class AdversarialSettings:
    """Table `[adversarial]`: weights of the second stage's losses, and its discriminator."""

    pixel_weight: float
    content_weight: float
    adversarial_weight: float
    discriminator_filters: int  # of its first layer; the last layers have eight times as many
    discriminator_rate: float = 1.0  # learning rate, times the generator's
    discriminator_first: int = 0  # steps that train only the discriminator, which starts untrained
    lattice_weight: float = 0.0  # of the loss that removes the LR grid from SR
    texture_weight: float = 0.0  # of the loss that compares the strength of texture
    pixel_epsilon: float = 0.0  # of the pixel loss, unit range; see `PixelLoss`
    content_layers: tuple[str, ...] = ("conv1_2", "conv2_2", "conv3_1")  # of VGG-19, deepest last
    content_scales: tuple[float, ...] = (1.0,)  # weights at full, half, quarter size, and so on
    needs_content: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not any(self.content_scales):
            raise ValueError(
                "`content_scales` must hold a weight other than 0. "
                f"Received: {list(self.content_scales)}"
            )


@dataclass(frozen=True)
class RestoringSettings:
    """Table `[restoring]`: what the losses of a restorer compare, and how much each counts.

    The gradient of each loss with respect to the compared picture is scaled to a length. That
    of the content loss has length 1; the others have shares of it.
    """

    grid: str  # "lr": compare the restored picture; "sr": compare it enlarged by the SR network
    pixel_share: float = 0.5
    pixel_pool: int = 1  # px a side of the cells whose means the pixel loss compares
    pixel_epsilon: float = 0.0  # of the pixel loss, unit range; see `PixelLoss`
    content_layers: tuple[str, ...] = ("conv1_2", "conv2_2", "conv3_1")  # of VGG-19
    content_scales: tuple[float, ...] = (0.0, 1.0, 1.0)  # weights at full, half, quarter size
    content_in_cells: bool | tuple[str, ...] = False  # or layers; see `ContentDistance`
    colour_share: float = 0.0  # of the mean colours in cells, compared with HR
    lattice_share: float = 0.0  # of what repeats from one LR pixel to the next, on the SR grid
    adversarial_share: float = 0.0  # 0: no discriminator
    discriminator_filters: int = 96  # of its first layers; the last ones have twice as many
    discriminator_rate: float = 1.0  # learning rate, times the restorer's
    discriminator_first: int = 0  # steps that train only the discriminator, which starts untrained
    discriminator_every: int = 1  # steps between two updates of the discriminator
    generator_rate: float = 0.0  # learning rate of the SR network, times the restorer's

    def __post_init__(self) -> None:
        if self.grid not in (LR_GRID, SR_GRID):
            raise CommandFailed(f"`grid` must be {LR_GRID} or {SR_GRID}. Received: {self.grid!r}")
        for name in ("generator_rate", "lattice_share"):
            if self.grid == LR_GRID and getattr(self, name):
                raise CommandFailed(
                    f"`{name}` must be 0 with `grid` {LR_GRID}, whose losses do not reach the SR "
                    f"network. Received: {getattr(self, name)}"
                )
        in_cells = self.content_in_cells
        if not isinstance(in_cells, bool) and not set(in_cells) <= set(self.content_layers):
            raise CommandFailed(
                "`content_in_cells` must be true, false or some of `content_layers` "
                f"({', '.join(self.content_layers)}). Received: {in_cells}"
            )
        names = ("pixel_share", "colour_share", "lattice_share", "adversarial_share")
        if not any(self.content_scales) and not any(getattr(self, name) for name in names):
            shares = ", ".join(f"`{name}`" for name in names)
            raise CommandFailed(f"{shares} or `content_scales` must be above 0. Received: none.")

    @property
    def has_content(self) -> bool:
        """Whether there is a content loss."""
        return any(self.content_scales)

    @property
    def needs_content(self) -> bool:
        """Whether a loss sees features of VGG-19: that of content, or the discriminator's."""
        return self.has_content or self.adversarial_share > 0


@dataclass(frozen=True)
class TeacherSettings:
    """Table `[teacher]`: a network whose SR is the target of a share of the patches.

    `teacher_share` in `[training]` is something else: a run's own weights teach it.
    """

    name: str
    licence: str  # of its weights; the card of the result states it
    share: float  # of the patches of a batch; the others have HR as target
    patches: int  # number of patches that the teacher upscales
    source: str = ""  # where the network is from
    card: str | None = None  # of its frozen graph; None: its outputs are files made elsewhere

    def __post_init__(self) -> None:
        check_shares(self, ("share",))
        if self.patches < 1:
            raise CommandFailed(f"`patches` must be 1 or more. Received: {self.patches}")

    @property
    def origin(self) -> dict[str, str]:
        """Name, licence and source, as a card states them."""
        return {"name": self.name, "licence": self.licence, "source": self.source}


@dataclass(frozen=True)
class Recipe:
    """All settings of one training run."""

    generator: Architecture
    data: DataSettings
    training: TrainingSettings
    adversarial: AdversarialSettings | None = None
    degradation: Degradation | None = None
    restorer: RestorerArchitecture | None = None
    restoring: RestoringSettings | None = None
    processes: tuple[DegradationProcess, ...] = ()
    teacher: TeacherSettings | None = None

    def __post_init__(self) -> None:
        if self.degradation is not None and self.processes:
            raise CommandFailed("A recipe must have [degradation] or [[processes]], not both.")
        if (self.restorer is None) != (self.restoring is None):
            raise CommandFailed("A recipe must have both [restorer] and [restoring], or neither.")
        if self.restorer is not None and (self.adversarial or self.training.teacher_share):
            raise CommandFailed(
                "A recipe with [restorer] must have neither [adversarial] nor a `teacher_share`, "
                "which are for generators. Received: one of them."
            )
        if self.restorer is not None and self.data.patch % self.restorer.stride:
            raise CommandFailed(
                f"`patch` must be a multiple of {self.restorer.stride}, the restorer's stride. "
                f"Received: {self.data.patch}"
            )

    @property
    def degrader(self) -> AnyDegradation | None:
        """How LR is made from HR; None for bicubic interpolation only."""
        return DegradationMix(self.processes) if self.processes else self.degradation

    def choose_processes(self, name: str | None = None) -> DegradationMix:
        """Return all processes of the recipe, or only the one with a name.

        Raises:
            CommandFailed: if the recipe has no processes, or none of this name.
        """
        chosen = tuple(process for process in self.processes if name in (None, process.name))
        if not chosen:
            wanted = "[[processes]]" if name is None else f"a process `{name}`"
            raise CommandFailed(
                f"The recipe must have {wanted}. "
                f"Received: {', '.join(process.name for process in self.processes) or 'none'}."
            )
        return DegradationMix(chosen)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of the update after `step` others."""
        settings = self.restoring or self.adversarial
        first = 0 if settings is None else settings.discriminator_first
        return self.training.learning_rate_at(step, first)

    def as_dict(self) -> dict:
        """Return all settings in JSON's types."""
        settings: dict = json.loads(json.dumps(asdict(self)))
        return settings


def describe_weights(recipe: Recipe, photographs: int, teacher: dict | None = None) -> str:
    """Return one sentence: what the weights are, and what they were trained on.

    Args:
        recipe: recipe of the run.
        photographs: number of photographs that it was trained on.
        teacher: name, licence and source of the teacher, if there was one.
    """
    if recipe.restorer is not None:
        return describe_restorer(photographs, teacher)
    losses = "with a pixel loss only (not adversarially)"
    if recipe.adversarial is not None:
        losses = "adversarially, with a content loss,"
    pictures = "clean pictures that were made smaller by bicubic interpolation"
    if recipe.degrader is not None:
        pictures = "small pictures from the wild: blurred, noisy, compressed as JPEG, or clean"
    drawings = f" and {recipe.data.drawings} drawings" if recipe.data.drawings else ""
    return (
        f"SRResNet, the generator of SRGAN, trained here {losses} on {photographs} photographs "
        f"under free licences{drawings}, for {pictures}."
    )


def describe_tuned(photographs: int) -> str:
    """Return one sentence about an SR network that was tuned along with a restorer."""
    return (
        "SRResNet, the generator of SRGAN, tuned here to pictures that were restored before, "
        f"together with their restorer, on {photographs} photographs under free licences."
    )


def describe_restorer(photographs: int, teacher: dict | None) -> str:
    """Return one sentence: what a restorer does, and what it was trained on."""
    distilled = "" if teacher is None else f", distilled from {teacher['name']}"
    return (
        "U-Net that cleans a picture on its own grid (blur, noise, compression) before it is "
        f"upscaled, trained here on {photographs} photographs under free licences{distilled}."
    )


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML, or from JSON as it is stored in a run's folder.

    Raises:
        CommandFailed: if a setting is unknown, missing or invalid.
    """
    text = path.read_text(encoding="utf-8")
    tables = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    try:
        return Recipe(
            generator=Architecture(**tables["generator"]),
            data=DataSettings(**tables["data"]),
            training=TrainingSettings(**tables["training"]),
            adversarial=read_table(AdversarialSettings, tables.get("adversarial")),
            degradation=read_table(Degradation, tables.get("degradation")),
            restorer=read_table(RestorerArchitecture, tables.get("restorer")),
            restoring=read_table(RestoringSettings, tables.get("restoring")),
            processes=tuple(read_process(table) for table in tables.get("processes", ())),
            teacher=read_table(TeacherSettings, tables.get("teacher")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(f"{path} is not a recipe: {error}") from error


def read_table(kind, settings):
    """Return the settings of an optional table as a `kind`; None if the table is absent."""
    return None if settings is None else kind(**settings)


def read_process(settings):
    """Return a table of `[[processes]]` with its rounds."""
    rounds = tuple(DegradationRound(**table) for table in settings["rounds"])
    return DegradationProcess(**(settings | {"rounds": rounds}))
