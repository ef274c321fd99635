import numpy as np
import pytest

from core.images import resize_bicubic
from tests.support.stand_ins import noise
from training.data.distortions import (
    JPEG,
    WEBP,
    Blur,
    Compression,
    Noise,
    Resizing,
    Sharpening,
    blur,
)

FLAT = np.full((60, 80, 3), 110, np.uint8)


@pytest.fixture
def smooth():
    """A smooth picture in strong colours."""
    return resize_bicubic(noise(5, 6, seed=4), 40, 48)


def test_a_point_is_blurred_to_a_gaussian_of_each_axis():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    blurred = blur(point, 1.0, 2.0).astype(float)[..., 0]
    y, x = np.mgrid[-20:21, -20:21]
    expected = 255 * np.exp(-(y**2) / 2 - x**2 / 8) / (2 * np.pi * 2)
    np.testing.assert_allclose(blurred, expected, atol=0.8)


def test_a_blur_of_zero_width_and_a_blur_of_a_flat_picture_change_nothing():
    pixels = noise(9, 13)
    np.testing.assert_array_equal(blur(pixels, 0.0, 0.0), pixels)
    flat = np.full((9, 13, 3), 201, np.uint8)
    np.testing.assert_array_equal(blur(flat, 2.7, 0.4), flat)


def test_an_elliptic_blur_follows_its_formula():
    kernel = Blur(1.0, 2.0, angle=np.pi / 6, shape=0.7).kernel()
    assert kernel.sum() == pytest.approx(1)
    y, x = np.mgrid[-6:7, -6:7]
    along, across = x * np.cos(np.pi / 6) + y * 0.5, y * np.cos(np.pi / 6) - x * 0.5
    expected = np.exp(-0.5 * ((along / 2) ** 2 + across**2) ** 0.7)
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-12)


def test_a_point_is_blurred_to_the_kernel_of_an_ellipse():
    point = np.zeros((31, 33, 3), np.uint8)
    point[14, 17] = 255
    ellipse = Blur(0.8, 1.9, angle=0.5, shape=2.0)
    blurred = ellipse.apply(point)[..., 1].astype(float)
    radius = len(ellipse.kernel()) // 2
    part = blurred[14 - radius : 15 + radius, 17 - radius : 18 + radius]
    np.testing.assert_allclose(part, 255 * ellipse.kernel(), atol=0.51)


def test_a_flat_picture_stays_flat_under_every_blur_and_sharpening():
    for distortion in (Blur(1.0, 3.0, 0.3, 0.6), Blur(2.0, 2.0), Sharpening(1.0, 1.5)):
        np.testing.assert_array_equal(distortion.apply(FLAT), FLAT)


@pytest.mark.parametrize("is_grey", [False, True])
def test_noise_has_its_deviation_and_channels(is_grey):
    added = Noise(6.0, is_grey, grows_with_brightness=False, seed=1).apply(FLAT) - 110.0
    assert np.std(added) == pytest.approx(6, rel=0.05)
    assert bool((added == added[..., :1]).all()) is is_grey


def test_noise_of_photons_grows_with_the_root_of_the_level():
    levels = np.broadcast_to(np.repeat([55, 110, 220], 1000)[:, None, None], (3000, 10, 3))
    added = Noise(6.0, False, grows_with_brightness=True, seed=1).apply(levels) - levels
    deviations = [added[start : start + 1000].std() for start in (0, 1000, 2000)]
    assert deviations == pytest.approx([6 / 2**0.5, 6, 6 * 2**0.5], rel=0.05)


def test_sharpening_overshoots_on_both_sides_of_an_edge():
    edge = np.full((20, 40, 3), 80, np.uint8)
    edge[:, 20:] = 160
    row = Sharpening(1.0, 1.0).apply(edge)[10, :, 0].astype(int)
    assert row[19] < 80 - 10
    assert row[20] > 160 + 10
    np.testing.assert_array_equal(row[[0, -1]], [80, 160])


def test_jpeg_of_lower_quality_has_more_error(smooth):
    errors = [
        np.abs(Compression(JPEG, quality).apply(smooth) - smooth.astype(int)).mean()
        for quality in (95, 50, 10)
    ]
    assert errors == sorted(errors)
    assert errors[0] < errors[2] / 2


def test_full_resolution_of_colour_keeps_more_colour():
    coloured = np.zeros((32, 32, 3), np.uint8)
    coloured[:, ::2, 0] = 200
    coloured[:, 1::2, 2] = 200
    full, half = (
        np.abs(Compression(JPEG, 95, sampling).apply(coloured) - coloured.astype(int)).mean()
        for sampling in ("4:4:4", "4:2:0")
    )
    assert full < half / 2


@pytest.mark.parametrize("file_format", [JPEG, WEBP])
def test_the_offset_moves_the_blocks_and_nothing_else(smooth, file_format):
    results = {
        Compression(file_format, 30, offset=(dy, dx)).apply(smooth).tobytes()
        for dy, dx in ((0, 0), (3, 0), (0, 5))
    }
    assert len(results) == 3
    moved = Compression(file_format, 95, offset=(9, 14)).apply(smooth)
    assert moved.shape == smooth.shape
    assert np.abs(moved - smooth.astype(int)).mean() < 4


def test_every_distortion_says_what_it_does():
    described = [
        str(Blur(1.25, 1.25)),
        str(Blur(1.25, 0.5, np.pi / 2, 0.6)),
        str(Resizing(20, 30, "box")),
        str(Noise(7.04, True, True, 5)),
        str(Noise(7.04, False, False, 5)),
        str(Sharpening(1.0, 0.4)),
        str(Compression(JPEG, 56, "4:4:4")),
        str(Compression(WEBP, 80)),
    ]
    assert described == [
        "blur 1.25 px",
        "blur 1.25 x 0.50 px at 90 degrees, shape 0.6",
        "resize 30 x 20 px box",
        "noise 7.0 grey poisson",
        "noise 7.0 colour",
        "sharpen 0.40 at 1.00 px",
        "jpeg 56 4:4:4",
        "webp 80",
    ]
