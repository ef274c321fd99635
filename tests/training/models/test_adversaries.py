import re

import keras
import numpy as np
import pytest

from tests.support.random_networks import VGG_SHAPES, random_vgg
from training.models.adversaries import (
    SHIFTS,
    VGG_WEIGHTS,
    ContentDistance,
    Shift,
    build_content_features,
    build_discriminator,
    compare_content,
    crop,
    direction,
    draw_start,
    stride_of,
)

LAYERS = ("conv1_2", "conv2_2", "conv3_1")


@pytest.fixture(scope="module")
def content(perceptual_folder):
    return build_content_features(perceptual_folder, LAYERS)


@pytest.fixture
def vgg_folder(tmp_path):
    """Random weights of all channels of VGG-19."""
    np.savez(tmp_path / VGG_WEIGHTS, **random_vgg())
    return tmp_path


def test_the_content_features_are_those_of_vgg_19(vgg_folder):
    weights = random_vgg()
    features = build_content_features(vgg_folder, LAYERS)
    rgb = np.random.default_rng(1).random((1, 12, 16, 3), np.float32)
    received = dict(zip(LAYERS, map(np.asarray, features(rgb)), strict=True))
    x = rgb[0]
    for name in VGG_SHAPES:
        x = convolve(x, weights[f"{name}/kernel"], weights[f"{name}/bias"])
        if name != "rgb_to_caffe":
            x = np.maximum(x, 0)
        if name in LAYERS:
            np.testing.assert_allclose(received.pop(name)[0], x, rtol=1e-3, atol=1e-3)
        if name in ("conv1_2", "conv2_2"):
            height, width, channels = x.shape
            x = x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
    assert x.shape == (3, 4, 256)
    assert not received


@pytest.mark.parametrize("names", [["conv1_2", "conv5_4"], []])
def test_unknown_content_layers_are_reported(perceptual_folder, names):
    expected = f"some of conv1_1, .*, conv3_1. Received: {re.escape(str(names))}"
    with pytest.raises(ValueError, match=expected):
        build_content_features(perceptual_folder, names)


def test_content_can_be_compared_at_one_early_layer(vgg_folder):
    features = build_content_features(vgg_folder, ["conv2_2"])
    assert features.compute_output_shape((1, 16, 24, 3)) == [(1, 8, 12, 128)]


def test_without_a_folder_keras_provides_the_whole_vgg_19(monkeypatch):
    whole = keras.applications.VGG19
    asked = []

    def untrained(**kwargs):
        asked.append(kwargs["weights"])
        return whole(**(kwargs | {"weights": None}))

    monkeypatch.setattr(keras.applications, "VGG19", untrained)
    features = build_content_features(None, ["conv4_2", "conv1_1"])
    deep, first = features(np.random.default_rng(0).random((2, 32, 32, 3), np.float32))
    assert asked == ["imagenet"]
    assert deep.shape == (2, 4, 4, 512)
    assert first.shape == (2, 32, 32, 64)
    assert not features.trainable_variables


def everywhere(*features):
    """Return a feature map with the same vector everywhere."""
    return np.broadcast_to(np.float32(features), (1, 32, 48, 2))


def distance(sr, hr):
    return np.asarray(ContentDistance(["conv1_1"])([sr], [hr])).item()


@pytest.mark.parametrize(
    ("sr", "hr", "expected"),
    [
        ((3, 4), (30, 40), 0),  # the same direction
        ((5, 0), (0, 2), 2),
        ((2, 0), (1, 1), 2 - 2**0.5),
        ((0, 0), (0, 7), 1),  # no features instead of some
        ((0, 0), (0, 0), 0),
    ],
)
def test_content_is_compared_by_the_direction_of_features(sr, hr, expected):
    assert distance(everywhere(*sr), everywhere(*hr)) == pytest.approx(expected, abs=2e-3)


@pytest.fixture
def stripes():
    """Return a feature map whose two features alternate from row to row."""
    features = np.zeros((1, 32, 48, 2), np.float32)
    features[:, ::2, :, 0] = features[:, 1::2, :, 1] = 1
    return features


def test_the_position_of_texture_in_its_cell_does_not_count(stripes):
    """The only map is the deepest, so it is compared pixel by pixel too."""
    flat, moved, absent = everywhere(0.5, 0.5), stripes[:, ::-1], everywhere(1, 0)
    for other, in_cells in ((flat, 0), (moved, 0), (absent, 2 - 2**0.5)):
        by_pixel = np.mean(np.sum((direction(stripes) - direction(other)) ** 2, -1))
        assert distance(stripes, other) == pytest.approx((by_pixel + in_cells) / 2, abs=1e-3)


