import re
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.random_networks import VGG_SHAPES, random_vgg
from tests.support.stand_ins import noise, repeat
from training.loop.mix import mix
from training.loop.recipe import AdversarialSettings
from training.loop.run import CHECKPOINT, start_run
from training.loop.stages import (
    GENERATOR_LOSSES,
    AdversarialStage,
    PixelStage,
    build_stage,
    copy_values,
    train_on_batch,
)
from training.loop.train import train
from training.models.adversaries import (
    SHIFTS,
    ContentDistance,
    Shift,
    build_content_features,
    build_discriminator,
    compare_content,
    crop,
    direction,
    draw_start,
    stride_of,
)
from training.models.networks import build_generator

ADVERSARIAL = AdversarialSettings(
    pixel_weight=0.1, content_weight=0.1, adversarial_weight=0.01, discriminator_filters=4
)
LAYERS = ADVERSARIAL.content_layers


@pytest.fixture
def batch():
    """A LR and a HR batch of smooth pictures."""
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
    """In whatever state the test before has left it: to compile one takes seconds."""
    return begin(recipe, content)


def weights_of(model):
    return [weight.copy() for weight in model.get_weights()]


def differ(before, after):
    return any(not np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def test_the_content_features_are_those_of_vgg_19(perceptual_folder):
    weights = random_vgg()
    features = build_content_features(perceptual_folder, LAYERS)
    rgb = np.random.default_rng(1).random((1, 12, 16, 3), np.float32)
    received = dict(zip(LAYERS, map(np.asarray, features(rgb)), strict=True))
    x = rgb[0]
    for name in VGG_SHAPES:
        x = convolve(x, weights[f"{name}/kernel"], weights[f"{name}/bias"])
        if name != "rgb_to_caffe":
            x = np.maximum(x, 0)
        if name in LAYERS:
            np.testing.assert_allclose(received.pop(name)[0], x, rtol=1e-3, atol=1e-3)
        if name in ("conv1_2", "conv2_2"):
            height, width, channels = x.shape
            x = x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
    assert x.shape == (3, 4, 256)
    assert not received


@pytest.mark.parametrize("names", [["conv1_2", "conv5_4"], []])
def test_layers_that_are_not_there_are_told(perceptual_folder, names):
    told = f"some of conv1_1, .*, conv3_1. Received: {re.escape(str(names))}"
    with pytest.raises(ValueError, match=told):
        build_content_features(perceptual_folder, names)


def test_an_earlier_layer_may_compare_alone(perceptual_folder):
    features = build_content_features(perceptual_folder, ["conv2_2"])
    assert features.compute_output_shape((1, 16, 24, 3)) == [(1, 8, 12, 128)]


def test_without_a_folder_the_whole_network_is_taken(monkeypatch):
    whole = keras.applications.VGG19
    asked = []

    def untrained(**kwargs):
        asked.append(kwargs["weights"])
        return whole(**(kwargs | {"weights": None}))

    monkeypatch.setattr(keras.applications, "VGG19", untrained)
    features = build_content_features(None, ["conv4_2", "conv1_1"])
    deep, first = features(np.random.default_rng(0).random((2, 32, 32, 3), np.float32))
    assert asked == ["imagenet"]
    assert deep.shape == (2, 4, 4, 512)
    assert first.shape == (2, 32, 32, 64)
    assert not features.trainable_variables


def everywhere(*features):
    """A map of one feature vector."""
    return np.broadcast_to(np.float32(features), (1, 32, 48, 2))


def distance(sr, hr):
    return np.asarray(ContentDistance(["conv1_1"])([sr], [hr])).item()


@pytest.mark.parametrize(
    ("sr", "hr", "expected"),
    [
        ((3, 4), (30, 40), 0),  # the same direction
        ((5, 0), (0, 2), 2),
        ((2, 0), (1, 1), 2 - 2**0.5),
        ((0, 0), (0, 7), 1),  # nothing, instead of something
        ((0, 0), (0, 0), 0),
    ],
)
def test_content_is_compared_by_its_direction(sr, hr, expected):
    assert distance(everywhere(*sr), everywhere(*hr)) == pytest.approx(expected, abs=2e-3)


@pytest.fixture
def stripes():
    """A map whose two features alternate from row to row."""
    features = np.zeros((1, 32, 48, 2), np.float32)
    features[:, ::2, :, 0] = features[:, 1::2, :, 1] = 1
    return features


def test_texture_may_lie_elsewhere_in_its_cell(stripes):
    """What is left is what the deepest map, here the only one, tells place by place."""
    flat, moved, absent = everywhere(0.5, 0.5), stripes[:, ::-1], everywhere(1, 0)
    for other, in_cells in ((flat, 0), (moved, 0), (absent, 2 - 2**0.5)):
        by_place = np.mean(np.sum((direction(stripes) - direction(other)) ** 2, -1))
        assert distance(stripes, other) == pytest.approx((by_place + in_cells) / 2, abs=1e-3)


def test_only_the_deepest_map_is_compared_by_place(stripes):
    moved = stripes[:, ::-1]
    compare = ContentDistance(["conv1_1", "conv1_2"])
    assert np.asarray(compare([stripes, stripes], [moved, stripes])).item() == pytest.approx(0)
    in_the_last = np.asarray(compare([stripes, stripes], [stripes, moved])).item()
    assert in_the_last == pytest.approx(2 / 3, abs=1e-3)  # one of three comparisons


def test_each_picture_is_compared_for_itself(content):
    lr, hr = (np.random.default_rng(n).random((2, 32, 32, 3), np.float32) for n in range(2))
    sr_features, hr_features = content(lr), content(hr)
    whole = np.asarray(ContentDistance(LAYERS)(sr_features, hr_features))
    assert whole.shape == (2, 1)
    of_one = ContentDistance(LAYERS)([f[1:] for f in sr_features], [f[1:] for f in hr_features])
    np.testing.assert_allclose(of_one, whole[1:], rtol=1e-4)


def test_content_is_compared_at_several_scales(content):
    hr = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    finest = np.where(np.indices((32, 48)).sum(0) % 2, 0.1, -0.1)[None, ..., None]
    sr = (hr + finest).astype(np.float32)  # equal as soon as it is halved

    def compare(*weights):
        return float(compare_content(content, ContentDistance(LAYERS), weights, sr, hr)[0, 0])

    whole = compare(1.0)
    assert whole > 1e-3
    assert compare(0.0, 1.0, 1.0) == pytest.approx(0, abs=1e-5)
    assert compare(2.0, 1.0) == pytest.approx(2 * whole, rel=1e-3)


def test_a_scale_without_weight_costs_nothing(content):
    looked_at = []

    def features(pictures):
        looked_at.append(pictures.shape[1:3])
        return content(pictures)

    hr = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    compare_content(features, ContentDistance(LAYERS), (0.0, 1.0, 0.0), hr, hr)
    assert looked_at == [(16, 24)] * 2


@pytest.mark.parametrize(("name", "stride"), [("conv1_2", 1), ("conv2_1", 2), ("conv5_4", 16)])
def test_a_feature_stands_for_as_many_pixels_as_were_pooled(name, stride):
    assert stride_of(name) == stride


def convolve(x, kernel, bias):
    """Zero-padded convolution, straight from its definition."""
    size = len(kernel)
    padded = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    height, width, _ = x.shape
    return bias + sum(
        padded[dy : dy + height, dx : dx + width] @ kernel[dy, dx]
        for dy in range(size)
        for dx in range(size)
    )


def test_a_discriminator_judges_patches():
    assert build_discriminator(4).compute_output_shape((5, 96, 64, 3)) == (5, 12, 8, 1)


def test_a_discriminator_sees_texture_and_no_colour():
    discriminator = build_discriminator(4)
    texture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32) / 4
    darker, lighter = (np.asarray(discriminator(texture + level)) for level in (0.0, 0.5))
    np.testing.assert_allclose(darker, lighter, atol=1e-4)
    assert np.abs(darker - np.asarray(discriminator(texture / 2))).max() > 1e-2


