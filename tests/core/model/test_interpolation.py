import numpy as np
import pytest
import tensorflow as tf

from core.errors import GraphMismatch
from core.model.graph import FrozenGraph
from core.model.interpolation import (
    InterpolatedGraph,
    VerifiedGraph,
    load_interpolated_graph,
    load_restored_graph,
)
from core.model.upscaler import load_upscaler
from core.picture import Picture
from tests.support.stand_ins import make_card, noise, save_graph

LR = noise(5, 7)


def brighten(gain, offset, *, name="gain", weights=tf.float32, scale=4):
    """A serialised graph: nearest neighbour, times a gain by channel, plus an offset.

    It asks its input for the shape, as networks that extend pictures do.
    """
    with tf.Graph().as_default() as graph:
        lr = tf.compat.v1.placeholder(tf.uint8, (None, None, None, 3), "lr")
        x = tf.reshape(tf.cast(lr, tf.float32), tf.shape(lr))
        x = x * tf.cast(tf.constant(gain, weights, name=name), tf.float32)
        x = x + tf.cast(tf.constant(offset, weights, name="offset"), tf.float32)
        x = tf.repeat(tf.repeat(x, scale, axis=1), scale, axis=2)
        x = tf.cast(tf.round(tf.clip_by_value(x, 0.0, 255.0)), tf.uint8)
        tf.identity(x, "sr")
    return graph.as_graph_def().SerializeToString(deterministic=True)


FAITHFUL = brighten([0.2, 0.2, 0.2], [10.0, 10.0, 10.0])
DETAILED = brighten([0.8, 0.4, 0.2], [0.0, 10.0, 20.0])


def ends(*graph_defs):
    """Serialised graphs with their cards; the first is called `plain`, the others `rich`."""
    names = ["plain", *["rich"] * (len(graph_defs) - 1)]
    return [
        VerifiedGraph(make_card(name=name), graph_def)
        for name, graph_def in zip(names, graph_defs, strict=True)
    ]


@pytest.fixture
def interpolated():
    return InterpolatedGraph(ends(FAITHFUL, DETAILED))


@pytest.mark.parametrize("detail", [0.0, 0.3, 0.5, 1.0])
def test_every_weight_is_interpolated(interpolated, detail):
    gain = (1 - detail) * np.array([0.2, 0.2, 0.2]) + detail * np.array([0.8, 0.4, 0.2])
    offset = (1 - detail) * np.array([10, 10, 10]) + detail * np.array([0, 10, 20])
    expected = (LR * gain + offset).repeat(4, axis=0).repeat(4, axis=1)
    assert np.abs(interpolated(LR, detail) - expected).max() <= 0.5 + 1e-3


def test_both_ends_are_the_frozen_graphs(interpolated):
    for detail, graph_def in ((0.0, FAITHFUL), (1.0, DETAILED)):
        expected = FrozenGraph(make_card(), graph_def)(LR)
        assert np.abs(interpolated(LR, detail).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "other",
    [
        brighten([0.2, 0.2, 0.2], [10.0, 10.0, 10.0], name="gains"),
        brighten([0.2], [10.0, 10.0, 10.0]),
    ],
    ids=["other names", "other shapes"],
)
def test_another_architecture_is_refused(other):
    with pytest.raises(GraphMismatch, match="must have the architecture of `plain`"):
        InterpolatedGraph(ends(other, DETAILED))


def test_weights_of_16_bits_are_interpolated_without_rounding():
    low, high = (brighten([gain] * 3, [0.0] * 3, weights=tf.float16) for gain in (1000.0, 1001.0))
    one = np.ones((1, 1, 3), np.float32) / 100
    levels = InterpolatedGraph(ends(low, high))(one, 0.3)
    np.testing.assert_allclose(levels, 10.003, atol=1e-4)


def test_float_levels_are_not_rounded(interpolated):
    levels = LR.astype(np.float32) + 0.25
    sr = interpolated(levels, 1.0)
    assert sr.dtype == np.float32
    exact = levels * np.array([0.8, 0.4, 0.2]) + np.array([0, 10, 20])
    np.testing.assert_allclose(sr[::4, ::4], exact, atol=1e-3)


