import io
from dataclasses import replace

import numpy as np
import pytest

from core.animation import read_animation
from core.animation.model import rgba
from tests.support.stand_ins import repeat


@pytest.fixture
def enlarge():
    """Every pixel becomes 4 x 4, opacity too; `enlarge.pictures` are those it was given."""

    def enlarge(picture):
        enlarge.pictures.append(picture)
        alpha = None if picture.alpha is None else repeat(picture.alpha)
        return replace(picture, pixels=repeat(picture.pixels), alpha=alpha)

    enlarge.pictures = []
    return enlarge


@pytest.fixture
def shown():
    """(N, H, W, 4) uint8 of a file: all its frames, of no colour where nothing is seen."""

    def shown(data):
        reel = read_animation(io.BytesIO(data))
        return np.array([rgba(frame.picture) for frame in reel.frames()])

    return shown
