"""The stages of training: what one step does to which networks.

`PixelStage` trains a generator with a pixel loss, `AdversarialStage` against a
discriminator. Both consist of plain Keras models and use `train_on_batch`, so the same
code runs on every Keras backend. A `Teacher` can mix its own SR into the targets of
either stage.
"""

import math
from functools import partial
from typing import Protocol

import keras
import numpy as np
from keras import ops

from training import CommandFailed
from training.data.patches import orient, orient_back
from training.loop.recipe import AdversarialSettings, Recipe
from training.models.adversaries import (
    ContentDistance,
    Shift,
    build_discriminator,
    compare_content,
    crop,
    draw_start,
)
from training.models.losses import LatticeDistance, PixelLoss, TextureDistance
from training.models.networks import SCALE

DISCRIMINATOR = "discriminator"  # name of the discriminator's group of arrays in a checkpoint
GENERATOR_LOSSES = ("pixel", "content", "adversarial", "lattice", "texture")
"""Losses of the second stage, in the order of the combined model's outputs."""

Losses = dict[str, float]
"""Losses of a step by name; NaN for one that was not computed."""


class Stage(Protocol):
    """One way to train a network.

    Attributes:
        generator: the network: a generator, or a restorer.
        tuned: SR network that is trained along with a restorer; None for none.
    """

    generator: keras.Model
    tuned: keras.Model | None

    def update(
        self, lr: np.ndarray, hr: np.ndarray, learning_rate: float, target: np.ndarray | None = None
    ) -> Losses:
        """Take one step on a batch of unit float32 patches; return the losses before it.

        Args:
            lr: (B, h, w, 3).
            hr: (B, 4h, 4w, 3).
            learning_rate: learning rate of the network.
            target: what the network is to learn, (B, 4h, 4w, 3); None for HR.
        """

    def variables(self) -> dict[str, list]:
        """Return the whole state, in named groups, for a checkpoint."""


def build_stage(generator: keras.Model, recipe: Recipe, content: keras.Model | None) -> Stage:
    """Return the stage that a recipe asks for.

    Args:
        generator: network to train.
        recipe: settings of the run.
        content: VGG-19 features for the second stage; None for the first.

    Raises:
        CommandFailed: if the recipe is one of the second stage and `content` is None.
    """
    if recipe.adversarial is None:
        settings = recipe.training
        loss = PixelLoss(settings.pixel_epsilon, settings.chroma_weight, settings.log_floor)
        return PixelStage(generator, loss)
    if content is None:
        raise CommandFailed("A recipe with [adversarial] must get content features.")
    return AdversarialStage(generator, recipe.adversarial, content)


class PixelStage:
    """Stage one: a pixel loss, minimised by Adam."""

    tuned = None

    def __init__(self, generator: keras.Model, loss: PixelLoss) -> None:
        self.generator = generator
        generator.compile(keras.optimizers.Adam(), loss, jit_compile=uses_xla())
        generator.optimizer.build(generator.trainable_variables)

    def update(
        self, lr: np.ndarray, hr: np.ndarray, learning_rate: float, target: np.ndarray | None = None
    ) -> Losses:
        """Take one step on a batch; see `Stage.update`."""
        self.generator.optimizer.learning_rate = learning_rate
        wanted = hr if target is None else target
        return {"pixel": train_on_batch(self.generator, lr, wanted)[0]}

    def variables(self) -> dict[str, list]:
        """Return the generator and its optimizer."""
        return {
            "generator": self.generator.weights,
            "optimizer": self.generator.optimizer.variables,
        }


class AdversarialStage:
    """Stage two: pixel, content, adversarial, lattice and texture loss.

    Every step first updates the discriminator, then copies it to `critic`, a discriminator
    that is not trainable and so stays constant while the generator is updated.

    Args:
        generator: network to train.
        settings: weights of the losses, and the size of the discriminator.
        content: VGG-19 features; they are not trained.

    Source: Ledig et al. 2017, arXiv:1609.04802, eq. 2, 3 and 6.
    """

    tuned = None

    def __init__(
        self, generator: keras.Model, settings: AdversarialSettings, content: keras.Model
    ) -> None:
        self.generator = generator
        self.settings = settings
        self.discriminator = build_discriminator(settings.discriminator_filters)
        self.discriminator.compile(
            keras.optimizers.Adam(),
            keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=uses_xla(),
        )
        self.discriminator.optimizer.build(self.discriminator.trainable_variables)
        self.critic = build_discriminator(settings.discriminator_filters, normalised=False)
        self.critic.trainable = False
        self.combined = build_combined_model(generator, self.critic, content, settings)
        compile_combined_model(self.combined, settings)

    def update(
        self, lr: np.ndarray, hr: np.ndarray, learning_rate: float, target: np.ndarray | None = None
    ) -> Losses:
        """Take one step on a batch; see `Stage.update`.

        In the first `discriminator_first` steps only the discriminator is trained.
        """
        settings = self.settings
        self.discriminator.optimizer.learning_rate = settings.discriminator_rate * learning_rate
        self.combined.optimizer.learning_rate = learning_rate
        step = int(ops.convert_to_numpy(self.discriminator.optimizer.iterations))
        start = draw_start(step)
        losses = self._update_discriminator(lr, hr, start)
        if step < settings.discriminator_first:
            return losses | dict.fromkeys(GENERATOR_LOSSES, math.nan)
        return losses | self._update_generator(lr, hr if target is None else target, start)

    def _update_discriminator(self, lr, hr, start):
        sr = np.asarray(self.generator.predict_on_batch(lr))
        pictures = crop(np.concatenate([hr, sr]), start)
        shape = (len(hr), *self.discriminator.compute_output_shape(pictures.shape)[1:])
        targets = np.concatenate([np.ones(shape, np.float32), np.zeros(shape, np.float32)])
        return {"discriminator": train_on_batch(self.discriminator, pictures, targets)[0]}

    def _update_generator(self, lr, hr, start):
        copy_values(self.discriminator.trainable_variables, self.critic.variables)
        shape = (len(hr), *self.critic.compute_output_shape(crop(hr, start).shape)[1:])
        zeros = np.zeros((len(hr), 1), np.float32)
        targets = [hr, zeros, np.ones(shape, np.float32), zeros, zeros]
        inputs = [lr, hr, np.tile(start, (len(hr), 1))]
        _, *losses = train_on_batch(self.combined, inputs, targets)
        return dict(zip(GENERATOR_LOSSES, losses, strict=True))

    def variables(self) -> dict[str, list]:
        """Return both networks and their optimizers."""
        return {
            "generator": self.generator.weights,
            "optimizer": self.combined.optimizer.variables,
            DISCRIMINATOR: self.discriminator.weights,
            "discriminator_optimizer": self.discriminator.optimizer.variables,
        }


