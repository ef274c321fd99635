import keras
import numpy as np
import pytest

from training.models.losses import (
    GRADIENT_LENGTH,
    LatticeDistance,
    PixelDistance,
    PixelLoss,
    TextureDistance,
    UnitGradient,
    repeated_block,
)

HR = np.random.default_rng(0).random((2, 5, 6, 3), np.float32)
SR = np.random.default_rng(1).random((2, 5, 6, 3), np.float32)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.1, 10.0])
def test_the_distance_is_charbonnier(epsilon):
    expected = np.mean(np.sqrt((SR - HR).astype(np.float64) ** 2 + epsilon**2) - epsilon)
    assert float(PixelLoss(epsilon)(HR, SR)) == pytest.approx(expected, rel=1e-3)


def test_equal_pictures_have_no_distance():
    assert float(PixelLoss(0.0)(HR, HR)) == 0
    assert float(PixelLoss(0.1)(HR, HR)) == pytest.approx(0, abs=1e-6)


def test_a_large_epsilon_ranks_like_the_squared_error():
    far_once, near_often = HR.copy(), HR.copy()
    far_once[0, 0, 0, 0] += 10.0
    near_often += 10.0 / HR.size
    absolute, squared = PixelLoss(0.0), PixelLoss(100.0)
    assert float(absolute(HR, far_once)) == pytest.approx(float(absolute(HR, near_often)), rel=1e-3)
    assert float(squared(HR, far_once)) > 50 * float(squared(HR, near_often))


def test_a_loss_is_restored_from_its_configuration():
    again = PixelLoss.from_config(PixelLoss(0.1, 0.2, 0.3).get_config())
    assert (again.epsilon, again.chroma_weight, again.log_floor) == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_chroma_counts_at_its_weight(epsilon):
    grey = np.full_like(HR, 0.01)  # luma only
    coloured = np.zeros_like(HR) + np.array([0.01, 0.0, -0.01 * 0.299 / 0.114], np.float32)
    plain, weighted = PixelLoss(epsilon), PixelLoss(epsilon, 0.1)
    alike = float(plain(HR, HR + grey))
    assert float(weighted(HR, HR + grey)) == pytest.approx(alike, rel=1e-3)
    of_colour = float(plain(HR, HR + coloured))
    assert float(weighted(HR, HR + coloured)) == pytest.approx(0.1 * of_colour, rel=1e-3)


def test_the_logarithm_is_taken_per_patch():
    plain = [float(PixelLoss(0.1)(HR[n : n + 1], SR[n : n + 1])) for n in range(2)]
    expected = np.mean(np.log(np.array(plain) + 1e-3))
    assert float(PixelLoss(0.1, log_floor=1e-3)(HR, SR)) == pytest.approx(expected, rel=1e-3)


def test_above_the_floor_a_smooth_patch_counts_as_much_as_a_busy_one():
    far = np.array([0.1, 0.001], np.float32).reshape(2, 1, 1, 1) * np.ones_like(HR)

    def gain(floor, patch):
        """Return how much the loss falls if the distance of one patch is halved."""
        closer = far.copy()
        closer[patch] /= 2
        return float(PixelLoss(log_floor=floor)(HR, HR + far)) - float(
            PixelLoss(log_floor=floor)(HR, HR + closer)
        )

    assert gain(1e-6, 0) == pytest.approx(gain(1e-6, 1), rel=1e-2)
    assert gain(1e-2, 0) > 10 * gain(1e-2, 1)


def lattice(sr, hr):
    return np.asarray(LatticeDistance(4)(sr, hr))


def test_what_repeats_with_lr_pixels_is_the_mean_block():
    rng = np.random.default_rng(0)
    block = rng.random((1, 4, 4, 3), np.float32)
    repeated = np.tile(block, (1, 16, 16, 1))
    noise = rng.normal(0, 0.1, repeated.shape).astype(np.float32)
    for pictures, tolerance in ((repeated, 1e-6), (repeated + noise, 0.1)):
        areas = np.asarray(repeated_block(pictures, 4))
        assert areas.shape == (1, 3, 3, 48)
        assert np.abs(areas - block.reshape(48)).max() < tolerance


def test_a_lattice_has_a_distance_and_texture_has_none():
    random = np.random.default_rng(0)
    hr, texture = (random.random((2, 64, 96, 3), np.float32) for _ in range(2))
    uneven = np.tile([[1, 1, 0, 0]], (64, 24)).astype(np.float32)[None, ..., None]
    assert lattice(hr, hr) == pytest.approx(np.zeros((2, 1)))
    assert lattice(texture, hr).max() < 3e-3
    assert lattice(texture / 4, hr).max() < 3e-3  # faint texture is not a lattice either
    columns = texture * (0.5 + uneven)
    assert lattice(columns, hr).min() > 3e-2
    assert lattice(np.swapaxes(columns, 1, 2), np.swapaxes(hr, 1, 2)).min() > 3e-2


