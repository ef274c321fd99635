import keras
import numpy as np
import pytest

from training.models.networks import (
    Architecture,
    Bilinear,
    SubPixelNearest,
    build_generator,
    count_parameters,
    kernel_after_shuffle,
    kernel_before_shuffle,
    served_generator,
)

SMALL = Architecture(filters=8, blocks=2, x2_filters=8, x4_filters=4)


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(0)
    return build_generator(SMALL)


def upscale(generator, lr):
    return np.asarray(generator(lr[None]))[0]


def bilinear(lr):
    """Upscale x4 by NumPy's linear interpolation, first down, then across."""
    for axis in (0, 1):
        centres = np.arange(lr.shape[axis]) * 4 + 1.5
        places = np.arange(4 * lr.shape[axis])
        lr = np.apply_along_axis(lambda line: np.interp(places, centres, line), axis, lr)  # noqa: B023
    return lr


def test_an_untrained_generator_is_nearly_bilinear(generator):
    lr = np.random.default_rng(0).random((9, 14, 3), np.float32)
    assert np.abs(upscale(generator, lr) - bilinear(lr)).mean() < 0.1


@pytest.mark.parametrize("shape", [(9, 14, 3), (1, 1, 3), (1, 5, 1)])
def test_the_base_interpolates_linearly_between_pixels(shape):
    lr = np.random.default_rng(0).random(shape, np.float32)
    np.testing.assert_allclose(upscale(Bilinear(4), lr), bilinear(lr), atol=1e-6)


@pytest.mark.parametrize(("shift", "felt"), [(0, True), (1, False)])
def test_the_stated_radius_is_exact(generator, shift, felt):
    radius = SMALL.radius
    size = 2 * radius + 5
    centre = size // 2
    lr = np.random.default_rng(1).random((size, size, 3), np.float32)
    changed = lr.copy()
    changed[:, centre + radius + shift] += 100
    place = slice(4 * centre, 4 * centre + 4)
    before, after = (upscale(generator, x)[place, place] for x in (lr, changed))
    assert np.array_equal(before, after) is not felt


def test_arithmetic_is_that_of_the_layers(generator):
    multiplications = 0
    grids = {"x4_conv": 4, "tail": 16}
    for layer in generator.layers:
        if isinstance(layer, keras.layers.Conv2D):
            multiplications += np.prod(layer.kernel.shape) * grids.get(layer.name, 1)
    assert pytest.approx(2 * multiplications / 1e6) == SMALL.mflop_per_lr_pixel


def test_parameters_are_counted(generator):
    assert count_parameters(generator) == generator.count_params()


def test_all_sub_pixels_start_with_the_same_kernel():
    kernel = np.asarray(SubPixelNearest(2, seed=3)((3, 3, 5, 12)))
    for sub_pixel in range(1, 4):
        np.testing.assert_array_equal(
            kernel[..., :3], kernel[..., 3 * sub_pixel : 3 * sub_pixel + 3]
        )


def test_a_saved_generator_computes_the_same(generator, tmp_path):
    generator.save(tmp_path / "generator.keras")
    again = keras.saving.load_model(tmp_path / "generator.keras")
    lr = np.random.default_rng(2).random((5, 6, 3), np.float32)
    np.testing.assert_array_equal(upscale(again, lr), upscale(generator, lr))


TINY = Architecture(filters=6, blocks=1, x2_filters=5, x4_filters=4)


@pytest.fixture
def strong_generator():
    """A generator that changes its base a lot; an untrained one hardly changes it."""
    generator, rng = build_generator(TINY), np.random.default_rng(1)
    generator.set_weights([rng.normal(0, 0.4, w.shape) for w in generator.get_weights()])
    return generator


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (11, 13)])
def test_the_served_generator_computes_the_same(strong_generator, shape):
    lr = np.random.default_rng(0).random((2, *shape, 3), np.float32)
    expected = np.asarray(strong_generator(lr))
    assert np.asarray(served_generator(strong_generator, TINY)(lr)) == pytest.approx(
        expected, rel=1e-4, abs=1e-3
    )
    assert np.ptp(expected) > 1


def test_kernel_after_shuffle_inverts_kernel_before_shuffle():
    kernel = np.random.default_rng(0).random((3, 3, 4, 3))
    assert (kernel_after_shuffle(kernel_before_shuffle(kernel)) == kernel).all()


def test_every_tap_occurs_once_for_every_sub_pixel():
    kernel = 1 + np.arange(9.0).reshape(3, 3, 1, 1)
    before = kernel_before_shuffle(kernel)
    assert before.shape == (3, 3, 4, 4)
    for sub_pixel in range(4):
        taps = before[..., sub_pixel]
        assert sorted(taps[taps > 0]) == list(range(1, 10))