@pytest.mark.parametrize("detail", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("strength", [0.0, 0.7, 1.0])
def test_four_ends_are_interpolated_by_both_parameters(detail, strength):
    gains = [0.1, 0.3, 0.5, 0.9]
    graph = InterpolatedGraph(ends(*(brighten([gain] * 3, [0.0] * 3) for gain in gains)))
    low, high = (gains[k] + detail * (gains[k + 1] - gains[k]) for k in (0, 2))
    gain = low + strength * (high - low)
    levels = graph(LR.astype(np.float32), detail, strength)
    np.testing.assert_allclose(levels[::4, ::4], LR * gain, atol=1e-3)


@pytest.fixture
def card_path(tmp_path):
    """The card of the detailed graph, with the faithful one beside it."""
    save_graph(tmp_path, make_card(name="plain"), FAITHFUL)
    return save_graph(tmp_path, make_card(name="rich", faithful="plain"), DETAILED)


def test_the_faithful_graph_is_found_beside_the_card(card_path):
    upscaler = load_upscaler(card_path, window=16, threads=1)
    plain = load_upscaler(card_path.with_name("plain.json"), window=16, threads=1)
    faithful = plain.upscale(Picture(LR)).pixels
    assert upscaler.least_detail == 0
    np.testing.assert_array_equal(upscaler.upscale(Picture(LR), detail=0.0).pixels, faithful)
    assert not np.array_equal(upscaler.upscale(Picture(LR)).pixels, faithful)


def test_without_a_faithful_graph_there_is_no_interpolated_one(card_path):
    assert load_interpolated_graph(card_path.with_name("plain.json")) is None


def test_a_missing_faithful_graph_is_refused(card_path):
    card_path.with_name("plain.pb").unlink()
    with pytest.raises(GraphMismatch, match="plain.pb"):
        load_interpolated_graph(card_path)


def test_a_changed_faithful_graph_is_refused(card_path):
    card_path.with_name("plain.pb").write_bytes(DETAILED)
    with pytest.raises(GraphMismatch, match="sha256"):
        load_interpolated_graph(card_path)


def save_tuned(folder, *, faithful):
    """Write graphs whose gains are those of the fixture plus 0.1, as tuned to restored pictures."""
    save_graph(folder, make_card(name="plain-tuned"), brighten([0.3] * 3, [10.0] * 3))
    card = make_card(name="rich-tuned", faithful=faithful)
    save_graph(folder, card, brighten([0.9, 0.5, 0.3], [0.0, 10.0, 20.0]))


@pytest.mark.parametrize(
    ("faithful", "gain", "offset"),
    [
        pytest.param("plain", [0.5, 0.3, 0.2], [5, 10, 15], id="by detail and strength"),
        pytest.param(None, [0.8, 0.4, 0.2], [0, 10, 20], id="by strength alone"),
    ],
)
def test_tuned_graphs_are_interpolated(card_path, faithful, gain, offset):
    save_tuned(card_path.parent, faithful=faithful and "plain-tuned")
    card = make_card(name="rich", faithful=faithful, restored="rich-tuned")
    graph = load_restored_graph(save_graph(card_path.parent, card, DETAILED))
    levels = graph(LR.astype(np.float32), 0.5, 0.7)
    expected = LR * (np.array(gain) + 0.1 * 0.7) + np.array(offset)
    np.testing.assert_allclose(levels[::4, ::4], expected, atol=1e-3)


@pytest.mark.parametrize("faithful", ["plain", None])
def test_the_tuned_graph_of_full_detail_and_strength_continues_the_interpolated_one(
    card_path, faithful
):
    save_tuned(card_path.parent, faithful=faithful and "plain-tuned")
    card = make_card(name="rich", faithful=faithful, restored="rich-tuned")
    graph = load_restored_graph(save_graph(card_path.parent, card, DETAILED))
    levels = LR.astype(np.float32)
    almost = graph(levels, 1.0, 1 - 1e-6)
    np.testing.assert_allclose(graph(levels, 1.0, 1.0), almost, atol=1e-3)


def test_weights_of_full_detail_and_strength_are_constants(card_path):
    save_tuned(card_path.parent, faithful=None)
    huge = brighten([2.0**30] * 3, [0.0] * 3)  # interpolation would round the tuned weights to 0
    card = make_card(name="huge", restored="rich-tuned")
    graph = load_restored_graph(save_graph(card_path.parent, card, huge))
    levels = graph(LR.astype(np.float32), 1.0, 1.0)
    expected = LR * np.array([0.9, 0.5, 0.3]) + np.array([0, 10, 20])
    np.testing.assert_allclose(levels[::4, ::4], expected, atol=1e-3)


def test_a_tuned_graph_needs_a_faithful_one_as_well(card_path):
    save_tuned(card_path.parent, faithful=None)
    card = make_card(name="rich", faithful="plain", restored="rich-tuned")
    with pytest.raises(GraphMismatch, match="if and only if"):
        load_restored_graph(save_graph(card_path.parent, card, DETAILED))


def test_the_upscaler_has_the_cards_of_all_graphs(card_path):
    save_tuned(card_path.parent, faithful="plain-tuned")
    card = make_card(name="rich", faithful="plain", restored="rich-tuned")
    upscaler = load_upscaler(
        save_graph(card_path.parent, card, DETAILED), window=16, threads=1, precision="float32"
    )
    names = [card.name for card in upscaler.cards]
    assert names == ["rich", "plain", "rich-tuned", "plain-tuned"]


def test_without_a_tuned_graph_there_is_none(card_path):
    assert load_restored_graph(card_path) is None


@pytest.fixture
def restoring_card_path(card_path):
    """The card of the detailed graph, with a restorer of two ends that sees its shape."""
    for name, faithful, offset in (("clear", None, 0.0), ("clean", "clear", 20.0)):
        graph = brighten([1.0] * 3, [offset] * 3, weights=tf.float16, scale=1)
        card = make_card(name=name, scale=1, stride=4, faithful=faithful)
        save_graph(card_path.parent, card, graph)
    return save_graph(card_path.parent, make_card(name="rich", restorer="clean"), DETAILED)


def test_the_restorer_is_found_beside_the_card(restoring_card_path):
    upscaler = load_upscaler(restoring_card_path, window=16, threads=1)
    assert upscaler.restorer.card.name == "clean"
    lr = Picture(LR // 2)
    sr = upscaler.upscale(lr, restoration=upscaler.restoration(lr, 0.5)).pixels
    exact = (LR // 2 + 10.0) * np.array([0.8, 0.4, 0.2]) + np.array([0, 10, 20])
    assert np.abs(sr[::4, ::4] - exact).max() <= 0.5 + 1e-3


def test_detail_interpolates_the_restorer(restoring_card_path):
    upscaler = load_upscaler(restoring_card_path, window=16, threads=1)
    levels = LR.astype(np.float32) / 2
    for detail in (0.0, 0.3, 1.0):
        restored = upscaler.restorer.run(levels, detail)
        np.testing.assert_allclose(restored, levels + 20 * detail, atol=1e-3)
