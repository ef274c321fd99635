from dataclasses import replace

import keras
import numpy as np
import pytest

from core.images import resize_bicubic
from tests.support.stand_ins import noise, repeat
from tests.support.states import assert_same_state
from training.data.patches import orient, orient_back
from training.loop.mix import mix
from training.loop.recipe import AdversarialSettings
from training.loop.run import start_run
from training.loop.stages import (
    GENERATOR_LOSSES,
    AdversarialStage,
    PixelStage,
    Teacher,
    build_stage,
    copy_values,
    train_on_batch,
)
from training.loop.train import train
from training.models.adversaries import (
    build_content_features,
    crop,
)
from training.models.networks import build_generator

pytestmark = pytest.mark.usefixtures("uncompiled")

ADVERSARIAL = AdversarialSettings(
    pixel_weight=0.1, content_weight=0.1, adversarial_weight=0.01, discriminator_filters=4
)


LAYERS = ADVERSARIAL.content_layers


@pytest.fixture
def batch():
    """An LR and an HR batch of smooth pictures."""
    lr = np.stack([noise(8, 8, seed=seed) for seed in range(2)]).astype(np.float32) / 255
    return lr, np.stack([repeat(picture) for picture in lr])


@pytest.fixture(scope="module")
def content(perceptual_folder):
    return build_content_features(perceptual_folder, LAYERS)


def begin(recipe, content, settings=ADVERSARIAL):
    keras.utils.set_random_seed(0)
    return AdversarialStage(build_generator(recipe.generator), settings, content)


@pytest.fixture(scope="module")
def stage(recipe, content):
    """A stage shared by tests, in any state, because building one takes a second."""
    return begin(recipe, content)


def weights_of(model):
    return [weight.copy() for weight in model.get_weights()]


