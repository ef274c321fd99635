"""All networks between a faithful and a detailed frozen graph, as one graph.

The weights are interpolated, not the pictures, and inside the graph: choosing another
place between the two takes no time and no memory.

Source: Wang et al. 2018, ESRGAN, arXiv:1809.00219, sec. 3.4 (network interpolation).
"""

from pathlib import Path
from typing import Any

from core.card import ModelCard, faithful_path, read_card, read_verified_graph
from core.errors import GraphMismatch
from core.graph import FLOAT32, Passage, open_session
from core.pixels import Float32Array, PixelArray
from core.tensorflow import tf


class InterpolatedGraph:
    """A callable: LR (h, w, 3) uint8, detail -> SR (scale*h, scale*w, 3) uint8.

    Pictures of uint16 come out as uint16. Calls may come from several threads.

    Args:
        card: of the detailed graph.
        faithful: the graph at detail 0, serialised and verified.
        detailed: the graph at detail 1, likewise.
        threads: threads of one operation; 0 for one per core.
        precision: FLOAT32 or BFLOAT16 of `core.graph`.

    Raises:
        GraphMismatch: if the two differ in more than the values of their weights.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        faithful: bytes,
        detailed: bytes,
        threads: int = 0,
        precision: str = FLOAT32,
    ) -> None:
        low, high = (tf.compat.v1.GraphDef.FromString(end) for end in (faithful, detailed))
        if _without_weights(low) != _without_weights(high):
            raise GraphMismatch(
                f"Graph `{card.name}` must have the architecture of `{card.faithful}`, "
                "from which its weights are interpolated. Received: another one."
            )
        graph, detail = _interpolate(low, high)
        session = open_session(graph, threads, precision)
        self._run = Passage(session, card, [detail.name])

    def __call__(self, lr: PixelArray, detail: float) -> PixelArray:
        sr: PixelArray = self._run(lr[None], detail)[0]
        return sr


def load_interpolated_graph(
    card_path: Path, *, threads: int = 0, precision: str = FLOAT32
) -> InterpolatedGraph | None:
    """Load what lies between a graph and its faithful one; None if it has none.

    Raises:
        GraphMismatch: if the two, or one of them and its card, do not belong together.
    """
    card = read_card(card_path)
    other_path = faithful_path(card_path, card)
    if other_path is None:
        return None
    return InterpolatedGraph(
        card,
        faithful=read_verified_graph(other_path, read_card(other_path)),
        detailed=read_verified_graph(card_path, card),
        threads=threads,
        precision=precision,
    )


def _interpolate(low: Any, high: Any) -> tuple[tf.Graph, tf.Tensor]:
    """The graph with weights low + detail * (high - low), and its tensor `detail`."""
    graph = tf.Graph()
    with graph.as_default():
        with tf.name_scope("interpolation"):
            detail = tf.compat.v1.placeholder(tf.float32, (), "detail")
            weights = {
                f"{name}:0": at_low + detail * (at_high - at_low)
                for name, at_low, at_high in _weights_of_both(low, high)
            }
        tf.import_graph_def(high, input_map=weights, name="")
    return graph, detail


def _weights_of_both(low: Any, high: Any) -> list[tuple[str, Float32Array, Float32Array]]:
    """Name and both values of every weight that differs."""
    return [
        (at_low.name, _value(at_low), _value(at_high))
        for at_low, at_high in zip(low.node, high.node, strict=True)
        if at_low != at_high
    ]


def _value(node: Any) -> Float32Array:
    value: Float32Array = tf.make_ndarray(node.attr["value"].tensor)
    return value


def _without_weights(graph_def: Any) -> list[Any]:
    """The nodes of a graph, with nothing but a shape left of every constant of floats."""
    emptied = tf.compat.v1.GraphDef()
    emptied.CopyFrom(graph_def)
    for node in emptied.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.dtype == tf.float32.as_datatype_enum:
            tensor.ClearField("tensor_content")
            tensor.ClearField("float_val")
    return list(emptied.node)
