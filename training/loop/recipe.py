"""A recipe: every number of a training run, read from a TOML file."""

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from training.data.degradation import Degradation
from training.errors import CommandFailed
from training.models.networks import Architecture


@dataclass(frozen=True)
class DataSettings:
    """What a batch is made of."""

    patch: int  # side of a LR patch, px
    batch: int  # patches in a batch
    seed: int
    sizes: tuple[float, ...] = (1.0,)  # of HR: shares of a photograph's sides, each is used
    drawings: int = 0  # pictures drawn by the program, among the photographs

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
    """How the weights are found."""

    steps: int
    warmup_steps: int  # learning rate rises linearly from zero
    learning_rate: float  # of Adam, between warm-up and decay
    decay_steps: int  # learning rate falls linearly to zero over the last steps
    ema_momentum: float  # of the moving average of the weights, per step
    precision: str  # a Keras dtype policy, or "auto"; see `training.loop.train`
    validate_every: int  # steps
    pixel_epsilon: float = 0.0  # of the pixel loss, unit range; see `training.models.losses`
    chroma_weight: float | None = None  # of the pixel loss, to that of luma; None: RGB alike
    log_floor: float | None = None  # of the pixel loss: a logarithm of each patch, from here on
    teacher_share: float = 0.0  # of what is learned: the word of what a run begins with

    def __post_init__(self) -> None:
        if not 0 <= self.teacher_share <= 1:
            raise ValueError(f"`teacher_share` must be in [0, 1]. Received: {self.teacher_share}")

    def learning_rate_at(self, step: int, first: int = 0) -> float:
        """Trapezoid: warm-up, constant, decay, so that a run can be prolonged.

        Args:
            step: updates done before.
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
    """What the second stage weighs, and how large its discriminator is."""

    pixel_weight: float
    content_weight: float
    adversarial_weight: float
    discriminator_filters: int  # of its first layer; the last ones have eight times as many
    discriminator_rate: float = 1.0  # learning rate, times the generator's
    discriminator_first: int = 0  # steps in which it learns alone: a judge that knows nothing harms
    lattice_weight: float = 0.0  # of how much the grid of LR shows in SR
    texture_weight: float = 0.0  # of how unlike the strength of texture is
    pixel_epsilon: float = 0.0  # of the pixel loss, unit range; see `training.models.losses`
    content_layers: tuple[str, ...] = ("conv1_2", "conv2_2", "conv3_1")  # of VGG-19, deepest last
    content_scales: tuple[float, ...] = (
        1.0,
    )  # weights: of pictures as they are, their halves, ...

    def __post_init__(self) -> None:
        if not any(self.content_scales):
            raise ValueError(
                "`content_scales` must hold a weight other than 0. "
                f"Received: {list(self.content_scales)}"
            )


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    With `adversarial` it is one of the second stage, with `degradation` one for pictures
    from the wild; without, LR is HR made smaller by bicubic interpolation.
    """

    generator: Architecture
    data: DataSettings
    training: TrainingSettings
    adversarial: AdversarialSettings | None = None
    degradation: Degradation | None = None

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of the update after `step` others."""
        first = 0 if self.adversarial is None else self.adversarial.discriminator_first
        return self.training.learning_rate_at(step, first)

    def as_dict(self) -> dict:
        """All settings, as JSON has them."""
        settings: dict = json.loads(json.dumps(asdict(self)))
        return settings


def read_recipe(path: Path) -> Recipe:
    """Read a recipe in TOML, or in JSON as a run's folder holds it.

    Raises:
        CommandFailed: if a setting is unknown, missing or not what it may be.
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
    """One table; None if it is not there."""
    return None if settings is None else kind(**settings)
