"""Pictures that probably hide another one."""

import io
import logging

import numpy as np
import pytest
from PIL import Image

from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from tests.support.photographs import photograph
from tests.support.scaling_attacks import small_attack
from tests.support.stand_ins import make_card, repeat

ATTACK = small_attack(64, 96)


@pytest.fixture
def upscale(encode):
    """Post a picture with fields; return the response."""
    settings = Settings(max_pixels=10_000, memory_mb=64, decoders=0)
    app = create_app(settings, Upscaler(make_card(), repeat, window=64))

    def upscale(pixels, **fields):
        data = {"image": (io.BytesIO(encode(pixels)), "lr.png"), **fields}
        response = app.test_client().post("/model/predict", data=data, buffered=True)
        assert response.status_code == 200
        return response

    yield upscale
    app.extensions["enhancer"].jobs.engine.close()


def test_the_file_and_the_header_say_so_and_no_pixel_changes(upscale):
    response = upscale(ATTACK)
    assert response.headers["X-Scaling-Attack"] == "suspected"
    image = Image.open(io.BytesIO(response.data))
    np.testing.assert_array_equal(np.asarray(image), repeat(ATTACK))
    assert image.text["Scaling-Attack"] == "suspected"


def test_in_formats_without_text_the_header_says_so(upscale):
    assert upscale(ATTACK, format="webp").headers["X-Scaling-Attack"] == "suspected"


def test_the_log_says_so(upscale, caplog):
    caplog.set_level(logging.INFO, "enhancer.requests")
    upscale(ATTACK)
    upscale(photograph(1, 64, 96))
    suspected, other = caplog.records
    assert suspected.scaling_attack == "suspected"
    assert not hasattr(other, "scaling_attack")


def test_of_other_pictures_nothing_is_said(upscale):
    response = upscale(photograph(1, 64, 96))
    assert "X-Scaling-Attack" not in response.headers
    assert b"Scaling-Attack" not in response.data
