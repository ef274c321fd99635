import numpy as np
import pytest

from benchmarks.original import SCALE, list_convolutions, mflop_per_lr_pixel, radius
from core.model.graph import tf
from tests.support.stand_ins import noise


@pytest.fixture(scope="module")
def graph_def(tmp_path_factory):
    from benchmarks.original_network import save_frozen

    path = tmp_path_factory.mktemp("original") / "original.pb"
    save_frozen(path)
    return tf.compat.v1.GraphDef.FromString(path.read_bytes())


@pytest.fixture(scope="module")
def frozen(graph_def):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    run = tf.compat.v1.Session(graph=graph).make_callable("sr:0", feed_list=["lr:0"])
    return lambda lr: run(lr[None])[0]


@pytest.fixture(scope="module")
def written():
    """The network with variables, as the original runs it."""
    from benchmarks.original_network import load_original

    return load_original("by channel")


def test_the_arithmetic_is_that_of_the_paper():
    assert mflop_per_lr_pixel() == pytest.approx(4.436, abs=0.001)


def test_the_radius_is_that_of_the_paper():
    assert radius() == 40


def test_the_graph_has_the_kernels_that_are_counted(graph_def):
    values = {n.name: n.attr["value"].tensor for n in graph_def.node if n.op == "Const"}
    kernels = [
        tuple(d.size for d in values[n.input[1]].tensor_shape.dim)
        for n in graph_def.node
        if n.op == "Conv2D"
    ]
    assert kernels == [(c.kernel, c.kernel, c.channels, c.filters) for c in list_convolutions()]


def test_a_picture_becomes_four_times_as_large(frozen, written):
    for network in (frozen, written):
        sr = network(noise(5, 7))
        assert sr.shape == (SCALE * 5, SCALE * 7, 3)
        assert sr.dtype == np.uint8


def test_random_weights_do_not_saturate(written):
    sr = written(noise(9, 11))
    assert sr.std() > 5
    assert np.isin(sr, (0, 255)).mean() < 0.2


def test_the_network_divides_by_the_pictures_own_maximum(written):
    lr = noise(5, 7)
    lr[0, 0, 0] = 254
    np.testing.assert_allclose(written(lr // 2), written(lr // 2 * 2), atol=1)


@pytest.mark.parametrize("size", [(2, 3), (1, 1)])
def test_the_shuffle_by_channel_puts_neighbours_side_by_side(size):
    from benchmarks.original_network import shuffle_by_channel

    height, width = size
    x = noise(height, width, 12).astype(np.float32)
    shuffled = shuffle_by_channel(tf.constant(x[None])).numpy()[0]
    assert shuffled.shape == (2 * height, 2 * width, 3)
    for channel in range(3):
        np.testing.assert_array_equal(
            shuffled[:2, :2, channel].ravel(), x[0, 0, 4 * channel : 4 * channel + 4]
        )
