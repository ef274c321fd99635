from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from core.images.resample import (
    Sampling,
    StripReducer,
    StripResampler,
    area,
    bicubic,
    rows_needed,
)
from tests.support.stand_ins import noise


def whole(source, length):
    """Return the sampling of a result that shows its whole source."""
    return Sampling(source, length, Fraction(0), Fraction(source, length))


def resample(pixels, rows, columns, kernel=bicubic, cuts=(1000,)):
    resampler = StripResampler(rows, columns, kernel)
    ends = np.cumsum(cuts)
    strips = [strip for strip in np.split(pixels, ends) if len(strip)]
    return np.concatenate([resampler.add(strip) for strip in strips])


@pytest.mark.parametrize("size", [(80, 50), (53, 71), (160, 102), (47, 102)])
def test_the_interior_is_that_of_pillow(size):
    pixels = noise(160, 102)
    expected = [
        np.asarray(
            Image.fromarray(pixels[..., channel].astype(np.float32)).resize(
                size[::-1], Image.Resampling.BICUBIC
            )
        )
        for channel in range(3)
    ]
    found = resample(pixels, whole(160, size[0]), whole(102, size[1]))
    inside = (slice(5, -5), slice(5, -5))
    np.testing.assert_allclose(found[inside], np.dstack(expected)[inside], atol=1e-3)


@pytest.mark.parametrize("kernel", [bicubic, area])
@pytest.mark.parametrize("cuts", [(1,) * 61, (60, 1), (7, 20, 30)])
def test_the_result_does_not_depend_on_the_strips(kernel, cuts):
    pixels = noise(61, 40)
    rows, columns = whole(61, 22), whole(40, 33)
    expected = resample(pixels, rows, columns, kernel)
    np.testing.assert_allclose(resample(pixels, rows, columns, kernel, cuts), expected, atol=1e-4)


def test_a_whole_step_from_a_whole_start_is_a_crop():
    pixels = noise(20, 30)
    rows, columns = Sampling(20, 7, Fraction(3)), Sampling(30, 9, Fraction(4))
    np.testing.assert_array_equal(resample(pixels, rows, columns), pixels[3:10, 4:13])


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("source", [1, 2, 3, 20])
def test_an_even_picture_stays_even_at_any_size(source, length):
    pixels = np.full((source, 4, 1), 77, np.uint8)
    found = resample(pixels, whole(source, length), whole(4, 4))
    np.testing.assert_allclose(found, np.full((length, 4, 1), 77), atol=1e-4)


def test_a_result_may_end_beyond_its_source():
    pixels = np.full((8, 9, 1), 50, np.uint8)
    beyond = Sampling(8, 3, Fraction(0), Fraction(3))
    np.testing.assert_allclose(resample(pixels, beyond, whole(9, 9)), 50, atol=1e-4)


def test_area_is_the_mean_of_what_lies_under_a_pixel():
    pixels = np.array([0, 30, 60, 90, 120], np.uint8)[:, None, None]
    found = resample(pixels, whole(5, 2), whole(1, 1), area)
    np.testing.assert_allclose(found[:, 0, 0], [24, 96], atol=1e-4)


def test_a_fine_checkerboard_becomes_grey():
    board = np.indices((64, 64)).sum(axis=0)[..., None] % 2 * 255
    found = resample(board.astype(np.uint8), whole(64, 32), whole(64, 32))
    np.testing.assert_allclose(found[2:-2, 2:-2], 127.5, atol=0.01)


def test_rows_are_returned_as_soon_as_they_are_complete():
    rows = whole(40, 13)
    resampler = StripResampler(rows, whole(6, 6), bicubic)
    pixels = noise(40, 6)
    done, after = 0, []
    for row in range(40):
        done += len(resampler.add(pixels[row : row + 1]))
        after += [row + 1] * (done - len(after))
    assert after == rows_needed(rows)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_reduced_picture_has_the_type_and_the_range_of_its_source(dtype):
    highest = np.iinfo(dtype).max
    pixels = np.where(np.indices((40, 40))[1] < 20, 0, highest).astype(dtype)[..., None]
    reducer = StripReducer(whole(40, 15), whole(40, 15), has_alpha=False)
    reduced = reducer.add(pixels)
    assert (reduced.dtype, reduced.shape) == (dtype, (15, 15, 1))
    assert (reduced.min(), reduced.max()) == (0, highest)


def test_transparent_colour_does_not_bleed_into_opaque_colour():
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 5:] = [200, 100, 50, 255]
    pixels[:, :5, 1] = 255
    reducer = StripReducer(whole(16, 6), whole(16, 6), has_alpha=True)
    reduced = reducer.add(pixels).astype(int)
    visible = reduced[..., 3] > 0
    assert 0 < visible.mean() < 1
    assert np.abs(reduced[visible][:, :3] - [200, 100, 50]).max() <= 1
    np.testing.assert_array_equal(reduced[:, 0, :3], [[0, 255, 0]] * 6)