def test_only_the_deepest_map_is_compared_pixel_by_pixel(stripes):
    moved = stripes[:, ::-1]
    compare = ContentDistance(["conv1_1", "conv1_2"])
    assert np.asarray(compare([stripes, stripes], [moved, stripes])).item() == pytest.approx(0)
    in_the_last = np.asarray(compare([stripes, stripes], [stripes, moved])).item()
    assert in_the_last == pytest.approx(2 / 3, abs=1e-3)  # one of three comparisons


@pytest.mark.parametrize(
    ("in_cells", "expected"),
    [
        (True, (0, 2 / 3)),
        (False, (1, 1)),
        (["conv1_1"], (0, 1)),
        (["conv1_2"], (1, 0)),
        (["conv1_1", "conv1_2"], (0, 0)),
    ],
)
def test_layers_are_compared_in_cells_or_pixel_by_pixel(stripes, in_cells, expected):
    """A map whose texture is moved by a pixel differs by 2 pixel by pixel, and by 0 in cells."""
    compare, moved = ContentDistance(["conv1_1", "conv1_2"], in_cells=in_cells), stripes[:, ::-1]
    first = compare([stripes, stripes], [moved, stripes])
    second = compare([stripes, stripes], [stripes, moved])
    assert (first.numpy().item(), second.numpy().item()) == pytest.approx(expected, abs=1e-3)


def test_each_picture_of_a_batch_has_its_own_content_distance(content):
    lr, hr = (np.random.default_rng(n).random((2, 32, 32, 3), np.float32) for n in range(2))
    sr_features, hr_features = content(lr), content(hr)
    whole = np.asarray(ContentDistance(LAYERS)(sr_features, hr_features))
    assert whole.shape == (2, 1)
    of_one = ContentDistance(LAYERS)([f[1:] for f in sr_features], [f[1:] for f in hr_features])
    np.testing.assert_allclose(of_one, whole[1:], rtol=1e-4)


def test_content_is_compared_at_several_scales(content):
    hr = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    finest = np.where(np.indices((32, 48)).sum(0) % 2, 0.1, -0.1)[None, ..., None]
    sr = (hr + finest).astype(np.float32)  # equal to HR at half the size

    def compare(*weights):
        return float(compare_content(content, ContentDistance(LAYERS), weights, sr, hr)[0, 0])

    whole = compare(1.0)
    assert whole > 1e-3
    assert compare(0.0, 1.0, 1.0) == pytest.approx(0, abs=1e-5)
    assert compare(2.0, 1.0) == pytest.approx(2 * whole, rel=1e-3)


def test_a_scale_of_weight_zero_is_not_computed(content):
    looked_at = []

    def features(pictures):
        looked_at.append(pictures.shape[1:3])
        return content(pictures)

    hr = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    compare_content(features, ContentDistance(LAYERS), (0.0, 1.0, 0.0), hr, hr)
    assert looked_at == [(16, 24)] * 2


@pytest.mark.parametrize(("name", "stride"), [("conv1_2", 1), ("conv2_1", 2), ("conv5_4", 16)])
def test_the_stride_of_a_layer_follows_from_the_poolings_before_it(name, stride):
    assert stride_of(name) == stride


def convolve(x, kernel, bias):
    """Return a zero-padded convolution, computed from its definition."""
    size = len(kernel)
    padded = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    height, width, _ = x.shape
    return bias + sum(
        padded[dy : dy + height, dx : dx + width] @ kernel[dy, dx]
        for dy in range(size)
        for dx in range(size)
    )


def test_a_discriminator_judges_patches():
    assert build_discriminator(4).compute_output_shape((5, 96, 64, 3)) == (5, 12, 8, 1)


def test_a_discriminator_sees_texture_and_no_colour():
    discriminator = build_discriminator(4)
    texture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32) / 4
    darker, lighter = (np.asarray(discriminator(texture + level)) for level in (0.0, 0.5))
    np.testing.assert_allclose(darker, lighter, atol=1e-4)
    assert np.abs(darker - np.asarray(discriminator(texture / 2))).max() > 1e-2


def test_pictures_start_at_another_offset_in_every_step():
    pictures = np.random.default_rng(0).random((2, 20, 24, 3), np.float32)
    start = np.array([3, 5], np.int32)
    np.testing.assert_array_equal(crop(pictures, start), pictures[:, 3:16, 5:22])
    shifted = np.asarray(Shift()(pictures, np.tile(start, (2, 1))))
    np.testing.assert_array_equal(shifted, crop(pictures, start))
    starts = [draw_start(step) for step in range(50)]
    assert len({tuple(start) for start in starts}) > 25
    assert all(0 <= start.min() <= start.max() < SHIFTS for start in starts)
    assert np.array_equal(starts[7], draw_start(7))
