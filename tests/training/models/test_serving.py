import numpy as np
import pytest

from training.models.networks import (
    Architecture,
    build_generator,
    kernel_after_shuffle,
    kernel_before_shuffle,
    served_generator,
)

SMALL = Architecture(filters=6, blocks=1, x2_filters=5, x4_filters=4)


@pytest.fixture
def generator():
    """One that adds much to its base: untrained ones add next to nothing."""
    generator, rng = build_generator(SMALL), np.random.default_rng(1)
    generator.set_weights([rng.normal(0, 0.4, w.shape) for w in generator.get_weights()])
    return generator


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (11, 13)])
def test_it_computes_the_same(generator, shape):
    lr = np.random.default_rng(0).random((2, *shape, 3), np.float32)
    expected = np.asarray(generator(lr))
    assert np.asarray(served_generator(generator, SMALL)(lr)) == pytest.approx(
        expected, rel=1e-4, abs=1e-3
    )
    assert np.ptp(expected) > 1


def test_the_kernel_comes_back():
    kernel = np.random.default_rng(0).random((3, 3, 4, 3))
    assert (kernel_after_shuffle(kernel_before_shuffle(kernel)) == kernel).all()


def test_every_tap_is_there_once_for_every_sub_pixel():
    kernel = 1 + np.arange(9.0).reshape(3, 3, 1, 1)
    before = kernel_before_shuffle(kernel)
    assert before.shape == (3, 3, 4, 4)
    for sub_pixel in range(4):
        taps = before[..., sub_pixel]
        assert sorted(taps[taps > 0]) == list(range(1, 10))
