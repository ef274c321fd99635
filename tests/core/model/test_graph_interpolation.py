import numpy as np
import pytest
import tensorflow as tf

from core.errors import GraphMismatch
from core.model.graph import FrozenGraph, InterpolatedGraph, load_interpolated_graph
from core.model.upscaler import load_upscaler
from core.picture import Picture
from tests.support.stand_ins import make_card, noise, save_graph

LR = noise(5, 7)


def brighten(gain, offset, *, name="gain"):
    """A serialised graph: nearest neighbour, times a gain by channel, plus an offset."""
    with tf.Graph().as_default() as graph:
        lr = tf.compat.v1.placeholder(tf.uint8, (None, None, None, 3), "lr")
        x = tf.cast(lr, tf.float32) * tf.constant(gain, tf.float32, name=name)
        x = x + tf.constant(offset, tf.float32, name="offset")
        x = tf.repeat(tf.repeat(x, 4, axis=1), 4, axis=2)
        x = tf.cast(tf.round(tf.clip_by_value(x, 0.0, 255.0)), tf.uint8)
        tf.identity(x, "sr")
    return graph.as_graph_def().SerializeToString(deterministic=True)


FAITHFUL = brighten([0.2, 0.2, 0.2], [10.0, 10.0, 10.0])
DETAILED = brighten([0.8, 0.4, 0.2], [0.0, 10.0, 20.0])


@pytest.fixture
def interpolated():
    return InterpolatedGraph(make_card(faithful="plain"), faithful=FAITHFUL, detailed=DETAILED)


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
        InterpolatedGraph(make_card(faithful="plain"), faithful=other, detailed=DETAILED)


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