def build_combined_model(
    generator: keras.Model,
    critic: keras.Model,
    content: keras.Model,
    settings: AdversarialSettings,
) -> keras.Model:
    """Return the model whose outputs are what the generator's losses need.

    (LR, HR, start) -> SR, content distance, the critic's logits, lattice distance, texture
    distance. All but the lattice distance see the pictures from `start` on; see `Shift`.
    """
    lr, hr = keras.Input((None, None, 3), name="lr"), keras.Input((None, None, 3), name="hr")
    start = keras.Input((2,), dtype="int32", name="start")
    distance = ContentDistance(settings.content_layers, name="content")
    compare = partial(compare_content, content, distance, settings.content_scales)
    sr = generator(lr)
    shift = Shift(dtype="float32", name="shift")
    sr_view, hr_view = shift(sr, start), shift(hr, start)
    lattice = LatticeDistance(SCALE, name="lattice")(sr, hr)
    texture = TextureDistance(name="texture")(sr_view, hr_view)
    outputs = [sr, compare(sr_view, hr_view), critic(sr_view), lattice, texture]
    return keras.Model([lr, hr, start], outputs, name="combined")


def compile_combined_model(combined: keras.Model, settings: AdversarialSettings) -> None:
    """Give the combined model its weighted losses and its optimizer."""
    combined.compile(
        keras.optimizers.Adam(),
        loss=[
            PixelLoss(settings.pixel_epsilon),
            "mean_absolute_error",
            keras.losses.BinaryCrossentropy(from_logits=True),
            "mean_absolute_error",
            "mean_absolute_error",
        ],
        loss_weights=[
            settings.pixel_weight,
            settings.content_weight,
            settings.adversarial_weight,
            settings.lattice_weight,
            settings.texture_weight,
        ],
        jit_compile=uses_xla(),
    )
    combined.optimizer.build(combined.trainable_variables)


class Teacher:
    """Mixes the SR of a constant network into the training target (self-distillation).

    The teacher is the network that a run started from. It upscales every LR patch in a
    random one of eight orientations. The mean of its SR over all eight is closer to HR than
    each alone (by 0.13 dB here), but takes eight times the work. A network that learns the
    teacher's SR of random orientations approaches that mean at no cost. In addition, the
    teacher's SR holds no detail that cannot be told from LR, which is noise to a network
    that learns from HR, so fewer steps are needed.

    Args:
        generator: the teacher's network, which is not trained.
        share: weight of the teacher's SR in the target, in (0, 1]; HR has the rest.
        seed: together with the step, it determines the orientation.

    Source: Hinton et al. 2015, arXiv:1503.02531 (teachers); Timofte et al. 2016,
    arXiv:1511.02228, sec. 3.5 (the mean over orientations).
    """

    def __init__(self, generator: keras.Model, share: float, seed: int) -> None:
        self.generator = generator
        self._share, self._seed = share, seed

    def mix(self, lr: np.ndarray, hr: np.ndarray, step: int) -> np.ndarray:
        """Return the target for LR (B, h, w, 3) and HR (B, 4h, 4w, 3), in the shape of HR."""
        turns, mirrored = np.random.default_rng((self._seed, step)).integers((4, 2))
        turned = orient(lr, turns, mirrored)
        sr = np.asarray(self.generator.predict_on_batch(turned))
        return (1 - self._share) * hr + self._share * orient_back(sr, turns, mirrored)


def train_on_batch(model: keras.Model, inputs, targets) -> list[float]:
    """Update a model once.

    Returns:
        The total loss, followed by the unweighted loss of each output if there are several.
    """
    model.reset_metrics()  # or Keras returns means over all batches so far
    return [float(loss) for loss in np.atleast_1d(model.train_on_batch(inputs, targets))]


def copy_values(source: list, target: list) -> None:
    """Assign to every target variable a copy of its source, a variable or an array.

    The copy matters: when JAX trains a model, it reuses the memory of its variables.
    """
    for variable, value in zip(target, source, strict=True):
        variable.assign(ops.copy(value))


def uses_xla() -> bool:
    """Return whether to compile with XLA: fast with JAX, slower with TensorFlow on a CPU."""
    return keras.backend.backend() == "jax"


def as_arrays(variables: list) -> list[np.ndarray]:
    """Return the values of variables."""
    return [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]
