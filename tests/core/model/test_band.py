import numpy as np
import pytest

from core.model.band import RowBand
from core.model.tiles import Box
from tests.support.stand_ins import noise


@pytest.fixture
def band():
    band = RowBand()
    for rows in np.split(noise(20, 9), [3, 4, 11]):
        band.append(rows)
    return band


@pytest.mark.parametrize("box", [Box(0, 0, 20, 9), Box(2, 1, 5, 8), Box(4, 0, 5, 2)])
def test_a_part_is_found_across_strips(band, box):
    np.testing.assert_array_equal(band.crop(box), box.crop(noise(20, 9)))


def test_released_rows_are_gone_and_the_others_stay(band):
    band.release(6)
    assert band.rows_held == 16
    np.testing.assert_array_equal(band.crop(Box(6, 0, 20, 9)), noise(20, 9)[6:])
    band.release(20)
    assert band.rows_held == 0