def test_pictures_are_judged_on_another_lattice_at_every_step():
    pictures = np.random.default_rng(0).random((2, 20, 24, 3), np.float32)
    start = np.array([3, 5], np.int32)
    np.testing.assert_array_equal(crop(pictures, start), pictures[:, 3:16, 5:22])
    shifted = np.asarray(Shift()(pictures, np.tile(start, (2, 1))))
    np.testing.assert_array_equal(shifted, crop(pictures, start))
    starts = [draw_start(step) for step in range(50)]
    assert len({tuple(start) for start in starts}) > 25
    assert all(0 <= start.min() <= start.max() < SHIFTS for start in starts)
    assert np.array_equal(starts[7], draw_start(7))


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


def test_the_discriminator_may_learn_at_another_rate(stage, batch, monkeypatch):
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


def test_the_discriminator_may_learn_alone_at_first(stage, batch, monkeypatch):
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


def test_losses_are_those_of_this_batch_not_of_all_so_far(stage, batch):
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

    def train_and_note(model, inputs, targets):
        totals.append(train_on_batch(model, inputs, targets))
        return totals[-1]

    monkeypatch.setattr("training.loop.stages.train_on_batch", train_and_note)
    losses = stage.update(*batch, 0.0)
    (_, (total, *_)) = totals
    weighed = [w * losses[n] for w, n in zip(weights, GENERATOR_LOSSES, strict=True)]
    assert min(weighed) > 0
    assert total == pytest.approx(sum(weighed), rel=1e-3)


