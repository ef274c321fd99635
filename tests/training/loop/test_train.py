import csv
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

import core.runtime.machine
from config import ROOT
from tests.support.photographs import rows_of
from tests.support.states import assert_same_state, state
from training.data.drawings import SIDE_PX, draw_pictures
from training.data.photos import read_manifest
from training.loop.recipe import TeacherSettings
from training.loop.run import CHECKPOINT, start_run
from training.loop.train import load_training, share_batches, teach, train, use_precision
from training.models.networks import Architecture

TINY_SR = Architecture(filters=8, blocks=1, x2_filters=8, x4_filters=4)


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


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    recipe, photos_folder, tmp_path
):
    recipe = replace(recipe, training=replace(recipe.training, decay_steps=1))
    train(recipe, photos_folder, tmp_path / "uninterrupted", max_minutes=1)
    train(until(recipe, 11), photos_folder, tmp_path / "resumed", max_minutes=1)
    # The 11th step was the last one of the shorter recipe, but at the full learning rate.
    train(recipe, photos_folder, tmp_path / "resumed", max_minutes=1)
    step, uninterrupted = state(tmp_path / "uninterrupted")
    resumed_step, resumed = state(tmp_path / "resumed")
    assert step == resumed_step == 20
    for expected, received in zip(uninterrupted, resumed, strict=True):
        np.testing.assert_array_equal(received, expected)


def test_the_moving_average_differs_from_the_weights(recipe, photos_folder, tmp_path):
    run = train(recipe, photos_folder, tmp_path, max_minutes=1)
    weights = run.generator.get_weights()
    assert any(not np.array_equal(a, w) for a, w in zip(run.ema, weights, strict=True))


def test_training_stops_at_the_time_limit(recipe, photos_folder, tmp_path):
    assert train(recipe, photos_folder, tmp_path, max_minutes=0).step == 0
    assert (tmp_path / CHECKPOINT).exists()


def test_drawings_are_trained_on_among_the_photographs_at_every_size(recipe, photos_folder):
    data = replace(recipe.data, sizes=(1.0, 0.5), drawings=2)
    photos = read_manifest(photos_folder)[:3]
    pairs = load_training(photos, data)
    sides = [pair.hr.shape[1] for pair in pairs]
    assert sides == [64, 32] * 3 + [SIDE_PX, SIDE_PX // 2] * 2
    np.testing.assert_array_equal(pairs[6].hr, draw_pictures(1, data.seed)[0])


@pytest.mark.thorough
def test_a_run_with_a_degradation_is_resumed(recipe, degradation, photos_folder, tmp_path):
    wild = replace(until(recipe, 10), degradation=degradation)
    train(wild, photos_folder, tmp_path, max_minutes=1)
    assert train(until(wild, 11), photos_folder, tmp_path, max_minutes=1).step == 11
    with pytest.raises(ValueError, match=r"another \[degradation\]"):
        start_run(replace(wild, degradation=None), tmp_path)


def test_validation_pictures_are_degraded_always_in_the_same_way(
    recipe, degradation, photos_folder, tmp_path
):
    noisy = replace(degradation, noise_sigma=[40.0, 40.0])
    # With a learning rate of zero, the same weights are validated twice.
    still = replace(until(recipe, 20), training=replace(recipe.training, learning_rate=0.0))
    clean = validation_psnr(still, photos_folder, tmp_path / "clean")
    wild = validation_psnr(replace(still, degradation=noisy), photos_folder, tmp_path / "wild")
    assert clean[0] == clean[1]
    assert wild[0] == wild[1] < clean[0] - 1


def validation_psnr(recipe, photos_folder, folder):
    train(recipe, photos_folder, folder, max_minutes=1)
    with (folder / "log.csv").open() as file:
        return [float(line["validation_psnr_y_db"]) for line in csv.DictReader(file)]


@pytest.fixture
def through_sr(restorer_recipe):
    """A recipe of a restorer that is trained through an SR network, which is tuned along."""
    stage = replace(restorer_recipe.restoring, grid="sr", generator_rate=0.5)
    return replace(until(restorer_recipe, 20), restoring=stage)


@pytest.mark.parametrize("grid", ["lr", pytest.param("sr", marks=pytest.mark.thorough)])
def test_a_resumed_run_of_a_restorer_ends_as_an_uninterrupted_one(
    restorer_recipe, through_sr, run_folder, larger_photos, tmp_path, grid
):
    recipe = until(restorer_recipe if grid == "lr" else through_sr, 20)
    for name, lengths in {"uninterrupted": [20], "resumed": [11, 20]}.items():
        for steps in lengths:
            folder = tmp_path / name
            train(until(recipe, steps), larger_photos, folder, 5, through=[run_folder])
    assert_same_state(tmp_path / "resumed", tmp_path / "uninterrupted")


def test_a_restorer_is_validated_through_every_network_on_every_degradation(
    restorer_recipe, restorer_folder, run_folder, other_folder, larger_photos, tmp_path
):
    name = run_folder.resolve().name
    log = rows_of(restorer_folder / "log.csv")[-1]
    figures = [f"validation_psnr_y_db_{kind}_{name}" for kind in ("noisy", "clean")]
    assert {"step", "pixel", "learning_rate", *figures} == log.keys()
    assert all(15 < float(log[figure]) < 60 for figure in figures)
    short = until(restorer_recipe, 1)
    train(short, larger_photos, tmp_path, 5, through=[run_folder, other_folder])
    columns = rows_of(tmp_path / "log.csv")[0].keys()
    assert sum(column.endswith(f"clean_{other_folder.name}") for column in columns) == 1
    with pytest.raises(ValueError, match="must have folders of different names"):
        train(short, larger_photos, tmp_path / "twice", 5, through=[run_folder, run_folder])


def test_a_restorer_needs_an_sr_network_of_the_architecture_in_its_recipe(
    restorer_recipe, run_folder, larger_photos, tmp_path
):
    with pytest.raises(ValueError, match=r"\(--through\). Received: none"):
        train(restorer_recipe, larger_photos, tmp_path, 1)
    other = replace(restorer_recipe, generator=replace(TINY_SR, filters=16))
    with pytest.raises(ValueError, match=r"must hold a run with the \[generator\] of the recipe"):
        train(other, larger_photos, tmp_path, 5, through=[run_folder])


def test_a_restorer_is_resumed_with_the_same_sr_network(
    restorer_recipe, restorer_folder, other_folder, larger_photos
):
    with pytest.raises(ValueError, match="must be resumed with the SR networks that it began"):
        train(restorer_recipe, larger_photos, restorer_folder, 5, through=[other_folder])


@pytest.fixture
def taught(recipe, card_path, degradation):
    settings = TeacherSettings("tiny", "CC0", share=0.5, patches=5, card=str(card_path))
    return replace(until(recipe, 3), teacher=settings, degradation=degradation)


def test_a_network_learns_from_the_graph_of_a_teacher(taught, photos_folder, tmp_path):
    teach(taught, photos_folder, tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "sr").iterdir())) == 5
    run = train(taught, photos_folder, tmp_path / "run", 1, teacher=tmp_path / "cache")
    assert run.step == 3
    teach(taught, photos_folder, tmp_path / "cache")  # is complete already
    other = replace(taught, data=replace(taught.data, seed=99))
    with pytest.raises(ValueError, match="Received: a cache with another seed"):
        teach(other, photos_folder, tmp_path / "cache")


