import numpy as np

from core.pixels import uint8_from_uint16, uint8_from_unit, unit_from_uint8

LEVELS = np.arange(256, dtype=np.uint8)


def test_every_level_survives_the_round_trip():
    np.testing.assert_array_equal(uint8_from_unit(unit_from_uint8(LEVELS)), LEVELS)


def test_unit_is_the_closed_range_from_0_to_1():
    assert unit_from_uint8(LEVELS).min() == 0
    assert unit_from_uint8(LEVELS).max() == 1


def test_a_dark_picture_stays_dark():
    assert unit_from_uint8(np.full((2, 3), 10, np.uint8)).max() < 0.05


def test_values_outside_the_unit_range_are_clipped_and_halves_are_rounded():
    unit = np.array([-0.5, 1.5, 0.49 / 255, 0.51 / 255], np.float32)
    np.testing.assert_array_equal(uint8_from_unit(unit), [0, 255, 0, 1])


def test_every_16_bit_level_goes_to_its_nearest_8_bit_level():
    levels = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(uint8_from_uint16(levels), np.rint(levels / 257))
