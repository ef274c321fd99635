import keras
import numpy as np
import pytest

from tests.stand_ins import noise
from training.perceptual import COMPARED, WEIGHTS, LearnedDistance, build_features, unit_vectors

SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
WIDE = {2: 128, 3: 128, 4: 256, 5: 256, 6: 384, 7: 384, 8: 512, 9: 512}


def random_weights():
    """The shapes of SqueezeNet 1.1, with values of no meaning."""
    rng = np.random.default_rng(0)
    shapes = {"conv1": (3, 3, 3, 64)}
    channels = 64
    for index in SQUEEZED:
        squeezed, half = SQUEEZED[index], WIDE[index] // 2
        shapes[f"fire{index}/squeeze1x1"] = (1, 1, channels, squeezed)
        shapes[f"fire{index}/expand1x1"] = (1, 1, squeezed, half)
        shapes[f"fire{index}/expand3x3"] = (3, 3, squeezed, half)
        channels = WIDE[index]
    weights = {}
    for name, shape in shapes.items():
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        weights[f"{name}/kernel"] = (scale * rng.normal(size=shape)).astype(np.float32)
        weights[f"{name}/bias"] = np.zeros(shape[-1], np.float32)
    for index, name in enumerate(COMPARED):
        channels = 64 if name == "conv1" else WIDE[int(name[4:])]
        weights[f"lpips/lin{index}"] = rng.random(channels).astype(np.float32)
    return weights


@pytest.fixture(scope="module")
def distance(tmp_path_factory):
    folder = tmp_path_factory.mktemp("perceptual")
    np.savez(folder / WEIGHTS, **random_weights())
    return LearnedDistance(folder)


def test_equal_pictures_have_no_distance(distance):
    assert distance(noise(40, 52), noise(40, 52)) == 0


def test_distance_grows_with_the_difference(distance):
    hr = noise(40, 52)
    near = np.clip(hr.astype(int) + 3, 0, 255).astype(np.uint8)
    assert 0 < distance(near, hr) < distance(noise(40, 52, seed=9), hr)


def test_distance_is_symmetric(distance):
    a, b = noise(40, 52, seed=1), noise(40, 52, seed=2)
    assert distance(a, b) == pytest.approx(distance(b, a))


def test_the_first_layer_sees_blue_green_red_less_the_mean_at_every_other_pixel():
    weights = random_weights()
    features = build_features(weights)
    rgb = noise(43, 51).astype(np.float32)
    first = np.asarray(features(rgb[None])[0])[0]
    centred = rgb[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    place = centred[4:7, 6:9]
    expected = np.maximum(np.einsum("yxi,yxio->o", place, weights["conv1/kernel"]), 0)
    np.testing.assert_allclose(first[2, 3], expected, rtol=1e-4, atol=1e-2)
    assert first.shape == (21, 25, 64)


def test_seven_layers_are_compared_each_on_its_grid():
    shapes = [
        tuple(layer.shape) for layer in build_features(random_weights())(np.zeros((1, 64, 64, 3)))
    ]
    assert [shape[-1] for shape in shapes] == [64, 128, 256, 384, 384, 512, 512]
    assert [shape[1] for shape in shapes] == [31, 15, 7, 3, 3, 3, 3]


def test_vectors_are_scaled_to_length_1_and_zeros_stay():
    vectors = np.zeros((2, 3, 4), np.float32)
    vectors[0] = 5
    lengths = np.linalg.norm(unit_vectors(vectors), axis=-1)
    np.testing.assert_allclose(lengths, [[1, 1, 1], [0, 0, 0]], atol=1e-6)


def test_the_features_are_not_trainable():
    assert isinstance(build_features(random_weights()), keras.Model)
    assert build_features(random_weights()).trainable_variables == []
