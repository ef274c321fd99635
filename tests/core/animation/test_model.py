import numpy as np
import pytest

from core.animation.model import bounding_box, changed_area, rgba
from core.model.tiles import Box
from core.picture import Picture


def test_a_bounding_box_holds_all_true_elements():
    mask = np.zeros((6, 9), bool)
    mask[2, 7] = mask[4, 3] = True
    assert bounding_box(mask) == Box(2, 3, 5, 8)
    assert bounding_box(np.zeros((6, 9), bool)) is None


@pytest.mark.parametrize(("grid", "expected"), [(1, Box(3, 5, 4, 6)), (2, Box(2, 4, 4, 6))])
def test_a_changed_area_begins_on_the_grid(grid, expected):
    previous = np.zeros((6, 9, 4), np.uint8)
    current = previous.copy()
    current[3, 5, 3] = 1
    assert changed_area(previous, current, grid) == expected


def test_a_changed_area_is_never_empty():
    frame = np.zeros((6, 9, 4), np.uint8)
    assert changed_area(None, frame) == Box(0, 0, 6, 9)
    assert changed_area(frame, frame) == Box(0, 0, 1, 1)


def test_transparent_pixels_have_no_colour():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    alpha = np.array([[0, 7]], np.uint8)
    assert rgba(Picture(pixels, alpha)).tolist() == [[[0, 0, 0, 0], [4, 5, 6, 7]]]
    assert rgba(Picture(pixels)).tolist() == [[[1, 2, 3, 255], [4, 5, 6, 255]]]
