from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.images import resize_bicubic
from core.pixels import uint8_from_unit, unit_from_uint8
from tests.support.stand_ins import noise
from training.loop.recipe import RestoringSettings
from training.loop.restoring import EDGE, RestoringStage, reduce_to_lr, trim
from training.models.adversaries import build_content_features, crop, draw_start
from training.models.networks import build_generator
from training.models.restorer import RestorerArchitecture, build_restorer

pytestmark = pytest.mark.usefixtures("uncompiled")

SMALL = RestorerArchitecture(filters=(4, 8), blocks=(1, 1))
LR_STAGE = RestoringSettings(
    grid="lr",
    pixel_share=0.5,
    content_scales=(1.0,),
    adversarial_share=0.25,
    discriminator_filters=4,
)
SR_STAGE = replace(LR_STAGE, grid="sr", content_scales=(0.0, 1.0), pixel_pool=2)
COLOUR_STAGE = RestoringSettings(
    grid="lr", pixel_share=0.0, content_scales=(0.0,), colour_share=1.0
)
LATTICE_STAGE = RestoringSettings(
    grid="sr", pixel_share=0.0, content_scales=(0.0,), lattice_share=1.0
)
EVERY_LOSS = replace(SR_STAGE, colour_share=0.5, lattice_share=0.5, generator_rate=0.5)
PATCH = 32  # LR px


@pytest.fixture
def batch():
    """LR with noise, HR, and targets that are a little darker than HR."""
    hr = np.stack([resize_bicubic(noise(6, 6, seed=n), 4 * PATCH, 4 * PATCH) for n in range(2)])
    lr = np.stack([resize_bicubic(picture, PATCH, PATCH) for picture in hr])
    grain = np.random.default_rng(0).normal(0, 0.05, lr.shape)
    hr = unit_from_uint8(hr)
    return np.float32(unit_from_uint8(lr) + grain), hr, np.float32(0.8 * hr)


@pytest.fixture(scope="module")
def content(perceptual_folder):
    return build_content_features(perceptual_folder, LR_STAGE.content_layers)


def begin(recipe, content, settings):
    keras.utils.set_random_seed(0)
    generator = build_generator(recipe.generator)
    return RestoringStage(build_restorer(SMALL), settings, content, generator)


@pytest.fixture(scope="module", params=[LR_STAGE, SR_STAGE], ids=["lr", "sr"])
def stage(request, recipe, content):
    """A stage shared by tests, in any state, because building one takes a second."""
    return begin(recipe, content, request.param)


def weights_of(model):
    return [weight.copy() for weight in model.get_weights()]


