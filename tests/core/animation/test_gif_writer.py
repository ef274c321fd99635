import numpy as np
import pytest
from PIL import Image

from config import ROOT
from core.animation.gif_writer import find_palette, map_to_palette
from tests.support.stand_ins import noise


@pytest.fixture
def photograph():
    image = Image.open(ROOT / "samples/test_examples/original/flower.png").convert("RGB")
    return np.asarray(image)[:120, :160]


def mean_square(one, other):
    return np.mean((one.astype(float) - other) ** 2)


def box_mean(pixels):
    height, width = (side // 4 * 4 for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // 4, 4, width // 4, 4, 3)
    return blocks.astype(float).mean(axis=(1, 3))


@pytest.mark.parametrize("count", [1, 2, 3, 200, 255])
def test_few_colours_are_kept_exactly(count):
    colours = np.unique(noise(1, 255)[0], axis=0)[:count]
    pixels = colours[np.random.default_rng(0).permutation(len(colours))]
    assert np.array_equal(find_palette(pixels, 255), colours)


@pytest.mark.parametrize("is_dithered", [True, False])
def test_colours_of_the_palette_are_found_exactly(is_dithered):
    palette = np.array([(i, i, i // 2) for i in range(0, 250, 1)], np.uint8)
    indices = np.random.default_rng(0).integers(0, 250, (30, 40)).astype(np.uint8)
    mapped = map_to_palette(palette[indices], palette, is_dithered=is_dithered)
    assert np.array_equal(mapped, indices)


def test_a_palette_of_no_pixels_has_one_colour():
    assert len(find_palette(np.zeros((0, 3), np.uint8), 255)) == 1


def test_a_palette_approximates_a_photograph(photograph):
    palette = find_palette(photograph.reshape(-1, 3), 255)
    assert len(palette) <= 255
    mapped = palette[map_to_palette(photograph, palette, is_dithered=False)]
    assert mean_square(mapped, photograph) < 30  # 33 dB


def test_dithering_keeps_the_mean(photograph):
    palette = find_palette(photograph.reshape(-1, 3), 32)
    plain, dithered = (
        palette[map_to_palette(photograph, palette, is_dithered=dither)] for dither in (False, True)
    )
    expected = box_mean(photograph)
    better = mean_square(box_mean(dithered), expected)
    assert better < 0.6 * mean_square(box_mean(plain), expected)