def differ(before, after):
    return any(not np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def test_both_networks_see_the_same_part_of_the_pictures(recipe, content, batch, monkeypatch):
    """The critic and the discriminator give the same logits for the same part of a picture."""
    stage = AdversarialStage(build_generator(recipe.generator), ADVERSARIAL, content)
    lr, hr = batch
    seen = []
    monkeypatch.setattr(
        "training.loop.stages.train_on_batch",
        lambda _model, inputs, _targets: seen.append(inputs) or [0] * 6,
    )
    stage.update(lr, hr, 1e-4)
    pictures, (_, _, start) = seen
    sr, _, logits, *_ = stage.combined([lr, hr, start])
    np.testing.assert_array_equal(pictures, crop(np.concatenate([hr, sr]), start[0]))
    shown = stage.discriminator(pictures[len(hr) :])
    np.testing.assert_allclose(np.asarray(logits), np.asarray(shown), rtol=1e-4, atol=1e-4)


def test_the_discriminator_can_have_another_learning_rate(stage, batch, monkeypatch):
    monkeypatch.setattr(stage, "settings", replace(ADVERSARIAL, discriminator_rate=2.5))
    stage.update(*batch, 1e-3)
    assert float(stage.combined.optimizer.learning_rate) == pytest.approx(1e-3)
    assert float(stage.discriminator.optimizer.learning_rate) == pytest.approx(2.5e-3)


def test_one_step_trains_generator_and_discriminator_and_nothing_else(stage, batch):
    features = stage.combined.get_layer("content_features")
    before = [weights_of(m) for m in (stage.generator, stage.discriminator, features)]
    losses = stage.update(*batch, 1e-3)
    after = [weights_of(m) for m in (stage.generator, stage.discriminator, features)]
    assert [differ(b, a) for b, a in zip(before, after, strict=True)] == [True, True, False]
    assert set(losses) == {"discriminator", *GENERATOR_LOSSES}
    assert all(loss > 0 for loss in losses.values())


def test_the_discriminator_can_be_trained_alone_at_first(stage, batch, monkeypatch):
    done = int(np.asarray(stage.discriminator.optimizer.iterations))
    settings = replace(ADVERSARIAL, discriminator_first=done + 1)
    monkeypatch.setattr(stage, "settings", settings)
    networks = (stage.generator, stage.discriminator)
    before = [weights_of(m) for m in networks]
    alone = stage.update(*batch, 1e-3)
    after = [weights_of(m) for m in networks]
    assert [differ(b, a) for b, a in zip(before, after, strict=True)] == [False, True]
    together = stage.update(*batch, 1e-3)
    assert differ(after[0], weights_of(stage.generator))
    assert set(alone) == set(together)
    assert {name for name in alone if np.isnan(alone[name])} == set(alone) - {"discriminator"}


def test_the_critic_is_a_copy_of_the_current_discriminator(stage, batch):
    stage.update(*batch, 1e-3)
    trained = [np.asarray(v) for v in stage.discriminator.trainable_variables]
    assert not differ(trained, weights_of(stage.critic))


def test_losses_are_those_of_the_last_batch(stage, batch):
    lr, hr = batch
    stage.update(lr, 1 - hr, 0.0)
    second = stage.update(lr, hr, 0.0)
    sr = np.asarray(stage.generator(lr))
    assert second["pixel"] == pytest.approx(np.abs(sr - hr).mean(), rel=1e-3)


def test_every_loss_counts_with_its_weight(recipe, content, batch, monkeypatch):
    weights = (2.0, 3.0, 0.5, 5.0, 7.0)
    names = [f"{name}_weight" for name in GENERATOR_LOSSES]
    stage = begin(recipe, content, replace(ADVERSARIAL, **dict(zip(names, weights, strict=True))))
    totals = []

    def train_and_record(model, inputs, targets):
        totals.append(train_on_batch(model, inputs, targets))
        return totals[-1]

    monkeypatch.setattr("training.loop.stages.train_on_batch", train_and_record)
    losses = stage.update(*batch, 0.0)
    (_, (total, *_)) = totals
    weighted = [w * losses[n] for w, n in zip(weights, GENERATOR_LOSSES, strict=True)]
    assert min(weighted) > 0
    assert total == pytest.approx(sum(weighted), rel=1e-3)


def test_epsilon_makes_large_pixel_differences_count_more(recipe, content, batch):
    stage = begin(recipe, content, replace(ADVERSARIAL, pixel_epsilon=0.1))
    lr, hr = batch
    losses = stage.update(lr, hr, 0.0)
    difference = np.asarray(stage.generator(lr)) - hr
    charbonnier = np.mean(np.sqrt(difference**2 + 0.1**2) - 0.1)
    assert losses["pixel"] == pytest.approx(charbonnier, rel=1e-3)


@pytest.mark.thorough
@pytest.mark.usefixtures("compiled")
def test_the_discriminator_learns_to_distinguish_hr_from_sr(recipe, content, batch):
    """The generator must not change, or the result depends on which network learns faster."""
    faster = replace(ADVERSARIAL, discriminator_rate=1e6)
    stage = begin(recipe, content, faster)
    lr, hr = batch
    losses = [stage.update(lr, 1 - hr, 2e-9)["discriminator"] for _ in range(30)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_all_weights_are_copied(recipe):
    source, target = (build_generator(recipe.generator) for _ in range(2))
    assert differ(weights_of(source), weights_of(target))
    copy_values(source.variables, target.variables)
    assert not differ(weights_of(source), weights_of(target))


def test_the_recipe_chooses_the_stage(recipe, content):
    generator = build_generator(recipe.generator)
    weighted = replace(recipe.training, pixel_epsilon=0.2, chroma_weight=0.3)
    first = build_stage(generator, replace(recipe, training=weighted), None)
    assert isinstance(first, PixelStage)
    loss = first.generator.loss.get_config()
    assert (loss["epsilon"], loss["chroma_weight"]) == (0.2, 0.3)
    second = replace(recipe, adversarial=ADVERSARIAL)
    assert isinstance(build_stage(generator, second, content), AdversarialStage)
    with pytest.raises(ValueError, match="content features"):
        build_stage(generator, second, None)


@pytest.mark.thorough
@pytest.mark.usefixtures("compiled")
def test_the_second_stage_starts_from_the_first_and_resumes_exactly(
    recipe, run_folder, photos_folder, perceptual_folder, content, tmp_path
):
    training = replace(recipe.training, decay_steps=1, steps=9)
    second = replace(recipe, training=training, adversarial=ADVERSARIAL)
    options = {"perceptual": perceptual_folder, "start_from": run_folder}

    new_run = start_run(second, tmp_path / "new", content=content, start_from=run_folder)
    first_ema = start_run(recipe, run_folder).ema
    assert not differ(first_ema, new_run.generator.get_weights())

    train(second, photos_folder, tmp_path / "uninterrupted", 1, **options)
    short = replace(second, training=replace(training, steps=4))
    train(short, photos_folder, tmp_path / "resumed", 1, **options)
    train(second, photos_folder, tmp_path / "resumed", 1, **options)
    assert_same_state(tmp_path / "resumed", tmp_path / "uninterrupted")


def test_a_run_starts_from_the_discriminator_of_another_run(recipe, content, tmp_path):
    second = replace(recipe, adversarial=ADVERSARIAL)
    before = start_run(second, tmp_path / "before", content=content)
    before.save()
    trained = weights_of(before.stage.discriminator)
    mix({tmp_path / "before": 1.0}, tmp_path / "mixed")
    for folder in ("before", "mixed"):
        again = replace(second, data=replace(recipe.data, seed=recipe.data.seed + 1))
        options = {"content": content, "start_from": tmp_path / folder}
        new_run = start_run(again, tmp_path / f"after {folder}", **options)
        assert not differ(trained, weights_of(new_run.stage.discriminator))
    larger = replace(ADVERSARIAL, discriminator_filters=8)
    options = {"content": content, "start_from": tmp_path / "before"}
    larger_run = start_run(replace(second, adversarial=larger), tmp_path / "larger", **options)
    assert larger_run.stage.discriminator.count_params() > before.stage.discriminator.count_params()


TEACHER_SHARE = 0.6


@pytest.fixture
def pictures():
    hr = np.stack([noise(32, 32, seed=seed) for seed in range(2)])
    lr = np.stack([resize_bicubic(picture, 8, 8) for picture in hr])
    return np.float32(lr / 255), np.float32(hr / 255)


@pytest.fixture
def generator(recipe):
    """An untrained generator, whose SR differs between orientations."""
    return build_generator(recipe.generator)


def upscale_every_orientation(generator, lr):
    """Return the SR of every orientation, each turned back."""
    ways = [(turns, mirrored) for turns in range(4) for mirrored in range(2)]
    return [orient_back(generator.predict_on_batch(orient(lr, *way)), *way) for way in ways]


def test_the_target_mixes_hr_with_the_sr_of_one_orientation(generator, pictures):
    lr, hr = pictures
    orientations = upscale_every_orientation(generator, lr)
    teacher = Teacher(generator, TEACHER_SHARE, seed=1)
    chosen = set()
    for step in range(40):
        mixed = teacher.mix(lr, hr, step)
        assert (mixed.shape, mixed.dtype) == (hr.shape, np.float32)
        teacher_sr = (mixed - (1 - TEACHER_SHARE) * hr) / TEACHER_SHARE
        distances = [np.abs(teacher_sr - sr).max() for sr in orientations]
        assert min(distances) < 1e-5
        assert sorted(distances)[1] > 1e-3
        chosen.add(int(np.argmin(distances)))
    assert chosen == set(range(8))


def test_the_step_determines_the_target_of_the_teacher(generator, pictures):
    first, again = (Teacher(generator, TEACHER_SHARE, seed=1).mix(*pictures, 5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
