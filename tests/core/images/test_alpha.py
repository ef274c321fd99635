import time

import numpy as np
import pytest

from core.images.alpha import TRUSTED, fill_transparent
from tests.support.stand_ins import noise

HEIGHT, WIDTH = 37, 53


def disc(height, width, radius):
    """Return the opacity of an opaque disc on a transparent ground."""
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < radius**2
    return np.uint8(255) * inside


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("hidden", [0, 1])
def test_a_colour_continues_under_transparent_pixels(dtype, hidden):
    highest = np.iinfo(dtype).max
    alpha = disc(HEIGHT, WIDTH, 12).astype(dtype) * dtype(highest // 255)
    colour = (np.array([0.8, 0.5, 0.1]) * highest).astype(dtype)
    pixels = np.where(alpha[..., None] > 0, colour, dtype(hidden * highest))
    filled = fill_transparent(pixels, alpha)
    assert filled.dtype == dtype
    np.testing.assert_allclose(filled, np.broadcast_to(colour, filled.shape), atol=1)


def test_the_nearest_colour_continues():
    pixels, alpha = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
    pixels[:, :32], alpha[:, :32] = (200, 0, 0), 255
    pixels[:, 64:], alpha[:, 64:] = (0, 0, 200), 255
    filled = fill_transparent(pixels, alpha).astype(int)
    assert (filled[:, 32, 0] > 150).all()
    assert (filled[:, 63, 2] > 150).all()
    assert (np.abs(filled[:, 32:64].sum(axis=2) - 200) <= 2).all()


def test_visible_pixels_keep_their_exact_colour():
    pixels, alpha = noise(HEIGHT, WIDTH), noise(HEIGHT, WIDTH, 1, seed=1)[..., 0]
    filled = fill_transparent(pixels, alpha)
    visible = alpha >= TRUSTED * 255
    np.testing.assert_array_equal(filled[visible], pixels[visible])
    assert (filled[~visible] != pixels[~visible]).any()


def test_faint_pixels_keep_their_colour_in_proportion():
    alpha = np.full((16, 24), 255, np.uint8)
    pixels = np.full((16, 24, 3), 200, np.uint8)
    pixels[8, 8:12] = 0
    alpha[8, 8:12] = [0, 8, 16, 24]
    row = fill_transparent(pixels, alpha)[8, 8:12, 0].astype(int)
    assert row[0] > 180
    assert (np.diff(row) < -30).all()


def test_a_colour_counts_in_proportion_to_its_opacity():
    pixels = np.zeros((2, 3, 3), np.uint8)
    alpha = np.zeros((2, 3), np.uint8)
    pixels[0, 0], alpha[0, 0] = 100, 240
    pixels[1, 0], alpha[1, 0] = 255, 60
    filled = fill_transparent(pixels, alpha)
    assert abs(int(filled[0, 2, 0]) - (100 * 240 + 255 * 60) / 300) <= 1


def test_a_fully_transparent_picture_is_unchanged():
    pixels = noise(HEIGHT, WIDTH)
    filled = fill_transparent(pixels, np.zeros((HEIGHT, WIDTH), np.uint8))
    np.testing.assert_array_equal(filled, pixels)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 1), (1, 999), (999, 1), (3, 5)])
def test_pictures_of_any_shape_are_filled(height, width):
    alpha = np.zeros((height, width), np.uint8)
    alpha[0, 0] = 255
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[0, 0] = 7
    np.testing.assert_array_equal(fill_transparent(pixels, alpha), 7)


def test_the_strip_height_does_not_change_the_fill(monkeypatch):
    pixels, alpha = noise(HEIGHT, WIDTH), disc(HEIGHT, WIDTH, 9)
    whole = fill_transparent(pixels, alpha)
    for module in ("core.picture", "core.images.alpha"):
        monkeypatch.setattr(f"{module}.BLOCK_PIXELS", 3 * WIDTH)
    np.testing.assert_array_equal(fill_transparent(pixels, alpha), whole)


def test_four_megapixels_are_filled_within_two_seconds():
    alpha = disc(2000, 2000, 700)
    pixels = noise(2000, 2000)
    start = time.process_time()
    fill_transparent(pixels, alpha)
    assert time.process_time() - start < 2
