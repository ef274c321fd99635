import keras
import numpy as np
import pytest

from core.images import resize_bicubic
from tests.support.random_networks import random_squeezenet
from tests.support.stand_ins import noise, repeat
from training.evaluation.metrics import (
    SSIM_C1,
    SSIM_C2,
    LearnedDistance,
    build_features,
    colour_shift,
    cropped_luma,
    flip,
    grid_share,
    local_mean,
    mse_y,
    psnr_y,
    ssim_y,
    unit_vectors,
)


def test_luma_is_in_studio_range():
    black, white = np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 255, np.uint8)
    assert cropped_luma(black) == pytest.approx(16)
    assert cropped_luma(white) == pytest.approx(235)


def test_four_pixels_are_cropped_on_each_side():
    sr = hr = np.full((20, 30, 3), 100, np.uint8)
    sr = sr.copy()
    sr[:4] = sr[-4:] = 0
    sr[:, :4] = sr[:, -4:] = 0
    assert psnr_y(sr, np.where(hr == 100, 101, hr).astype(np.uint8)) == pytest.approx(
        20 * np.log10(255 / (219 / 255)), abs=1e-6
    )


def test_one_level_of_grey_is_49_4_db():
    hr = noise(30, 40) // 2
    assert psnr_y(hr + 1, hr) == pytest.approx(49.45, abs=0.01)


def test_the_squared_error_is_that_of_the_ratio():
    sr, hr = noise(30, 40, seed=1), noise(30, 40, seed=2)
    assert psnr_y(sr, hr) == pytest.approx(20 * np.log10(255) - 10 * np.log10(mse_y(sr, hr)))
    assert mse_y(hr // 2 + 1, hr // 2) == pytest.approx((219 / 255) ** 2)


def test_flip_agrees_with_its_publication_and_sees_colour():
    black, white = np.zeros((40, 50, 3), np.uint8), np.full((40, 50, 3), 255, np.uint8)
    assert flip(black, black) == 0
    assert flip(black, white) == pytest.approx(0.97, abs=0.01)
    red, green = black.copy(), black.copy()
    red[..., 0], green[..., 1] = 130, 66  # of the same luma
    assert mse_y(red, green) < 1
    assert flip(red, green) > 0.5


def test_ssim_of_equal_pictures_is_1():
    assert ssim_y(noise(30, 40), noise(30, 40)) == pytest.approx(1)


def test_ssim_agrees_with_its_definition_window_by_window():
    sr, hr = noise(24, 26, seed=1), noise(24, 26, seed=2)
    x, y = cropped_luma(sr), cropped_luma(hr)
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (p[top : top + 11, left : left + 11] for p in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a = (weights * (a - mean_a) ** 2).sum()
            var_b = (weights * (b - mean_b) ** 2).sum()
            cov = (weights * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + SSIM_C1)
                * (2 * cov + SSIM_C2)
                / ((mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))
            )
    assert ssim_y(sr, hr) == pytest.approx(np.mean(values))


def test_the_window_is_11_pixels_wide_and_sums_to_1():
    assert local_mean(np.ones((15, 20))) == pytest.approx(np.ones((5, 10)))


def test_the_colour_shift_is_that_of_the_worst_channel():
    lr = noise(10, 12)
    sr = repeat(lr).astype(int)
    assert colour_shift(sr, lr) == pytest.approx(0)
    sr[..., 1] -= 3
    sr[..., 2] += 2
    assert colour_shift(sr, lr) == pytest.approx(3)


def test_equal_pictures_have_a_grid_share_of_zero():
    assert grid_share(noise(64, 64), noise(64, 64)) == 0
    even = np.full((64, 64, 3), 9, np.uint8)
    assert grid_share(even, even) == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_lines_on_the_grid_show(axis):
    hr = noise(128, 128, seed=2)
    lined = np.moveaxis(hr.copy(), axis, 0)
    lined[2::4] = 255 - lined[2::4] // 8
    assert grid_share(np.moveaxis(lined, 0, axis), hr) > 0.1


def test_blocks_show_much_more_of_a_grid_than_interpolation():
    hr = resize_bicubic(noise(24, 24), 136, 136)
    lr = resize_bicubic(hr, 34, 34)
    blocks = lr.repeat(4, axis=0).repeat(4, axis=1)
    assert grid_share(blocks, hr) > 1
    assert grid_share(resize_bicubic(lr, 136, 136), hr) < grid_share(blocks, hr) / 10


@pytest.fixture(scope="module")
def distance(perceptual_folder):
    return LearnedDistance(perceptual_folder)


def test_equal_pictures_have_no_distance(distance):
    assert distance(noise(40, 52), noise(40, 52)) == pytest.approx(0, abs=1e-9)


def test_distance_grows_with_the_difference(distance):
    hr = noise(40, 52)
    near = np.clip(hr.astype(int) + 3, 0, 255).astype(np.uint8)
    assert 0 < distance(near, hr) < distance(noise(40, 52, seed=9), hr)


def test_distance_is_symmetric(distance):
    a, b = noise(40, 52, seed=1), noise(40, 52, seed=2)
    assert distance(a, b) == pytest.approx(distance(b, a))


def test_the_first_layer_sees_blue_green_red_less_the_mean_at_every_other_pixel():
    weights = random_squeezenet()
    features = build_features(weights)
    rgb = noise(43, 51).astype(np.float32)
    first = np.asarray(features(rgb[None])[0])[0]
    centred = rgb[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    place = centred[4:7, 6:9]
    convolved = np.einsum("yxi,yxio->o", place, weights["conv1/kernel"])
    expected = np.maximum(convolved + weights["conv1/bias"], 0)
    np.testing.assert_allclose(first[2, 3], expected, rtol=1e-4, atol=1e-2)
    assert first.shape == (21, 25, 64)


def test_seven_layers_are_compared_each_on_its_grid():
    shapes = [
        tuple(layer.shape)
        for layer in build_features(random_squeezenet())(np.zeros((1, 64, 64, 3)))
    ]
    assert [shape[-1] for shape in shapes] == [64, 128, 256, 384, 384, 512, 512]
    assert [shape[1] for shape in shapes] == [31, 15, 7, 3, 3, 3, 3]


def test_vectors_are_scaled_to_length_1_and_zeros_stay():
    vectors = np.zeros((2, 3, 4), np.float32)
    vectors[0] = 5
    lengths = np.linalg.norm(unit_vectors(vectors), axis=-1)
    np.testing.assert_allclose(lengths, [[1, 1, 1], [0, 0, 0]], atol=1e-6)


def test_the_features_are_not_trainable():
    assert isinstance(build_features(random_squeezenet()), keras.Model)
    assert build_features(random_squeezenet()).trainable_variables == []
