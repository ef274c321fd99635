"""The frozen graph: loaded, checked against its card, run.

TensorFlow does not survive a fork, so a graph is loaded in the process that runs it.
"""

from pathlib import Path

from core.card import ModelCard, read_card, read_verified_graph
from core.errors import GraphMismatch
from core.pixels import Uint8Array
from core.tensorflow import tf

PROBE_SHAPE = (1, 3, 5, 3)  # of the first run, which also warms the library up


class FrozenGraph:
    """A network as a callable: LR (h, w, 3) uint8 -> SR (scale*h, scale*w, 3) uint8.

    Calls may come from several threads.

    Args:
        card: what the graph is.
        graph_def: the serialised graph, verified against the card's sha256.
        threads: threads of one operation; 0 for one per core.

    Raises:
        GraphMismatch: if the graph has not the tensors, or not the scale, of its card.
    """

    def __init__(self, card: ModelCard, graph_def: bytes, *, threads: int = 0) -> None:
        self.card = card
        session = open_session(_import_graph(card, graph_def), threads)
        self._run = session.make_callable(card.output_tensor, feed_list=[card.input_tensor])
        self._check()

    def __call__(self, lr: Uint8Array) -> Uint8Array:
        sr: Uint8Array = self._run(lr[None])[0]
        return sr

    def _check(self) -> None:
        batch, height, width, channels = PROBE_SHAPE
        scale = self.card.scale
        expected = (batch, scale * height, scale * width, channels)
        received = self._run(tf.zeros(PROBE_SHAPE, tf.uint8).numpy())
        if received.shape != expected or received.dtype != "uint8":
            raise GraphMismatch(
                f"Graph `{self.card.name}` must answer {PROBE_SHAPE} with {expected} uint8. "
                f"Received: {received.shape} {received.dtype}"
            )


def open_session(graph: tf.Graph, threads: int) -> tf.compat.v1.Session:
    """Where a graph runs; `threads` of one operation, 0 for one per core."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1
    )
    return tf.compat.v1.Session(graph=graph, config=config)


def load_graph(card_path: Path, *, threads: int = 0) -> FrozenGraph:
    """Load the graph that lies beside a card.

    Raises:
        GraphMismatch: if card and graph do not belong together.
    """
    card = read_card(card_path)
    return FrozenGraph(card, read_verified_graph(card_path, card), threads=threads)


def _import_graph(card: ModelCard, serialised: bytes) -> tf.Graph:
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(tf.compat.v1.GraphDef.FromString(serialised), name="")
        tensors = [graph.get_tensor_by_name(n) for n in (card.input_tensor, card.output_tensor)]
    except Exception as error:  # protobuf and TensorFlow raise many kinds
        raise GraphMismatch(f"Graph `{card.name}` cannot be loaded: {error}") from error
    for tensor in tensors:
        if tensor.dtype != tf.uint8:
            raise GraphMismatch(f"`{tensor.name}` must be uint8. Received: {tensor.dtype.name}")
    return graph
