import numpy as np
import pytest

from config import ROOT
from core.images import decode_image, resize_bicubic
from core.images.condition import recommend_strength

SAMPLES = ROOT / "samples" / "test_examples"
NAMES = sorted(path.name for path in (SAMPLES / "original").glob("*.png"))
DEGRADED = sorted(path.name for path in (SAMPLES / "degraded").glob("*.jpg"))


def read(folder, name):
    return decode_image((SAMPLES / folder / name).read_bytes()).pixels


def test_there_are_at_least_eight_and_the_one_that_the_readme_posts():
    assert len(NAMES) >= 8
    assert "food.png" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_low_resolution_sample_is_the_bicubic_quarter(name):
    hr = read("original", name)
    height, width, _ = hr.shape
    expected = resize_bicubic(hr, height // 4, width // 4)
    np.testing.assert_array_equal(read("low_resolution", name), expected)


def test_degraded_samples_are_restored_by_default():
    pictures = [decode_image((SAMPLES / "degraded" / name).read_bytes()) for name in DEGRADED]
    assert len(pictures) == 3
    assert all(recommend_strength(picture) > 0.9 for picture in pictures)


@pytest.mark.parametrize("name", NAMES + DEGRADED)
def test_author_licence_and_source_are_written_down(name):
    lines = (SAMPLES.parent / "README.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith(f"| `{name}` |")]
    assert all(cell.strip() for cell in row.strip("|").split("|"))
