import numpy as np
import pytest

from tests.support.stand_ins import RADIUS, SCALE, blur_then_repeat, make_card, repeat
from training.halo import HALO_MARGIN, measure_halo_at_cut


def from_the(direction):
    """Return a network that sees 7 pixels in one direction only."""

    def upscale(lr):
        padded = np.pad(lr, ((7, 7), (7, 7), (0, 0)))
        height, width, _ = lr.shape
        row, column = {"left": (7, 0), "right": (7, 14), "top": (0, 7), "bottom": (14, 7)}[
            direction
        ]
        return repeat((lr + padded[row : row + height, column : column + width]) / 2)

    return upscale


def brighten_by_the_sum(lr):
    """Upscale by nearest neighbour and add what depends on the whole picture."""
    return repeat(lr) + np.float32(lr.sum() / 1e5)


def test_the_halo_of_a_network_is_found_from_one_edge():
    card = make_card(radius=100, scale=SCALE)
    assert measure_halo_at_cut(card, blur_then_repeat) == RADIUS + HALO_MARGIN
    assert measure_halo_at_cut(card, repeat) == HALO_MARGIN


@pytest.mark.parametrize("direction", ["left", "bottom"])
def test_edges_of_both_sides_are_felt(direction):
    assert measure_halo_at_cut(make_card(radius=100), from_the(direction)) == 7 + HALO_MARGIN


def test_a_halo_is_at_most_the_radius_and_a_multiple_of_the_stride():
    assert measure_halo_at_cut(make_card(radius=RADIUS), blur_then_repeat) == RADIUS
    card = make_card(radius=100, stride=4)
    assert measure_halo_at_cut(card, blur_then_repeat) == 8


def test_a_network_that_sees_everything_gets_its_radius():
    assert measure_halo_at_cut(make_card(radius=999), brighten_by_the_sum) == 999
