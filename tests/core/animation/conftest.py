import io
from dataclasses import replace

import numpy as np
import pytest

from core.animation import read_animation
from core.animation.model import rgba
from tests.support.stand_ins import repeat


@pytest.fixture
def enlarge():
    """An upscaler that repeats pixels and opacity 4 x 4; `enlarge.pictures` are its inputs."""

    def enlarge(picture):
        enlarge.pictures.append(picture)
        alpha = None if picture.alpha is None else repeat(picture.alpha)
        return replace(picture, pixels=repeat(picture.pixels), alpha=alpha)

    enlarge.pictures = []
    return enlarge


@pytest.fixture
def decode_all():
    """A function that decodes a file to (N, H, W, 4) uint8; transparent pixels are all zero."""

    def decode_all(data):
        frames = read_animation(io.BytesIO(data)).frames()
        return np.array([rgba(frame.picture) for frame in frames])

    return decode_all
