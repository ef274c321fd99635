import numpy as np
import pytest

from core.picture import Picture


@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_a_picture_knows_its_size_and_kind(is_grey, dtype, has_alpha):
    alpha = np.zeros((5, 7), dtype) if has_alpha else None
    picture = Picture(np.zeros((5, 7, 3), dtype), alpha, is_grey)
    assert (picture.height, picture.width) == (5, 7)
    assert picture.channels == (1 if is_grey else 3) + has_alpha
    assert picture.bits == 8 * np.dtype(dtype).itemsize
    assert picture.highest == np.iinfo(dtype).max
