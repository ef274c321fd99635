import io
import os
import tempfile

import numpy as np
import pytest
from PIL import Image

from app import create_app
from config import PREFIX, Settings
from core.model.upscaler import Upscaler
from tests.support.stand_ins import between, blur_then_repeat, make_card

LONGEST = (
    "test_notebooks.py",
    "test_restoring.py",
    "test_cluster.py",
    "test_replicas.py",
    "test_server.py",
    "test_backends.py",
    "test_clips.py",
    "test_worker.py",
    "test_stages.py",
    "test_evaluate_video.py",
    "test_job_server.py",
    "test_looks.py",
    "test_train.py",
)
"""Begun first, or the last of them would run alone when all others are done."""


def pytest_collection_modifyitems(items):
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(PREFIX) or name in ("CORS_ENABLE", "DISABLE_WEB_APP", "DISABLE_JOBS"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path, monkeypatch):
    """Jobs of other tests are none of ours."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def upscaler():
    card = make_card(faithful="plain")
    return Upscaler(card, blur_then_repeat, window=16, interpolated=between)


@pytest.fixture
def app(upscaler):
    settings = Settings(
        max_pixels=2000,
        max_side=200,
        max_output_pixels=32_000,
        max_upload_bytes=100_000,
        memory_mb=16,
        deadline_s=30,
        decoders=0,
    )
    app = create_app(settings, upscaler)
    yield app
    app.extensions["enhancer"].jobs.engine.close()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def post(client):
    """Post bytes as the field `image`."""

    def post(data, filename="lr.png", **kwargs):
        return client.post("/model/predict", data={"image": (io.BytesIO(data), filename)}, **kwargs)

    return post


@pytest.fixture
def sent_in_parts(monkeypatch):
    """No picture is small enough to be sent only when it is complete."""
    monkeypatch.setattr("core.runtime.memory_plan.WHOLE_BYTES", 0)


@pytest.fixture
def encode():
    """Encode an array or a Pillow image with Pillow itself."""

    def encode(picture, file_format="PNG", **kwargs):
        image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
        file = io.BytesIO()
        image.save(file, file_format, **kwargs)
        return file.getvalue()

    return encode
