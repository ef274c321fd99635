import numpy as np
import pytest

from core.errors import RequestAbandoned
from core.model.graph_parts import choose_cuts
from core.model.lean_graph import LeanGraph
from tests.support import numpy_networks as networks
from tests.support.stand_ins import make_card, noise
from training.convert.architectures import Choices
from training.convert.builder import build_graph
from training.convert.recognition import recognise

FILTERS = 16
NETWORKS = {
    "RRDBNet": networks.random_state(networks.rrdb_shapes(blocks=3, filters=FILTERS)),
    "RRDBNet after unshuffling": networks.random_state(networks.rrdb_shapes(inputs=12)),
    "SRVGGNetCompact": networks.random_state(networks.srvgg_shapes()),
}


@pytest.fixture(scope="module")
def load():
    """Return a function that loads a network in parts."""
    built = {}
    for name, state in NETWORKS.items():
        network = recognise(state, Choices())
        graph = build_graph(network.architecture, network.weights, in_half=True)
        card = make_card(scale=network.architecture.scale, stride=network.architecture.stride)
        built[name] = (card, graph.graph_def)
    return lambda name, **options: LeanGraph(*built[name], threads=1, **options)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (9, 14)])
def test_parts_compute_exactly_what_the_whole_graph_does(load, name, size):
    given = []
    whole, parts = load(name), load(name, share=0.2, give_way=lambda: given.append(1))
    assert (whole.parts, parts.parts >= 3) == (1, True)
    given.clear()
    lr = noise(*size).astype(np.float32)
    np.testing.assert_array_equal(parts(lr), whole(lr))
    assert len(given) == parts.parts - 1


def test_a_window_that_nobody_waits_for_ends_after_a_part(load):
    given = []

    def give_way():
        given.append(1)
        if len(given) == waits_until:
            raise RequestAbandoned

    waits_until = 1000
    network = load("RRDBNet", share=0.2, give_way=give_way)
    waits_until = len(given) + 2
    with pytest.raises(RequestAbandoned):
        network(noise(9, 14))
    assert len(given) == waits_until


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_the_memory_of_a_window_is_that_of_its_largest_tensors(load, share):
    network = load("RRDBNet", share=share)
    for_pixel = (network.activation_bytes(101) - network.activation_bytes(100)) / (101**2 - 100**2)
    largest = 4 * FILTERS * 4**2  # float32 levels on the grid of SR
    assert 2 * largest <= for_pixel <= 5 * largest


def test_cuts_are_where_little_is_in_use_and_parts_are_similar():
    done = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    sizes = [3, 1, 9, 9, 2, 9, 9, 2, 9, 1, 9, 9, 3]
    assert choose_cuts(done, sizes, 3) == [4, 9]
    assert choose_cuts(done, sizes, 12) == []
    assert choose_cuts([0, 1, 50, 51], [1, 1, 1, 1], 10) == [2]
