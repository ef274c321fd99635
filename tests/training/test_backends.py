"""Runs in a separate process: killed, on another backend, on two devices."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from config import ROOT
from tests.support.recipes import as_toml
from tests.support.states import state
from tests.support.waiting import wait_until
from training.loop.recipe import AdversarialSettings
from training.loop.run import CHECKPOINT
from training.loop.train import train

pytestmark = pytest.mark.thorough

TIMEOUT_S = 300  # compiling takes minutes on a busy machine
ADVERSARIAL = AdversarialSettings(
    pixel_weight=0.1,
    content_weight=0.1,
    adversarial_weight=1e-6,  # backends initialise the discriminator differently
    discriminator_filters=4,
)
TWO_DEVICES = {
    "KERAS_BACKEND": "jax",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # optimizing takes longer than these few steps
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
}


@pytest.fixture
def start(tmp_path, photos_folder):
    """Start a run in a separate process."""

    def start(recipe, run_folder, *options, **environ):
        path = tmp_path / "recipe.toml"
        path.write_text(as_toml(recipe))
        command = [sys.executable, "-m", "training", "train", path]
        command += ["--photos", photos_folder, "--run", run_folder, *options]
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environ, stderr=subprocess.PIPE, text=True
        )

    return start


def finish(process):
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors


def test_a_killed_run_ends_as_an_uninterrupted_one(recipe, photos_folder, start, tmp_path):
    training = replace(recipe.training, steps=400, validate_every=40)
    recipe = replace(recipe, training=training)
    killed = start(recipe, tmp_path / "killed")
    wait_until((tmp_path / "killed" / CHECKPOINT).exists, TIMEOUT_S)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    step, _ = state(tmp_path / "killed")
    assert 0 < step < 400
    finish(start(recipe, tmp_path / "killed"))
    train(recipe, photos_folder, tmp_path / "uninterrupted", max_minutes=10)
    step, uninterrupted = state(tmp_path / "uninterrupted")
    resumed_step, resumed = state(tmp_path / "killed")
    assert step == resumed_step == 400
    for expected, received in zip(uninterrupted, resumed, strict=True):
        np.testing.assert_array_equal(received, expected)


def test_two_devices_of_another_backend_train_as_one_does(
    recipe, run_folder, photos_folder, perceptual_folder, start, tmp_path
):
    second = replace(recipe, adversarial=ADVERSARIAL)
    options = {"perceptual": perceptual_folder, "start_from": run_folder}
    train(second, photos_folder, tmp_path / "one", max_minutes=10, **options)
    arguments = [f"--{name.replace('_', '-')}={path}" for name, path in options.items()]
    finish(start(second, tmp_path / "two", *arguments, **TWO_DEVICES))
    one, two = last_line(tmp_path / "one"), last_line(tmp_path / "two")
    assert two.keys() == one.keys() >= {"content", "validation_lpips_sq"}
    for name in ("pixel", "content", "validation_psnr_y_db", "validation_lpips_sq"):
        assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-2)


def last_line(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))[-1]
