import keras
import numpy as np
import pytest

from tests.support.random_networks import random_squeezenet
from tests.support.stand_ins import noise
from training.evaluation.metrics import LearnedDistance, build_features, unit_vectors


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
