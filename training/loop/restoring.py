"""The stage that trains a restorer.

The losses compare pictures on one of two grids:

- the LR grid: the restored picture with the target reduced to LR by bicubic interpolation;
- the SR grid: the restored picture, enlarged by a published SR network, with the target. The
  gradient goes through the SR network into the restorer. The SR network stays as it is, or is
  tuned along at a share of the restorer's learning rate.

The target is HR or a teacher's SR. HR is what the discriminator takes for real in both cases.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from core.images import resize_bicubic
from core.pixels import uint8_from_unit, unit_from_uint8
from training import CommandFailed
from training.loop.recipe import SR_GRID, RestoringSettings
from training.loop.stages import (
    DISCRIMINATOR,
    Losses,
    as_arrays,
    copy_values,
    train_on_batch,
    uses_xla,
)
from training.models.adversaries import (
    ContentDistance,
    Shift,
    average,
    compare_content,
    crop,
    draw_start,
)
from training.models.losses import PixelDistance, UnitGradient, repeated_block
from training.models.networks import SCALE
from training.models.restorer import JUDGED_LAYERS, build_judge

COLOUR_CELL = 4  # LR px a side of the cells whose mean colours are compared
EDGE = 4  # px of the compared grid that losses leave out on each side: few pixels see them
BETA_1, BETA_2 = 0.9, 0.99  # of Adam; a shorter memory of squares than usual suits short runs
JUDGE_BETA_1 = 0.5  # of the discriminator's Adam; Radford et al. 2016, arXiv:1511.06434, sec. 3
PIXEL, CONTENT, ADVERSARIAL = "pixel", "content", "adversarial"
COLOUR, LATTICE = "colour", "lattice"
SQUARED = 0.5  # epsilon of `PixelLoss`, well above the differences: the squared error


class RestoringStage:
    """Pixel, content and adversarial loss of a restorer, on the grid of LR or SR.

    Each loss sees the compared picture through a layer that gives its gradient a length; see
    `UnitGradient` and `RestoringSettings`.

    Args:
        restorer: network to train.
        settings: grid and shares of the losses, and the discriminator.
        content: VGG-19 features; they are not trained. None if no loss needs them.
        sr_network: network that enlarges restored pictures; used on the SR grid only. With a
            `generator_rate` its weights change.

    Source: Wang et al. 2021, Real-ESRGAN, arXiv:2107.10833, sec. 3.4 (the three losses).
    """

    def __init__(
        self,
        restorer: keras.Model,
        settings: RestoringSettings,
        content: keras.Model | None,
        sr_network: keras.Model,
    ) -> None:
        self.generator = restorer
        self.settings = settings
        self.tuned = sr_network if settings.generator_rate else None
        self.steps = keras.Variable(0, dtype="int32", trainable=False, name="steps")
        sr_network.trainable = self.tuned is not None
        self._content = content
        self.compared = build_compared(restorer, sr_network, settings)
        self.judge = self.critic = None
        if settings.adversarial_share:
            self.judge, self.critic = self._build_judges()
        self.combined, names = self._build_combined()
        self._distances = len(names)
        adversarial = [] if self.judge is None else [ADVERSARIAL, DISCRIMINATOR]
        self._losses = [*names, *adversarial]

    def update(
        self, lr: np.ndarray, hr: np.ndarray, learning_rate: float, target: np.ndarray | None = None
    ) -> Losses:
        """Take one step on a batch; see `Stage.update`.

        In the first `discriminator_first` steps only the discriminator is trained.
        """
        step = int(ops.convert_to_numpy(self.steps))
        self.steps.assign(step + 1)
        start = draw_start(step)
        losses = dict.fromkeys(self._losses, math.nan)
        if self._trains_judge(step):
            self.judge.optimizer.learning_rate = self.settings.discriminator_rate * learning_rate
            losses[DISCRIMINATOR] = self._update_judge(lr, self._on_grid(hr), start)
        if self.judge is None or step >= self.settings.discriminator_first:
            self.combined.optimizer.learning_rate = learning_rate
            real = self._on_grid(hr)
            reference = real if target is None else self._on_grid(target)
            losses |= self._update_restorer(lr, reference, real, start)
        return losses

    def _trains_judge(self, step):
        settings = self.settings
        is_first = step < settings.discriminator_first
        return self.judge is not None and (is_first or step % settings.discriminator_every == 0)

    def variables(self) -> dict[str, list]:
        """Return all trained networks, their optimizers, and the number of steps."""
        groups = {
            "generator": self.generator.weights,
            "optimizer": self.combined.optimizer.variables,
            "steps": [self.steps],
        }
        if self.tuned is not None:
            groups["tuned"] = self.tuned.weights
        if self.judge is not None:
            groups[DISCRIMINATOR] = self.judge.get_layer("head").weights
            groups["discriminator_optimizer"] = self.judge.optimizer.variables
        return groups

    @property
    def scale(self) -> int:
        """Pixels a side of a compared picture for one LR pixel."""
        return SCALE if self.settings.grid == SR_GRID else 1

    def _on_grid(self, pictures):
        """Return pictures (B, 4H, 4W, 3), unit, on the grid of the losses."""
        return pictures if self.settings.grid == SR_GRID else reduce_to_lr(pictures)

    def _update_judge(self, lr, real, start):
        fake = np.asarray(self.compared.predict_on_batch(lr))
        views = crop(trim(np.concatenate([real, fake])), start)
        shapes = [(len(real), *shape[1:]) for shape in self.judge.compute_output_shape(views.shape)]
        targets = [np.concatenate([np.ones(s, "float32"), np.zeros(s, "float32")]) for s in shapes]
        return train_on_batch(self.judge, views, targets)[0] / len(shapes)

    def _update_restorer(self, lr, reference, real, start):
        inputs = [lr, reference, real, np.tile(start, (len(lr), 1))]
        targets = [np.zeros((len(lr), 1), np.float32)] * self._distances
        if self.critic is not None:
            copy_values(self.judge.get_layer("head").weights, self.critic.get_layer("head").weights)
            shapes = self.critic.compute_output_shape(crop(trim(reference), start).shape)
            targets += [np.ones((len(lr), *shape[1:]), np.float32) for shape in shapes]
        tuned = [] if self.tuned is None else self.tuned.trainable_variables
        before = as_arrays(tuned)
        total, *losses = train_on_batch(self.combined, inputs, targets)
        self._shorten_steps(tuned, before)
        losses = losses or [total]
        distances, logits = losses[: self._distances], losses[self._distances :]
        if logits:
            distances.append(float(np.mean(logits)))
        return dict(zip(self._losses, distances, strict=False))

    def _shorten_steps(self, tuned, before):
        """Take back a part of the SR network's step: its rate is a share of the restorer's.

        A step of Adam is proportional to the learning rate, so this is the same as a smaller
        rate for these weights.
        """
        for variable, old in zip(tuned, before, strict=True):
            new = ops.convert_to_numpy(variable)
            variable.assign(old + self.settings.generator_rate * (new - old))

    def _build_judges(self):
        """Return the discriminator, and a copy that is not trained while the restorer is."""
        features = pick_layer(
            self._content, self.settings.content_layers, JUDGED_LAYERS[self.scale]
        )
        filters = self.settings.discriminator_filters
        judge, critic = (build_judge(features, filters, self.scale) for _ in range(2))
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        judge.compile(
            keras.optimizers.Adam(beta_1=JUDGE_BETA_1, beta_2=BETA_2),
            [loss, loss],
            jit_compile=uses_xla(),
        )
        judge.optimizer.build(judge.trainable_variables)
        critic.trainable = False
        return judge, critic

    def _build_combined(self):
        """Return the model (LR, reference, real, start) -> distances and logits, and their names.

        Only distances have names; the logits come after them.
        """
        names = ("lr", "reference", "real")
        lr, reference, real = pictures = [keras.Input((None, None, 3), name=n) for n in names]
        start = keras.Input((2,), dtype="int32", name="start")
        view = View(name="view")
        seen, wanted = view(self.compared(lr), start), view(reference, start)
        distances, logits = self._compare(seen, wanted, view(real, start)), []
        if self.critic is not None:
            share = self.settings.adversarial_share
            logits = self.critic(UnitGradient(share, name="adversarial_gradient")(seen))
        combined = keras.Model([*pictures, start], [*distances.values(), *logits])
        adversarial = keras.losses.BinaryCrossentropy(from_logits=True)
        combined.compile(
            keras.optimizers.Adam(beta_1=BETA_1, beta_2=BETA_2),
            ["mean_absolute_error"] * len(distances) + [adversarial] * len(logits),
            jit_compile=uses_xla(),
        )
        combined.optimizer.build(combined.trainable_variables)
        return combined, list(distances)

    def _compare(self, seen, wanted, real):
        """Return the distances of pictures from their target, and from HR, by loss."""
        settings, distances = self.settings, {}
        if settings.colour_share:
            unit = UnitGradient(settings.colour_share, name="colour_gradient")(seen)
            means = [average(pictures, self.scale * COLOUR_CELL) for pictures in (unit, real)]
            distances[COLOUR] = PixelDistance(SQUARED, name=COLOUR)(*means)
        if settings.lattice_share:
            unit = UnitGradient(settings.lattice_share, name="lattice_gradient")(seen)
            blocks = [repeated_block(pictures, self.scale) for pictures in (unit, wanted)]
            distances[LATTICE] = PixelDistance(SQUARED, name=LATTICE)(*blocks)
        if settings.pixel_share:
            pictures = [UnitGradient(settings.pixel_share, name="pixel_gradient")(seen), wanted]
            pool = settings.pixel_pool
            pooled = [ops.average_pool(picture, pool, strides=pool) for picture in pictures]
            distances[PIXEL] = PixelDistance(settings.pixel_epsilon, name=PIXEL)(*pooled)
        if settings.has_content:
            in_cells = settings.content_in_cells
            compare = ContentDistance(settings.content_layers, in_cells=in_cells, name=CONTENT)
            unit = UnitGradient(1.0, name="content_gradient")(seen)
            scales = settings.content_scales
            distances[CONTENT] = compare_content(self._content, compare, scales, unit, wanted)
        return distances


def build_compared(
    restorer: keras.Model, sr_network: keras.Model, settings: RestoringSettings
) -> keras.Model:
    """Return the network from LR to the picture that the losses compare, on their grid."""
    lr = keras.Input((None, None, 3), name="lr")
    restored = restorer(lr)
    return keras.Model(lr, sr_network(restored) if settings.grid == SR_GRID else restored)


def pick_layer(content: keras.Model, names: Sequence[str], name: str) -> keras.Model:
    """Return the network to one layer of VGG-19, part of the content features.

    Raises:
        CommandFailed: if the features lack the layer.
    """
    if name not in names:
        raise CommandFailed(
            f"`content_layers` must hold {name}, which the discriminator sees. "
            f"Received: {list(names)}"
        )
    return keras.Model(content.input, content.outputs[list(names).index(name)])


class View(layers.Layer):
    """The part of pictures (B, H, W, 3) that losses see: without edges, from `start` on."""

    def __init__(self, **kwargs):
        super().__init__(**({"dtype": "float32"} | kwargs))
        self._shift = Shift(dtype="float32")

    def call(self, pictures, start):
        """Crop pictures; see `trim` and `Shift`."""
        return self._shift(trim(pictures), start)

    def compute_output_shape(self, pictures_shape, start_shape):
        """Return the shape of the cropped pictures."""
        batch, height, width, channels = pictures_shape
        sides = [side if side is None else side - 2 * EDGE - 1 for side in (height, width)]
        return self._shift.compute_output_shape((batch, *sides, channels), start_shape)


def trim(pictures):
    """Return pictures (B, H, W, 3) without their edges.

    One row and one column more are left out at the end, so that sides which are multiples of
    `SHIFTS` are so again after `crop`.
    """
    return pictures[:, EDGE : -EDGE - 1, EDGE : -EDGE - 1]


def reduce_to_lr(pictures: np.ndarray) -> np.ndarray:
    """Reduce (B, 4H, 4W, 3), unit float32, to (B, H, W, 3) as clean LR is made from HR."""
    height, width = (side // SCALE for side in pictures.shape[1:3])
    return unit_from_uint8(
        np.stack([resize_bicubic(uint8_from_unit(p), height, width) for p in pictures])
    )
