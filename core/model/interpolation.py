"""Graphs between graphs: weights are interpolated while a graph runs, not its pictures.

A detailed graph may have a faithful one beside it, from which it was trained. All networks
between the two are then one graph, so another `detail` takes no extra time and no extra memory.
Graphs that were tuned to restored pictures are two further ends, between which the strength of
restoring interpolates.

Source: Wang et al. 2018, ESRGAN, arXiv:1809.00219, sec. 3.4 (network interpolation).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.errors import GraphMismatch
from core.model.card import (
    ModelCard,
    faithful_path,
    read_card,
    read_verified_graph,
    restored_path,
)
from core.model.graph import FLOAT32, GraphRunner, open_session, tf
from core.options import FULL_DETAIL, FULL_STRENGTH
from core.pixels import Float32Array, WindowArray


class VerifiedGraph(NamedTuple):
    """A serialised graph whose SHA-256 is that of its card."""

    card: ModelCard
    graph_def: bytes


class InterpolatedGraph:
    """A callable: LR (h, w, 3), parameters in [0, 1] -> SR (scale*h, scale*w, 3) of that type.

    Types are those of `FrozenGraph`. Several threads may call it.

    Args:
        ends: one graph, without parameters; two, between which one parameter interpolates; or
            four, for two parameters, of which the first leads from even to odd ends, and the
            second from the first half to the other. The last one is the end where all
            parameters are 1.
        threads: number of threads of one operation; 0 for one per core.
        precision: FLOAT32 or BFLOAT16.

    Raises:
        GraphMismatch: if the ends differ in more than the values of their weights.
    """

    def __init__(
        self, ends: Sequence[VerifiedGraph], *, threads: int = 0, precision: str = FLOAT32
    ) -> None:
        graph_defs = [tf.compat.v1.GraphDef.FromString(end.graph_def) for end in ends]
        _check_architectures([end.card for end in ends], graph_defs)
        graph, parameters = _interpolate(graph_defs)
        session = open_session(graph, threads, precision)
        self._run = GraphRunner(session, ends[-1].card, parameters)

    def __call__(self, lr: WindowArray, *parameters: float) -> WindowArray:
        """Run the graph with weights between its ends."""
        sr: WindowArray = self._run(lr[None], *parameters)[0]
        return sr


class RestoredGraph:
    """A callable: LR (h, w, 3), detail, strength -> SR (scale*h, scale*w, 3) of that type.

    Its weights at strength 1 are those that were tuned to restored pictures. At full detail and
    strength, the most frequent case, they are constants: interpolating them takes a tenth of the
    time of a window.

    Args:
        tuned: the graph of full detail and strength, without parameters.
        interpolated: by detail and strength, or by strength alone.
        has_detail: whether it is interpolated by detail.
    """

    def __init__(
        self, tuned: InterpolatedGraph, interpolated: InterpolatedGraph, *, has_detail: bool
    ) -> None:
        self._tuned = tuned
        self._interpolated = interpolated
        self._has_detail = has_detail

    def __call__(self, lr: WindowArray, detail: float, strength: float) -> WindowArray:
        """Run the graph with the weights of a detail and a strength."""
        if detail == FULL_DETAIL and strength == FULL_STRENGTH:
            return self._tuned(lr)
        parameters = (detail, strength) if self._has_detail else (strength,)
        return self._interpolated(lr, *parameters)


def load_interpolated_graph(
    card_path: Path, *, threads: int = 0, precision: str = FLOAT32
) -> InterpolatedGraph | None:
    """Load the graph between that of a card and its faithful one; None if it has none.

    Raises:
        GraphMismatch: if the two, or one of them and its card, do not belong together.
    """
    ends = read_ends(card_path)
    if len(ends) == 1:
        return None
    return InterpolatedGraph(ends, threads=threads, precision=precision)


def load_restored_graph(
    card_path: Path, *, threads: int = 0, precision: str = FLOAT32
) -> RestoredGraph | None:
    """Load the graph between those of a card and those tuned to restored pictures.

    Returns:
        The graph; None if the card names no tuned one.

    Raises:
        GraphMismatch: if the graphs, or one of them and its card, do not belong together.
    """
    card = read_card(card_path)
    if card.restored is None:
        return None
    own = read_ends(card_path)
    tuned = read_tuned_ends(card_path, card, len(own))
    load = partial(InterpolatedGraph, threads=threads, precision=precision)
    # A `FrozenGraph` would also be prepared for uint8 windows, which takes 10 MB.
    return RestoredGraph(load(tuned[-1:]), load([*own, *tuned]), has_detail=len(own) > 1)


def read_ends(card_path: Path) -> list[VerifiedGraph]:
    """Return the faithful graph of a card, if it names one, and then its own."""
    card = read_card(card_path)
    other_path = faithful_path(card_path, card)
    ends = [] if other_path is None else read_ends(other_path)[-1:]
    return [*ends, VerifiedGraph(card, read_verified_graph(card_path, card))]


def read_tuned_ends(card_path: Path, card: ModelCard, count: int) -> list[VerifiedGraph]:
    """Return the graphs tuned to restored pictures, in the order of `read_ends`; none without any.

    Args:
        card_path: where the card is, or is to be written.
        card: names the tuned graph.
        count: number of graphs of the card itself, which is 2 if it names a faithful one.

    Raises:
        GraphMismatch: if only one of the two cards names a faithful graph.
    """
    other_path = restored_path(card_path, card)
    tuned = [] if other_path is None else read_ends(other_path)
    if tuned and len(tuned) != count:
        raise GraphMismatch(
            f"{other_path} must name a faithful graph if and only if {card_path} does. "
            f"Received: {tuned[-1].card.faithful} and {card.faithful}"
        )
    return tuned


def _check_architectures(cards: Sequence[ModelCard], graph_defs: Sequence[Any]) -> None:
    """Raise GraphMismatch unless all graphs differ in the values of their weights only."""
    expected = _nodes_without_weights(graph_defs[-1])
    for card, graph_def in zip(cards, graph_defs, strict=True):
        if _nodes_without_weights(graph_def) != expected:
            raise GraphMismatch(
                f"Graph `{cards[-1].name}` must have the architecture of `{card.name}`, "
                "from which its weights are interpolated. Received: another one."
            )


def _interpolate(ends: Sequence[Any]) -> tuple[tf.Graph, list[str]]:
    """Return the graph with interpolated weights, and the names of its parameters."""
    graph = tf.Graph()
    with graph.as_default():
        with tf.name_scope("interpolation"):
            parameters = [
                tf.compat.v1.placeholder(tf.float32, (), f"parameter_{index}")
                for index in range(len(ends).bit_length() - 1)
            ]
            weights = {
                tensor: _blend(values, parameters) for tensor, values in _differing_weights(ends)
            }
        tf.import_graph_def(ends[-1], input_map=weights, name="")
    return graph, [parameter.name for parameter in parameters]


def _blend(values: Sequence[Float32Array], parameters: Sequence[tf.Tensor]) -> Any:
    """Return low + parameter * (high - low), for the last parameter first."""
    if not parameters:
        return values[0]
    half = len(values) // 2
    low, high = (_blend(part, parameters[:-1]) for part in (values[:half], values[half:]))
    return low + parameters[-1] * (high - low)


def _differing_weights(ends: Sequence[Any]) -> Iterator[tuple[str, list[Float32Array]]]:
    """Yield the tensor and the values of every weight that differs, as float32.

    The tensor of a float16 weight is that of its Cast to float32, so that interpolation does
    not round.
    """
    casts = {node.input[0]: node.name for node in ends[-1].node if node.op == "Cast"}
    for nodes in zip(*(end.node for end in ends), strict=True):
        if any(node != nodes[0] for node in nodes):
            values = [tf.make_ndarray(node.attr["value"].tensor) for node in nodes]
            name = nodes[0].name
            tensor = casts[name] if values[0].dtype == np.float16 else name
            yield f"{tensor}:0", [value.astype(np.float32) for value in values]


def _nodes_without_weights(graph_def: Any) -> list[Any]:
    """Return the nodes of a graph; constants of floats keep only their shape."""
    emptied = tf.compat.v1.GraphDef()
    emptied.CopyFrom(graph_def)
    floats = (tf.float32.as_datatype_enum, tf.float16.as_datatype_enum)
    for node in emptied.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.dtype in floats:
            for content in ("tensor_content", "float_val", "half_val"):
                tensor.ClearField(content)
    return list(emptied.node)