def test_large_differences_of_pixels_may_count_more(recipe, content, batch):
    stage = begin(recipe, content, replace(ADVERSARIAL, pixel_epsilon=0.1))
    lr, hr = batch
    losses = stage.update(lr, hr, 0.0)
    difference = np.asarray(stage.generator(lr)) - hr
    charbonnier = np.mean(np.sqrt(difference**2 + 0.1**2) - 0.1)
    assert losses["pixel"] == pytest.approx(charbonnier, rel=1e-3)


def test_the_discriminator_learns_to_tell_the_two_apart(recipe, content, batch):
    """From a generator that stands still, or who of the two learns faster decides."""
    faster = replace(ADVERSARIAL, discriminator_rate=1e6)
    stage = begin(recipe, content, faster)
    lr, hr = batch
    losses = [stage.update(lr, 1 - hr, 2e-9)["discriminator"] for _ in range(30)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_weights_are_copied_completely(recipe):
    source, target = (build_generator(recipe.generator) for _ in range(2))
    assert differ(weights_of(source), weights_of(target))
    copy_values(source.variables, target.variables)
    assert not differ(weights_of(source), weights_of(target))


def test_the_recipe_chooses_the_stage(recipe, content):
    generator = build_generator(recipe.generator)
    weighed = replace(recipe.training, pixel_epsilon=0.2, chroma_weight=0.3)
    first = build_stage(generator, replace(recipe, training=weighed), None)
    assert isinstance(first, PixelStage)
    loss = first.generator.loss.get_config()
    assert (loss["epsilon"], loss["chroma_weight"]) == (0.2, 0.3)
    second = replace(recipe, adversarial=ADVERSARIAL)
    assert isinstance(build_stage(generator, second, content), AdversarialStage)
    with pytest.raises(ValueError, match="content features"):
        build_stage(generator, second, None)


@pytest.mark.thorough
def test_the_second_stage_begins_with_the_first_and_resumes_exactly(
    recipe, run_folder, photos_folder, perceptual_folder, content, tmp_path
):
    training = replace(recipe.training, decay_steps=1, steps=9)
    second = replace(recipe, training=training, adversarial=ADVERSARIAL)
    options = {"perceptual": perceptual_folder, "start_from": run_folder}

    begun = start_run(second, tmp_path / "begun", content=content, start_from=run_folder)
    first_ema = start_run(recipe, run_folder).ema
    assert not differ(first_ema, begun.generator.get_weights())

    train(second, photos_folder, tmp_path / "undisturbed", 1, **options)
    short = replace(second, training=replace(training, steps=4))
    train(short, photos_folder, tmp_path / "resumed", 1, **options)
    train(second, photos_folder, tmp_path / "resumed", 1, **options)
    with (
        np.load(tmp_path / "undisturbed" / CHECKPOINT) as undisturbed,
        np.load(tmp_path / "resumed" / CHECKPOINT) as resumed,
    ):
        assert sorted(resumed.files) == sorted(undisturbed.files)
        for name in resumed.files:
            np.testing.assert_array_equal(resumed[name], undisturbed[name])


def test_a_discriminator_goes_with_its_generator(recipe, content, tmp_path):
    second = replace(recipe, adversarial=ADVERSARIAL)
    before = start_run(second, tmp_path / "before", content=content)
    before.save()
    knowing = weights_of(before.stage.discriminator)
    mix({tmp_path / "before": 1.0}, tmp_path / "mixed")
    for folder in ("before", "mixed"):
        again = replace(second, data=replace(recipe.data, seed=recipe.data.seed + 1))
        options = {"content": content, "start_from": tmp_path / folder}
        begun = start_run(again, tmp_path / f"after {folder}", **options)
        assert not differ(knowing, weights_of(begun.stage.discriminator))
    larger = replace(ADVERSARIAL, discriminator_filters=8)
    options = {"content": content, "start_from": tmp_path / "before"}
    anew = start_run(replace(second, adversarial=larger), tmp_path / "larger", **options)
    assert anew.stage.discriminator.count_params() > before.stage.discriminator.count_params()