def differ(before, after):
    return any(not np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def update(stage, batch, learning_rate=1e-3):
    lr, hr, target = batch
    return stage.update(lr, hr, learning_rate, target)


def test_one_step_trains_restorer_and_discriminator_and_nothing_else(stage, content, batch):
    enlarging = stage.compared.layers[-1]
    networks = [stage.generator, stage.judge.get_layer("head"), content]
    networks += [enlarging] if enlarging is not stage.generator else []
    before = [weights_of(network) for network in networks]
    losses = update(stage, batch)
    after = [weights_of(network) for network in networks]
    changed = [differ(b, a) for b, a in zip(before, after, strict=True)]
    assert changed == [True, True, False, False][: len(changed)]
    assert set(losses) == {"pixel", "content", "adversarial", "discriminator"}
    assert all(loss > 0 for loss in losses.values())


@pytest.mark.thorough
@pytest.mark.usefixtures("compiled")
def test_a_compiled_step_is_as_one_that_is_not(recipe, content, batch):
    stage = begin(recipe, content, EVERY_LOSS)
    before = weights_of(stage.generator)
    losses = update(stage, batch)
    assert len(losses) == 6
    assert differ(before, weights_of(stage.generator))
    tf.config.run_functions_eagerly(True)
    assert losses == pytest.approx(update(begin(recipe, content, EVERY_LOSS), batch), rel=1e-3)


def test_the_losses_compare_the_target_on_their_grid(stage, batch):
    lr, _, target = batch
    step = int(np.asarray(stage.steps))
    losses = update(stage, batch, learning_rate=0.0)
    reference = target if stage.scale == 4 else reduce_to_lr(target)
    views = [
        crop(trim(pictures), draw_start(step))
        for pictures in (np.asarray(stage.compared(lr)), reference)
    ]
    if stage.settings.pixel_pool == 2:
        views = [v.reshape(2, v.shape[1] // 2, 2, -1, 2, 3).mean(axis=(2, 4)) for v in views]
    assert losses["pixel"] == pytest.approx(np.abs(views[0] - views[1]).mean(), rel=1e-3)


def test_without_a_target_hr_is_the_target(stage, batch):
    lr, hr, _ = batch
    step = int(np.asarray(stage.steps))
    alone = stage.update(lr, hr, 0.0)
    stage.steps.assign(step)
    assert alone["pixel"] == pytest.approx(stage.update(lr, hr, 0.0, hr)["pixel"])


def test_the_discriminator_takes_hr_for_real_and_not_the_target(stage, batch, monkeypatch):
    lr, hr, target = batch
    seen = []
    monkeypatch.setattr(
        "training.loop.restoring.train_on_batch",
        lambda _model, inputs, _targets: seen.append(inputs) or [1.0] * 5,
    )
    step = int(np.asarray(stage.steps))
    stage.update(lr, hr, 1e-3, target)
    real = hr if stage.scale == 4 else reduce_to_lr(hr)
    np.testing.assert_array_equal(seen[0][:2], crop(trim(real), draw_start(step)))


def test_the_critic_is_a_copy_of_the_current_discriminator(stage, batch):
    update(stage, batch)
    judge, critic = (model.get_layer("head") for model in (stage.judge, stage.critic))
    assert not differ(weights_of(judge), weights_of(critic))


def test_each_loss_has_its_share(stage):
    names = ("pixel", "content", "adversarial")
    shares = [stage.combined.get_layer(f"{name}_gradient").share for name in names]
    assert shares == [0.5, 1.0, 0.25]


@pytest.mark.usefixtures("compiled")
def test_training_makes_the_pixel_loss_smaller(recipe, batch):
    settings = RestoringSettings(grid="lr", pixel_share=1.0, content_scales=(0.0,))
    stage = begin(recipe, None, settings)
    lr, hr, _ = batch
    losses = [stage.update(lr, hr, 2e-3)["pixel"] for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_the_discriminator_is_trained_alone_at_first_and_then_seldom(recipe, content, batch):
    settings = replace(
        LR_STAGE, content_scales=(0.0,), discriminator_first=2, discriminator_every=3
    )
    stage = begin(recipe, content, settings)
    trained = []
    for _ in range(7):
        networks = (stage.generator, stage.judge.get_layer("head"))
        before = [weights_of(network) for network in networks]
        losses = update(stage, batch)
        changed = [differ(b, weights_of(n)) for b, n in zip(before, networks, strict=True)]
        assert changed == [not np.isnan(losses[name]) for name in ("pixel", "discriminator")]
        trained.append(tuple(changed))
    both, restorer, judge = (True, True), (True, False), (False, True)
    assert trained == [judge, judge, restorer, both, restorer, restorer, both]


def test_the_sr_network_is_tuned_at_a_share_of_the_rate(recipe, batch):
    moved = {}
    for rate in (1.0, 0.25):
        settings = RestoringSettings(grid="sr", content_scales=(0.0,), generator_rate=rate)
        stage = begin(recipe, None, settings)
        before = weights_of(stage.tuned)
        update(stage, batch)
        moved[rate] = [a - b for a, b in zip(weights_of(stage.tuned), before, strict=True)]
    assert max(np.abs(step).max() for step in moved[1.0]) > 5e-4
    for whole, quarter in zip(moved[1.0], moved[0.25], strict=True):
        np.testing.assert_allclose(quarter, 0.25 * whole, atol=1e-6)


def test_the_content_layers_must_hold_the_one_that_the_discriminator_sees(recipe, content):
    settings = replace(SR_STAGE, content_layers=("conv1_2", "conv3_1"))
    with pytest.raises(ValueError, match="`content_layers` must hold conv2_2"):
        begin(recipe, content, settings)


def test_pictures_are_reduced_as_clean_lr_is_made():
    hr = unit_from_uint8(noise(32, 48)[None])
    expected = resize_bicubic(uint8_from_unit(hr[0]), 8, 12)
    np.testing.assert_array_equal(uint8_from_unit(reduce_to_lr(hr)[0]), expected)


def test_edges_are_left_out_so_that_the_rest_is_a_multiple_of_eight():
    pictures = np.zeros((1, 64, 72, 3))
    pictures[0, EDGE, EDGE] = 1
    trimmed = trim(pictures)
    assert trimmed[0, 0, 0, 0] == 1
    assert [side % 8 for side in crop(trimmed, np.array([7, 7])).shape[1:3]] == [0, 0]


def test_colours_are_compared_with_hr_and_not_with_the_target(recipe, batch):
    stage = begin(recipe, None, COLOUR_STAGE)
    lr, hr, target = batch
    losses = [stage.update(lr, hr, 1e-3, target)["colour"] for _ in range(12)]
    assert losses[-1] < losses[0] < np.mean(np.square(hr - target))


def test_what_repeats_with_lr_pixels_is_compared_with_the_target(recipe, batch):
    stage = begin(recipe, None, LATTICE_STAGE)
    lr, hr, target = batch
    alone = stage.update(lr, hr, 0.0, target)["lattice"]
    worse = stage.update(lr, hr, 0.0, np.clip(target + canvas(target.shape), 0, 1))["lattice"]
    assert 0 < alone < worse


def canvas(shape):
    """A pattern of 4 x 4 px, (B, H, W, 3), in [-0.1, 0.1]."""
    rows, columns = (np.arange(side) % 4 < 2 for side in shape[1:3])
    pattern = np.where(rows[:, None] ^ columns, 0.1, -0.1)
    return np.broadcast_to(pattern[None, :, :, None], shape).astype(np.float32)
