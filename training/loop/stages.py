"""The two stages of training: what one step does to which networks.

A stage is built of plain Keras models that are trained with `train_on_batch`, so the
same code runs on every Keras backend.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import keras
import numpy as np
from keras import ops

from training.errors import CommandFailed
from training.loop.recipe import AdversarialSettings, Recipe
from training.models.adversaries import (
    ContentDistance,
    Shift,
    build_discriminator,
    crop,
    draw_start,
)
from training.models.losses import LatticeDistance, PixelLoss, TextureDistance
from training.models.networks import SCALE

Losses = dict[str, float]  # not a number: one that was not computed

DISCRIMINATOR = "discriminator"  # its group of variables, in a checkpoint
GENERATOR_LOSSES = ("pixel", "content", "adversarial", "lattice", "texture")  # second stage


class Stage(Protocol):
    """One way to train a generator."""

    generator: keras.Model

    def update(self, lr: np.ndarray, hr: np.ndarray, learning_rate: float) -> Losses:
        """One step on a batch of unit float32 patches; the losses before it."""

    def variables(self) -> dict[str, list]:
        """All state, in named groups, for a checkpoint."""


class PixelStage:
    """Stage one: the difference of pixels, and Adam."""

    def __init__(self, generator: keras.Model, loss: PixelLoss) -> None:
        self.generator = generator
        generator.compile(keras.optimizers.Adam(), loss, jit_compile=uses_xla())
        generator.optimizer.build(generator.trainable_variables)

    def update(self, lr: np.ndarray, hr: np.ndarray, learning_rate: float) -> Losses:
        self.generator.optimizer.learning_rate = learning_rate
        return {"pixel": train_on_batch(self.generator, lr, hr)[0]}

    def variables(self) -> dict[str, list]:
        return {
            "generator": self.generator.weights,
            "optimizer": self.generator.optimizer.variables,
        }


class AdversarialStage:
    """Stage two: content, adversarial and pixel loss, against a discriminator in training.

    The generator plays against a copy of the discriminator, refreshed before every
    step, which is not trainable and so stays what it is during the generator's step.

    Args:
        generator: to be trained.
        settings: what is weighed, and how.
        content: what compares pictures; it stays what it is.

    Source: Ledig et al. 2017, arXiv:1609.04802, eq. 2, 3 and 6.
    """

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
        self.opponent = build_discriminator(settings.discriminator_filters, normalised=False)
        self.opponent.trainable = False
        distance = ContentDistance(settings.content_layers, name="content")
        compare = partial(compare_content, content, distance, settings.content_scales)
        self.game = build_game(generator, self.opponent, compare)
        self.game.compile(
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
        self.game.optimizer.build(self.game.trainable_variables)

    def update(self, lr: np.ndarray, hr: np.ndarray, learning_rate: float) -> Losses:
        settings = self.settings
        self.discriminator.optimizer.learning_rate = settings.discriminator_rate * learning_rate
        self.game.optimizer.learning_rate = learning_rate
        step = int(ops.convert_to_numpy(self.discriminator.optimizer.iterations))
        start = draw_start(step)  # of the pictures of this step, for all that look at them
        judged = self._update_discriminator(lr, hr, start)
        if step < settings.discriminator_first:
            return judged | dict.fromkeys(GENERATOR_LOSSES, math.nan)
        return judged | self._update_generator(lr, hr, start)

    def _update_discriminator(self, lr, hr, start):
        sr = np.asarray(self.generator.predict_on_batch(lr))
        pictures = crop(np.concatenate([hr, sr]), start)
        shape = (len(hr), *self.discriminator.compute_output_shape(pictures.shape)[1:])
        targets = np.concatenate([np.ones(shape, np.float32), np.zeros(shape, np.float32)])
        return {"discriminator": train_on_batch(self.discriminator, pictures, targets)[0]}

    def _update_generator(self, lr, hr, start):
        copy_values(self.discriminator.trainable_variables, self.opponent.variables)
        shape = (len(hr), *self.opponent.compute_output_shape(crop(hr, start).shape)[1:])
        nought = np.zeros((len(hr), 1), np.float32)
        targets = [hr, nought, np.ones(shape, np.float32), nought, nought]
        inputs = [lr, hr, np.tile(start, (len(hr), 1))]
        _, *losses = train_on_batch(self.game, inputs, targets)
        return dict(zip(GENERATOR_LOSSES, losses, strict=True))

    def variables(self) -> dict[str, list]:
        return {
            "generator": self.generator.weights,
            "optimizer": self.game.optimizer.variables,
            DISCRIMINATOR: self.discriminator.weights,
            "discriminator_optimizer": self.discriminator.optimizer.variables,
        }


def build_game(generator: keras.Model, opponent: keras.Model, compare: Callable) -> keras.Model:
    """(LR, HR, start) -> SR, content distance, the opponent's logits, lattice, texture distance.

    All but the lattice see the pictures from `start` on, see `Shift`.
    """
    lr, hr = keras.Input((None, None, 3), name="lr"), keras.Input((None, None, 3), name="hr")
    start = keras.Input((2,), dtype="int32", name="start")
    sr = generator(lr)
    shift = Shift(dtype="float32", name="shift")
    seen = shift(sr, start)
    truth = shift(hr, start)
    lattice = LatticeDistance(SCALE, name="lattice")(sr, hr)
    texture = TextureDistance(name="texture")(seen, truth)
    outputs = [sr, compare(seen, truth), opponent(seen), lattice, texture]
    return keras.Model([lr, hr, start], outputs, name="game")


def compare_content(
    features: keras.Model, distance: ContentDistance, weights: Sequence[float], sr, hr
):
    """Content distance of SR from HR (B, H, W, 3), (B, 1): a weighted sum over scales.

    The first weight is that of the pictures as they are, each that follows that of pictures
    half as wide and high. Coarse features have places that LR does tell, and see further;
    compared at one scale only, what is right on the whole counts for little.

    Source: Wang et al. 2003, "Multi-scale structural similarity", sec. 3 (scales).
    """
    scales = zip(weights, pyramid(sr), pyramid(hr), strict=False)  # pyramids have no end
    return sum(weight * distance(features(s), features(h)) for weight, s, h in scales if weight)


def pyramid(pictures):
    """Pictures (B, H, W, C), then half as wide and high again and again."""
    while True:
        yield pictures
        pictures = ops.average_pool(pictures, 2, strides=2)


def train_on_batch(model: keras.Model, inputs, targets) -> list[float]:
    """One update; the total loss, then the unweighted loss of each output if several."""
    model.reset_metrics()  # or Keras returns means over all batches so far
    return [float(loss) for loss in np.atleast_1d(model.train_on_batch(inputs, targets))]


def copy_values(source: list, target: list) -> None:
    """Give every variable the value of its counterpart, a variable or an array.

    A copy of it: JAX hands the memory of a model's variables on when it trains the model.
    """
    for variable, value in zip(target, source, strict=True):
        variable.assign(ops.copy(value))


def build_stage(generator: keras.Model, recipe: Recipe, content: keras.Model | None) -> Stage:
    """The stage that a recipe asks for.

    Raises:
        CommandFailed: if the second stage is asked for without what it compares with.
    """
    if recipe.adversarial is None:
        settings = recipe.training
        loss = PixelLoss(settings.pixel_epsilon, settings.chroma_weight, settings.log_floor)
        return PixelStage(generator, loss)
    if content is None:
        raise CommandFailed("A recipe with [adversarial] must get content features.")
    return AdversarialStage(generator, recipe.adversarial, content)


def uses_xla() -> bool:
    """XLA makes JAX what it is, and TensorFlow slower on a CPU."""
    return keras.backend.backend() == "jax"


def as_arrays(variables: list) -> list[np.ndarray]:
    return [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]
