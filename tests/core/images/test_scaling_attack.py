"""Image-scaling attacks, on pictures made here and on the photographs of `samples/`."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from config import ROOT
from core.images import resize_bicubic
from core.images.scaling_attack import MAX_SIDE, cut_centre, is_scaling_attack
from core.picture import Picture
from tests.support.scaling_attacks import hide, reduced

ORIGINALS = sorted((ROOT / "samples" / "test_examples" / "original").glob("*.png"))
INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
}


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def visible():
    """A photograph, (384, 480, 3)."""
    return resize_bicubic(read(ORIGINALS[0]), 384, 480)


@pytest.fixture(scope="module")
def hidden():
    """Another photograph, which fills any size."""
    return read(ORIGINALS[3])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS.values(), ids=INTERPOLATIONS)
@pytest.mark.parametrize(("height", "width"), [(128, 160), (77, 91)])
def test_an_attack_is_found_at_any_ratio(visible, hidden, interpolation, height, width):
    small = resize_bicubic(hidden, height, width)
    attack = hide(small, visible, interpolation)
    shown = reduced(attack, height, width, interpolation).astype(float)
    assert np.abs(shown - small).mean() < 6, "the reduced attack must show the hidden picture"
    assert is_scaling_attack(Picture(attack))


def test_an_attack_does_not_change_what_this_project_reduces_to(visible, hidden):
    small = resize_bicubic(hidden, 96, 120)
    attack = hide(small, visible, cv2.INTER_NEAREST)
    shown = resize_bicubic(attack, 96, 120).astype(float)
    honest = np.abs(shown - resize_bicubic(visible, 96, 120)).mean()
    assert honest < np.abs(shown - small).mean() / 5


def test_an_attack_is_found_in_sixteen_bits_and_behind_a_margin(visible, hidden):
    attack = hide(resize_bicubic(hidden, 96, 120), visible, cv2.INTER_LINEAR)
    assert is_scaling_attack(Picture(attack.astype(np.uint16) * 257))
    framed = np.pad(attack, ((400, 400), (0, 0), (0, 0)), mode="edge")
    assert cut_centre(framed).shape == (MAX_SIDE, 480, 3)
    assert is_scaling_attack(Picture(framed))


def test_photographs_are_not_suspected():
    suspected = [path.name for path in ORIGINALS if is_scaling_attack(Picture(read(path)))]
    assert not suspected


def test_traces_of_compression_dithering_and_enlargement_are_not_suspected():
    whole = read(ORIGINALS[4])
    photograph = Image.fromarray(whole)
    file = io.BytesIO()
    photograph.save(file, "JPEG", quality=10)
    pattern = np.tile(
        [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]],
        [side // 4 + 1 for side in whole.shape[:2]],
    )[: len(whole), : whole.shape[1]]
    dots = (whole.mean(axis=2) > 16 * pattern + 8).astype(np.uint8) * 255
    for pixels in (
        np.asarray(Image.open(file)),
        np.asarray(photograph.quantize(16).convert("RGB")),
        np.repeat(dots[..., None], 3, axis=2),
        *(whole[:200, :250].repeat(n, axis=0).repeat(n, axis=1) for n in (2, 3, 4)),
    ):
        assert not is_scaling_attack(Picture(pixels))


def test_noise_and_small_or_empty_pictures_are_not_suspected(visible, hidden):
    rng = np.random.default_rng(0)
    attack = hide(resize_bicubic(hidden, 96, 120), visible, cv2.INTER_NEAREST)
    for pixels in (
        rng.integers(0, 256, (130, 170, 3), np.uint8),
        np.zeros((64, 65, 3), np.uint8),
        attack[:63, :200],
        attack[:1, :1],
    ):
        assert not is_scaling_attack(Picture(pixels))
