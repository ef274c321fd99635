import numpy as np
import pytest

from tests.support.stand_ins import noise
from training.models.restorer import (
    RestorerArchitecture,
    build_restorer,
    pad_to_stride,
    restore,
)

SMALL = RestorerArchitecture(filters=(4, 6, 8), blocks=(1, 1, 2))


@pytest.fixture(scope="module")
def restorer():
    return build_restorer(SMALL)


def test_a_restored_picture_has_the_size_of_its_input(restorer):
    restored = np.asarray(restorer(np.zeros((2, 16, 24, 3), np.float32)))
    assert (restored.shape, restored.dtype) == ((2, 16, 24, 3), np.float32)


def test_the_network_adds_a_correction_to_its_input(restorer):
    lr = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    weights = restorer.get_layer("tail").get_weights()
    restorer.get_layer("tail").set_weights([weight * 0 for weight in weights])
    np.testing.assert_array_equal(np.asarray(restorer(lr)), lr)
    restorer.get_layer("tail").set_weights(weights)
    assert np.abs(np.asarray(restorer(lr)) - lr).max() > 1e-3


def test_the_radius_is_how_far_a_changed_pixel_can_be_seen():
    restorer = build_restorer(SMALL)
    # With kernels above zero and no biases, zeros stay zeros and ReLU lets every change through.
    restorer.set_weights([0.1 * (w.ndim == 4) * np.ones_like(w) for w in restorer.get_weights()])
    side = 96
    lr = np.zeros((1, side, side, 3), np.float32)
    reach = 0
    for position in range(48, 52):  # all positions on the coarsest grid
        changed = lr.copy()
        changed[0, position, position] = 1
        rows = np.flatnonzero((np.asarray(restorer(changed)) > 0).any(axis=(0, 2, 3)))
        reach = max(reach, position - rows[0], rows[-1] - position)
    assert reach == SMALL.radius


def test_the_arithmetic_is_that_of_all_convolutions(restorer):
    total = 0
    for layer in restorer.layers:
        if layer.weights:
            kernel = layer.get_weights()[0]
            level = int("".join(filter(str.isdigit, layer.name.split("_")[0])) or 0)
            # A transposed convolution has one tap for each pixel of its own, finer grid.
            taps = kernel.size / 4 if layer.name.startswith("up") else kernel.size
            total += 2 * taps / 4**level
    assert SMALL.mflop_per_lr_pixel == pytest.approx(total / 1e6)


def test_pictures_are_mirrored_up_to_multiples_of_the_stride():
    pixels = noise(5, 8)
    padded = pad_to_stride(pixels, 4)
    assert padded.shape == (8, 8, 3)
    np.testing.assert_array_equal(padded[5:], pixels[:1:-1])
    assert pad_to_stride(pixels[:4], 4).shape == (4, 8, 3)
    np.testing.assert_array_equal(
        pad_to_stride(pixels[:1, :1], 4), np.tile(pixels[:1, :1], (4, 4, 1))
    )


def test_a_picture_of_any_size_is_restored(restorer):
    for height, width in ((1, 1), (5, 9), (8, 8)):
        lr = noise(height, width)
        restored = restore(restorer, lr, SMALL.stride)
        assert restored.shape == lr.shape
    whole = np.asarray(restorer(lr[None].astype(np.float32) / 255))[0]
    np.testing.assert_allclose(restored, whole, atol=1e-5)
