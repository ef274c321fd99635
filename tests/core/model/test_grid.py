from fractions import Fraction

import numpy as np
import pytest

from core.errors import InvalidOptions
from core.model.grid import output_grid
from core.options import OutputOptions
from core.picture import Picture
from tests.support.stand_ins import noise


def grid(lr_height, lr_width, **wanted):
    return output_grid(OutputOptions(**wanted), lr_height, lr_width, 4)


def size(found):
    return found.height, found.width


def test_without_a_size_the_network_decides_it():
    found = grid(21, 34)
    assert size(found) == (84, 136)
    assert (found.is_plain, found.passes, found.factor) == (True, 1, 4)


@pytest.mark.parametrize("factor", [1, 1.001, 1.37, 2, 3, 4, 7.5, 16])
@pytest.mark.parametrize("side", [1, 2, 7, 16, 1000])
def test_a_side_is_the_rounded_product(side, factor):
    product = side * Fraction(str(factor))
    expected = max(1, int(product + Fraction(1, 2)))
    assert grid(side, 3 * side, scale=factor).height == expected


def test_a_factor_is_the_decimal_that_was_written():
    assert grid(50, 15, scale=1.1).width == 17  # 16.5, although the float is just below
    assert grid(50, 15, scale=1.1).factor == Fraction(11, 10)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"width": 200}, (100, 200)),
        ({"height": 200}, (200, 400)),
        ({"width": 151}, (76, 151)),  # 75.5
        ({"width": 300, "height": 200}, (150, 300)),
        ({"width": 300, "height": 100}, (100, 200)),
        ({"width": 300, "height": 200, "fit": "cover"}, (200, 300)),
    ],
)
def test_a_wanted_side_is_exact_and_the_other_follows(wanted, expected):
    assert size(grid(50, 100, **wanted)) == expected


@pytest.mark.parametrize(
    ("wanted", "passes", "is_plain"),
    [
        ({"scale": 1}, 0, False),
        ({"width": 100}, 0, False),
        ({"scale": 1.01}, 1, False),
        ({"scale": 4}, 1, True),
        ({"width": 400}, 1, True),
        ({"scale": 4.01}, 2, False),
        ({"scale": 16}, 2, False),
        ({"width": 200, "height": 200, "fit": "cover"}, 1, True),
    ],
)
def test_there_are_as_many_passes_as_needed(wanted, passes, is_plain):
    found = grid(50, 100, **wanted)
    assert (found.passes, found.is_plain) == (passes, is_plain)


def test_the_middle_of_a_picture_covers_the_wanted_size():
    lr = Picture(noise(50, 100), noise(50, 100, 1)[..., 0])
    found = grid(50, 100, width=100, height=100, fit="cover")
    assert found.shown == (0, 25, 50, 75)
    shown = found.crop(lr)
    np.testing.assert_array_equal(shown.pixels, lr.pixels[:, 25:75])
    np.testing.assert_array_equal(shown.alpha, lr.alpha[:, 25:75])


def test_pixels_that_are_shown_in_part_are_known():
    columns = grid(3, 10, width=15, height=9, fit="cover").columns
    assert (columns.first, columns.last, columns.start) == (2, 8, Fraction(1, 3))
    assert columns.whole_pixels() == (1, 5)
    assert columns.reversed().start == 2  # pixels of the result before the first whole one


def test_the_extent_of_a_side_is_that_of_its_pixels():
    found = grid(3, 10, width=15, height=9, fit="cover")
    assert found.rows.extent == (0, 3)
    assert found.columns.extent == (Fraction(7, 3), Fraction(22, 3))


def test_a_whole_picture_is_not_copied():
    lr = Picture(noise(5, 6))
    assert grid(5, 6).crop(lr) is lr


@pytest.mark.parametrize(
    ("wanted", "received"),
    [
        ({"width": 99}, "width=99, a factor of 0.99"),
        ({"width": 1601}, "width=1601, a factor of 16.01"),
        ({"height": 49}, "height=49, a factor of 0.98"),
        ({"width": 1000, "height": 40}, "width=1000, height=40, a factor of 0.8"),
        ({"width": 90, "height": 40, "fit": "cover"}, "width=90, height=40, a factor of 0.9"),
    ],
)
def test_a_size_that_no_two_passes_reach_is_refused(wanted, received):
    message = f"from 1 to 16 times that of the picture, 100 x 50 pixels. Received: {received}"
    with pytest.raises(InvalidOptions, match=message):
        grid(50, 100, **wanted)


def test_a_network_of_another_scale_reaches_other_sizes():
    assert size(output_grid(OutputOptions(), 5, 6, 2)) == (10, 12)
    with pytest.raises(InvalidOptions, match="from 1 to 4 times"):
        output_grid(OutputOptions(scale=4.5), 5, 6, 2)


@pytest.mark.parametrize("factor", [4.01, 5.3, 7.5, 16])
def test_a_second_pass_ends_less_than_a_pixel_beyond_the_picture(factor):
    found = grid(13, 29, scale=factor)
    between = found.coarsened()
    for side, coarse in ((found.rows, between.rows), (found.columns, between.columns)):
        assert coarse.pitch == 4 * side.pitch
        assert 0 <= 4 * coarse.length - side.length < 4
