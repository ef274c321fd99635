import csv
import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from core.images import encode_png, resize_bicubic
from core.picture import Picture
from tests.support.random_networks import random_squeezenet, random_vgg
from tests.support.stand_ins import noise
from tests.support.web_server import serving
from training.data.degradation import Degradation, DegradationProcess, DegradationRound
from training.evaluation.metrics import WEIGHTS
from training.export import freeze
from training.loop.recipe import DataSettings, Recipe, RestoringSettings, TrainingSettings
from training.loop.train import train
from training.models.adversaries import VGG_WEIGHTS
from training.models.networks import Architecture
from training.models.restorer import RestorerArchitecture

TINY = Recipe(
    generator=Architecture(filters=8, blocks=1, x2_filters=8, x4_filters=4),
    data=DataSettings(patch=8, batch=2, seed=1),
    training=TrainingSettings(
        steps=20,
        warmup_steps=2,
        learning_rate=1e-3,
        decay_steps=4,
        ema_momentum=0.9,
        precision="float32",
        validate_every=10,
    ),
)


NOISY = DegradationProcess(
    "noisy", share=1.0, rounds=(DegradationRound(noise_share=1.0, noise_sigma=(10.0, 20.0)),)
)
RESTORER = replace(
    TINY,
    data=replace(TINY.data, patch=24),
    training=replace(TINY.training, decay_steps=1),
    restorer=RestorerArchitecture(filters=(4, 8), blocks=(1, 1)),
    restoring=RestoringSettings(grid="lr", pixel_share=1.0, content_scales=(0.0,)),
    processes=(NOISY,),
)


@pytest.fixture
def uncompiled():
    """Take steps without compiling them, which takes as long as ten steps do."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def compiled(uncompiled):  # noqa: ARG001, whatever a module asks for
    """Compile steps, as training does."""
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def recipe():
    return TINY


@pytest.fixture(scope="session")
def restorer_recipe():
    """A recipe of a tiny restorer with a pixel loss on the LR grid."""
    return RESTORER


@pytest.fixture
def degradation():
    """A degradation with blur, noise and compression of every patch."""
    return Degradation(
        blur_sigma=[0.2, 1.5],
        noise_sigma=[1.0, 5.0],
        jpeg_quality=[60, 95],
        grey_noise_share=0.4,
        clean_share=0.0,
    )


def write_collection(folder, pictures):
    """Write pictures as a collection."""
    rows = []
    for index, pixels in enumerate(pictures):
        data = encode_png(Picture(pixels))
        (folder / f"{index}.png").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        licence = "CC0" if index % 4 else "CC BY 4.0"
        rows.append({"file": f"{index}.png", "licence": licence, "sha256": sha256})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="session")
def photos_folder(tmp_path_factory):
    """A collection of 40 small smooth pictures, some of them for validation."""
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (6, 8, 3), np.uint8) for _ in range(40)]
    pictures = [pixels.repeat(8, axis=0).repeat(8, axis=1) for pixels in coarse]
    return write_collection(tmp_path_factory.mktemp("photos"), pictures)


@pytest.fixture(scope="session")
def larger_photos(tmp_path_factory):
    """A collection of 6 smooth pictures, large enough for patches of restorers."""
    pictures = [resize_bicubic(noise(6, 8, seed=seed), 112, 144) for seed in range(6)]
    return write_collection(tmp_path_factory.mktemp("larger"), pictures)


@pytest.fixture(scope="session")
def perceptual_folder(tmp_path_factory):
    """Random weights of both networks; of VGG-19 a quarter of the channels."""
    folder = tmp_path_factory.mktemp("perceptual")
    np.savez(folder / VGG_WEIGHTS, **random_vgg(narrower=4))
    np.savez(folder / WEIGHTS, **random_squeezenet())
    return folder


@pytest.fixture(scope="session")
def test_sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    for index in range(2):
        hr = noise(40, 48, seed=index)
        lr = resize_bicubic(hr, 10, 12)
        for kind, pixels in (("HR", hr), ("LRx4", lr)):
            path = folder / "Set2" / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(Picture(pixels)))
    return folder


@pytest.fixture(scope="session")
def run_folder(photos_folder, tmp_path_factory):
    """A finished run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("run")
    train(TINY, photos_folder, folder, max_minutes=1)
    return folder


@pytest.fixture(scope="session")
def other_folder(run_folder, photos_folder, tmp_path_factory):
    """A finished run that started from `run_folder`."""
    folder = tmp_path_factory.mktemp("other") / "run"
    train(TINY, photos_folder, folder, 1, start_from=run_folder)
    return folder


@pytest.fixture(scope="session")
def restorer_folder(larger_photos, run_folder, tmp_path_factory):
    """A finished run of the tiny restorer, trained for the network of `run_folder`."""
    folder = tmp_path_factory.mktemp("restorer") / "run"
    train(RESTORER, larger_photos, folder, max_minutes=5, through=[run_folder])
    return folder


@pytest.fixture(scope="session")
def assets(run_folder, photos_folder, tmp_path_factory):
    """A tiny frozen graph and its card."""
    folder = tmp_path_factory.mktemp("assets")
    freeze(TINY, run_folder, photos_folder, folder / "tiny.json", version="0.1")
    return folder


@pytest.fixture
def card_path(assets, tmp_path):
    """The card of a tiny frozen graph, copied to a folder of the test."""
    return shutil.copytree(assets, tmp_path / "assets") / "tiny.json"


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch):
    """Retry after a short delay."""
    monkeypatch.setattr("training.data.download.BACKOFF_S", 0.01)


@pytest.fixture
def web():
    """A web server on this machine."""
    with serving() as web:
        yield web