def test_a_recipe_with_a_teacher_needs_a_cache(taught, recipe, photos_folder, tmp_path):
    with pytest.raises(ValueError, match=r"\(--teacher\). Received: none"):
        train(taught, photos_folder, tmp_path / "run", 1)
    with pytest.raises(ValueError, match=r"The recipe must have \[teacher\]"):
        teach(recipe, photos_folder, tmp_path / "cache")


TWO_DEVICES = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.mark.parametrize(
    ("cpu_info", "policy"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_bf16\n", "mixed_bfloat16"),
        ("processor : 0\nflags\t\t: fpu amx_bf16\n", "mixed_bfloat16"),
        ("processor : 0\nflags\t\t: fpu avx2\nbugs : avx512_bf16\n", "float32"),
        (None, "float32"),
    ],
)
def test_precision_follows_the_processor(monkeypatch, tmp_path, cpu_info, policy):
    path = tmp_path / "cpuinfo"
    if cpu_info is not None:
        path.write_text(cpu_info)
    monkeypatch.setattr(core.runtime.machine, "CPU_INFO", path)
    assert use_precision("auto") == policy
    assert keras.mixed_precision.global_policy().name == policy


def test_an_accelerator_computes_in_bfloat16(monkeypatch, tmp_path):
    monkeypatch.setattr(core.runtime.machine, "CPU_INFO", tmp_path / "nowhere")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    assert use_precision("auto") == "mixed_bfloat16"


def test_a_recipe_can_state_a_precision():
    assert use_precision("mixed_bfloat16") == "mixed_bfloat16"


def test_backends_other_than_jax_use_one_device():
    assert share_batches(7) == 1


def in_a_process_of_two_devices(code):
    command = [sys.executable, "-c", code]
    environ = os.environ | TWO_DEVICES | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_a_batch_that_cannot_be_divided_is_refused():
    ended = in_a_process_of_two_devices(
        "from training.loop.train import share_batches\n"
        "assert share_batches(4) == 2\n"
        "share_batches(3)\n"
    )
    assert "multiple of the number of devices, 2. Received: 3" in ended.stderr
