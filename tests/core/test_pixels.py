import numpy as np

from core.pixels import (
    flatten_on_white,
    grey_from_rgb,
    levels_from_pixels,
    levels_from_uint16,
    to_uint8,
    to_uint16,
    uint8_from_unit,
    uint16_from_levels,
    unit_from_uint8,
)

LEVELS = np.arange(256, dtype=np.uint8)
LEVELS_16 = np.arange(65536, dtype=np.uint16)


def test_every_level_survives_the_round_trip():
    np.testing.assert_array_equal(uint8_from_unit(unit_from_uint8(LEVELS)), LEVELS)


def test_every_16_bit_level_survives_the_round_trip():
    np.testing.assert_array_equal(uint16_from_levels(levels_from_uint16(LEVELS_16)), LEVELS_16)


def test_every_level_survives_in_16_bits():
    np.testing.assert_array_equal(to_uint8(to_uint16(LEVELS)), LEVELS)
    np.testing.assert_array_equal(to_uint16(LEVELS)[[0, -1]], [0, 65535])
    assert to_uint16(LEVELS_16) is LEVELS_16


def test_unit_is_the_closed_range_from_0_to_1():
    assert unit_from_uint8(LEVELS).min() == 0
    assert unit_from_uint8(LEVELS).max() == 1


def test_a_dark_picture_stays_dark():
    assert unit_from_uint8(np.full((2, 3), 10, np.uint8)).max() < 0.05


def test_values_outside_the_unit_range_are_clipped_and_halves_are_rounded():
    unit = np.array([-0.5, 1.5, 0.49 / 255, 0.51 / 255], np.float32)
    np.testing.assert_array_equal(uint8_from_unit(unit), [0, 255, 0, 1])


def test_levels_of_both_types_range_from_0_to_255():
    np.testing.assert_array_equal(levels_from_pixels(LEVELS), LEVELS)
    np.testing.assert_array_equal(levels_from_pixels(LEVELS_16), levels_from_uint16(LEVELS_16))
    assert levels_from_pixels(LEVELS).dtype == levels_from_pixels(LEVELS_16).dtype == np.float32


def test_every_16_bit_level_goes_to_its_nearest_8_bit_level():
    np.testing.assert_array_equal(to_uint8(LEVELS_16), np.rint(LEVELS_16 / 257))


def test_8_bit_levels_stay_as_they_are():
    assert to_uint8(LEVELS) is LEVELS


def test_grey_is_the_rounded_mean_of_the_channels():
    rgb = np.array([[1, 1, 2], [0, 0, 1], [255, 255, 255]], np.uint8)
    np.testing.assert_array_equal(grey_from_rgb(rgb), [[1], [0], [255]])


def test_transparent_pixels_are_flattened_on_white():
    pixels = np.array([[[0, 100, 255], [0, 100, 255], [0, 100, 255]]], np.uint8)
    alpha = np.array([[255, 0, 128]], np.uint8)
    expected = [[[0, 100, 255], [255, 255, 255], [127, 177, 255]]]
    assert flatten_on_white(pixels, alpha).tolist() == expected


def test_every_level_is_flattened_to_the_nearest_level():
    pixels, alpha = np.meshgrid(LEVELS, LEVELS)
    opacity = alpha / 255
    exact = pixels * opacity + 255 * (1 - opacity)
    flat = flatten_on_white(pixels[..., None], alpha)
    assert np.abs(flat[..., 0] - exact).max() < 0.501