def test_a_lattice_is_relative_to_the_mean_difference():
    """Steps of 1 and 3 along rows, of 2 along columns: half of the positions deviate by a half."""
    columns = np.cumsum(np.tile([1, 3], 16))[None, :] / 64
    rows = 2 * np.arange(24)[:, None] / 64
    sr = np.float32(rows + columns)[None, ..., None]
    even = np.float32(rows + 2 * np.arange(32)[None] / 64)[None, ..., None]
    assert lattice(sr, even).item() == pytest.approx(0.25 / 2, rel=0.1)


def test_flat_pictures_have_no_lattice():
    flat = np.full((1, 32, 32, 3), 0.5, np.float32)
    assert lattice(flat, flat).item() == 0


def distance(sr, hr):
    return np.asarray(TextureDistance()(sr, hr))


def grain(deviation, seed=0):
    """Return grey noise around mid-grey, (2, 64, 48, 3)."""
    noise = np.random.default_rng(seed).normal(0.5, deviation, (2, 64, 48, 1))
    return np.repeat(noise, 3, axis=-1).astype(np.float32)


def test_texture_distance_compares_strength_but_not_position():
    hr = grain(0.2)
    same, half = distance(grain(0.2, seed=1), hr), distance(grain(0.1), hr)
    assert distance(hr, hr) == pytest.approx(np.zeros((2, 1)))
    assert same.max() < 0.15
    assert half == pytest.approx(np.full((2, 1), np.log(2)), rel=0.15)
    assert distance(grain(0.05), grain(0.1)) == pytest.approx(half, rel=0.15)


def test_visible_grain_on_a_smooth_surface_counts_and_invisible_grain_does_not():
    even = np.full((2, 64, 48, 3), 0.5, np.float32)
    assert distance(grain(0.03), even).min() > 0.8
    assert distance(grain(0.0005), even).max() < 0.03
    assert distance(even + 0.2, even) == pytest.approx(np.zeros((2, 1)), abs=1e-4)


def test_texture_in_one_colour_counts_by_its_luma():
    hr = np.full((1, 32, 32, 3), 0.5, np.float32)
    changes = {channel: hr.copy() for channel in range(3)}
    for channel, sr in changes.items():
        sr[..., channel] = grain(0.1)[0, :32, :32, 0]
    red, green, blue = (distance(sr, hr).item() for sr in changes.values())
    assert green > red > blue > 0


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_the_pixel_distance_is_the_loss_of_each_picture(epsilon):
    distances = np.asarray(PixelDistance(epsilon)(SR, HR))
    assert distances.shape == (2, 1)
    assert distances.mean() == pytest.approx(float(PixelLoss(epsilon)(HR, SR)), rel=1e-5)
    assert distances[0, 0] == pytest.approx(float(PixelLoss(epsilon)(HR[:1], SR[:1])), rel=1e-5)


def gradient_of(factor, shares):
    """Return the gradient of two losses on a picture of zeros, by one step of descent.

    The first loss is the mean squared difference times `factor`, the second the mean absolute
    difference.
    """
    picture = keras.Input((5, 6, 3))
    layer = keras.layers.EinsumDense("bhwc,c->bhwc", (5, 6, 3), kernel_initializer="zeros")
    seen = [UnitGradient(share)(layer(picture)) for share in shares]
    model = keras.Model(picture, seen)
    model.compile(
        keras.optimizers.SGD(1.0),
        ["mse", "mae"],
        loss_weights=[factor, 1.0],
        jit_compile=False,
    )
    model.train_on_batch(np.ones_like(HR), [HR, HR])
    return -layer.get_weights()[0]


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_a_loss_of_any_size_has_a_gradient_of_its_share(factor):
    of_squares = -HR / np.linalg.norm(HR)
    of_amounts = -np.ones_like(HR) / np.sqrt(HR.size)
    expected = GRADIENT_LENGTH * (0.5 * of_squares + 0.2 * of_amounts).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(gradient_of(factor, (0.5, 0.2)), expected, rtol=1e-4)


def test_a_gradient_that_is_not_finite_becomes_zero():
    expected = -GRADIENT_LENGTH * 0.2 / np.sqrt(HR.size) * np.full(3, 2 * 5 * 6)
    received = gradient_of(float("inf"), (0.5, 0.2))
    np.testing.assert_allclose(received, expected, rtol=1e-4)


def test_a_unit_gradient_changes_no_picture_and_is_restored_from_its_configuration():
    layer = UnitGradient.from_config(UnitGradient(0.25).get_config())
    assert layer.share == 0.25
    np.testing.assert_array_equal(np.asarray(layer(SR)), SR)
