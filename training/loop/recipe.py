"""A recipe: every setting of a training run, read from a TOML file.

Each table of the file has a dataclass here or, for `[generator]` and `[degradation]`,
beside the code that it configures. A recipe with `[adversarial]` is one of the second
stage. With `[degradation]`, LR is made from HR by a random degradation; without, by
bicubic interpolation.
"""

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from training import CommandFailed
from training.data.degradation import Degradation
from training.models.networks import Architecture


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

    def __post_init__(self) -> None:
        if not any(self.content_scales):
            raise ValueError(
                "`content_scales` must hold a weight other than 0. "
                f"Received: {list(self.content_scales)}"
            )


@dataclass(frozen=True)
class Recipe:
    """All settings of one training run."""

    generator: Architecture
    data: DataSettings
    training: TrainingSettings
    adversarial: AdversarialSettings | None = None
    degradation: Degradation | None = None

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of the update after `step` others."""
        first = 0 if self.adversarial is None else self.adversarial.discriminator_first
        return self.training.learning_rate_at(step, first)

    def as_dict(self) -> dict:
        """Return all settings in JSON's types."""
        settings: dict = json.loads(json.dumps(asdict(self)))
        return settings


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
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(f"{path} is not a recipe: {error}") from error


def read_table(kind, settings):
    """Return the settings of an optional table as a `kind`; None if the table is absent."""
    return None if settings is None else kind(**settings)
