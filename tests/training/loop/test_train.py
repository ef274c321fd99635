import csv
import json
import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.support.states import state
from training.data.drawings import SIDE_PX, draw_pictures
from training.data.photos import read_manifest
from training.loop.run import CHECKPOINT, RECIPE, load_checkpoint, save_checkpoint, start_run
from training.loop.train import load_training, train


@pytest.fixture(autouse=True)
def same_policy_afterwards():
    yield
    keras.mixed_precision.set_global_policy("float32")


def until(recipe, steps):
    return replace(recipe, training=replace(recipe.training, steps=steps, decay_steps=1))


def test_training_makes_the_loss_smaller(recipe, photos_folder, tmp_path):
    train(until(recipe, 60), photos_folder, tmp_path, max_minutes=1)
    with (tmp_path / "log.csv").open() as file:
        losses = [float(line["pixel"]) for line in csv.DictReader(file)]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_a_resumed_run_ends_as_an_undisturbed_one(recipe, photos_folder, tmp_path):
    recipe = replace(recipe, training=replace(recipe.training, decay_steps=1))
    train(recipe, photos_folder, tmp_path / "undisturbed", max_minutes=1)
    train(until(recipe, 11), photos_folder, tmp_path / "resumed", max_minutes=1)
    # The 11th step was the last of the shorter recipe, taken at full rate all the same.
    train(recipe, photos_folder, tmp_path / "resumed", max_minutes=1)
    step, undisturbed = state(tmp_path / "undisturbed")
    resumed_step, resumed = state(tmp_path / "resumed")
    assert step == resumed_step == 20
    for expected, received in zip(undisturbed, resumed, strict=True):
        np.testing.assert_array_equal(received, expected)


def test_the_average_lags_behind_the_weights(recipe, photos_folder, tmp_path):
    run = train(recipe, photos_folder, tmp_path, max_minutes=1)
    weights = run.generator.get_weights()
    assert any(not np.array_equal(a, w) for a, w in zip(run.ema, weights, strict=True))


def test_losses_that_were_not_computed_are_left_out_of_means(recipe, tmp_path):
    run = start_run(recipe, tmp_path)
    run.losses = [{"pixel": 1.0, "content": n} for n in (math.nan, 2.0, 4.0)]
    assert run.pop_mean_losses() == {"pixel": 1.0, "content": 3.0}
    run.losses = [{"content": math.nan}]
    assert math.isnan(run.pop_mean_losses()["content"])


def test_time_may_run_out(recipe, photos_folder, tmp_path):
    assert train(recipe, photos_folder, tmp_path, max_minutes=0).step == 0
    assert (tmp_path / CHECKPOINT).exists()


def test_a_run_of_another_generator_is_not_gone_on_with(recipe, photos_folder, tmp_path):
    train(recipe, photos_folder, tmp_path, max_minutes=0)
    other = replace(recipe, generator=replace(recipe.generator, filters=16))
    with pytest.raises(ValueError, match=r"another \[generator\]"):
        start_run(other, tmp_path)


def test_a_run_of_a_version_with_fewer_settings_is_gone_on_with(recipe, photos_folder, tmp_path):
    train(recipe, photos_folder, tmp_path, max_minutes=0)
    older = json.loads((tmp_path / RECIPE).read_text())
    del older["data"]["sizes"], older["data"]["drawings"], older["degradation"]
    (tmp_path / RECIPE).write_text(json.dumps(older))
    assert start_run(recipe, tmp_path).step == 0


def test_drawings_are_trained_on_among_the_photographs_at_every_size(recipe, photos_folder):
    data = replace(recipe.data, sizes=(1.0, 0.5), drawings=2)
    photos = read_manifest(photos_folder)[:3]
    pairs = load_training(photos, data)
    sides = [pair.hr.shape[1] for pair in pairs]
    assert sides == [64, 32] * 3 + [SIDE_PX, SIDE_PX // 2] * 2
    np.testing.assert_array_equal(pairs[6].hr, draw_pictures(1, data.seed)[0])


def test_a_run_on_degraded_pictures_is_gone_on_with(recipe, degradation, photos_folder, tmp_path):
    wild = replace(until(recipe, 10), degradation=degradation)
    train(wild, photos_folder, tmp_path, max_minutes=1)
    assert train(until(wild, 11), photos_folder, tmp_path, max_minutes=1).step == 11
    with pytest.raises(ValueError, match=r"another \[degradation\]"):
        start_run(replace(wild, degradation=None), tmp_path)


def test_validation_is_on_degraded_pictures_that_are_always_the_same(
    recipe, degradation, photos_folder, tmp_path
):
    noisy = replace(degradation, noise_sigma=[40.0, 40.0])
    # Zero learning rate: the same weights are measured twice, on the first and the last step.
    still = replace(until(recipe, 20), training=replace(recipe.training, learning_rate=0.0))
    clean = validation_psnr(still, photos_folder, tmp_path / "clean")
    wild = validation_psnr(replace(still, degradation=noisy), photos_folder, tmp_path / "wild")
    assert clean[0] == clean[1]
    assert wild[0] == wild[1] < clean[0] - 1


def validation_psnr(recipe, photos_folder, folder):
    train(recipe, photos_folder, folder, max_minutes=1)
    with (folder / "log.csv").open() as file:
        return [float(line["validation_psnr_y_db"]) for line in csv.DictReader(file)]


def test_a_checkpoint_that_is_cut_off_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, 1, {"ema": [np.ones(3)]})

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, 2, {"ema": [np.zeros(3)]})
    step, groups = load_checkpoint(path, ["ema"])
    assert step == 1
    np.testing.assert_array_equal(groups["ema"][0], np.ones(3))


def test_groups_come_back_in_order(tmp_path):
    arrays = [np.full(2, index) for index in range(12)]
    save_checkpoint(tmp_path / CHECKPOINT, 3, {"ema": arrays, "optimizer": arrays[::-1]})
    _, groups = load_checkpoint(tmp_path / CHECKPOINT, ["ema", "optimizer"])
    assert [int(array[0]) for array in groups["ema"]] == list(range(12))
    assert [int(array[0]) for array in groups["optimizer"]] == list(range(12))[::-1]
