"""The frozen graph: loaded, checked against its card, run.

TensorFlow does not survive a fork, so a graph is loaded in the process that runs it.

TensorFlow, imported without its chatter and without what serving has no use for.

All networks between a faithful and a detailed frozen graph, as one graph.

The weights are interpolated, not the pictures, and inside the graph: choosing another
place between the two takes no time and no memory.

Source: Wang et al. 2018, ESRGAN, arXiv:1809.00219, sec. 3.4 (network interpolation).
"""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import GraphMismatch
from core.model.card import ModelCard, faithful_path, read_card, read_verified_graph
from core.pixels import LEVELS, Float32Array, PixelArray, levels_from_uint16, uint16_from_levels
from core.runtime.machine import count_cores, has_bfloat16, native_stderr_held_back

COMPANIONS = ("keras", "jax")
"""What TensorFlow imports with itself where it is installed: 70 and more MB, and a second.

A frozen graph needs none of it, and training imports what it needs.
"""


@contextlib.contextmanager
def as_if_not_installed(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of packages fail that nobody has imported yet."""
    hidden = [name for name in names if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say so
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read at import: errors only
with native_stderr_held_back(), as_if_not_installed(COMPANIONS):  # before it has read that
    import tensorflow as tf

__all__ = ["tf"]


FLOAT32, BFLOAT16, AUTO = "float32", "bfloat16", "auto"
ON = 1  # of TensorFlow's RewriterConfig.Toggle

LEAST_AGREEMENT_DB = 45.0
"""Between bfloat16 and float32; below it the eye might see the difference."""

SAMPLE_SIDE = 64  # LR px, of the picture on which they are compared
TINY = 1e-9  # instead of no error at all

PROBE_SHAPE = (1, 3, 5, 3)  # of the first run, which also warms the library up


class FrozenGraph:
    """A network as a callable: LR (h, w, 3) uint8 -> SR (scale*h, scale*w, 3) uint8.

    Pictures of uint16 come out as uint16: the graph computes in floating point, so no
    level is lost on the way. Calls may come from several threads.

    Args:
        card: what the graph is.
        graph_def: the serialised graph, verified against the card's sha256.
        threads: threads of one operation; 0 for one per core.
        precision: FLOAT32 or BFLOAT16.

    Raises:
        GraphMismatch: if the graph has not the tensors, or not the scale, of its card.
    """

    def __init__(
        self, card: ModelCard, graph_def: bytes, *, threads: int = 0, precision: str = FLOAT32
    ) -> None:
        self.card = card
        self.precision = precision
        session = open_session(_import_graph(card, graph_def), threads, precision)
        self._run = GraphRunner(session, card)
        self._check()

    def __call__(self, lr: PixelArray) -> PixelArray:
        sr: PixelArray = self._run(lr[None])[0]
        return sr

    def _check(self) -> None:
        batch, height, width, channels = PROBE_SHAPE
        scale = self.card.scale
        expected = (batch, scale * height, scale * width, channels)
        received = self._run(np.zeros(PROBE_SHAPE, np.uint8))
        if received.shape != expected or received.dtype != "uint8":
            raise GraphMismatch(
                f"Graph `{self.card.name}` must answer {PROBE_SHAPE} with {expected} uint8. "
                f"Received: {received.shape} {received.dtype}"
            )


class GraphRunner:
    """The ways through a graph: for 8-bit levels as it is, for 16-bit levels without rounding.

    Args:
        session: of the graph.
        card: names its ends.
        parameters: names of other tensors to be fed.

    Raises:
        GraphMismatch: if the graph does not begin and end by converting its levels.
    """

    def __init__(
        self, session: tf.compat.v1.Session, card: ModelCard, parameters: Sequence[str] = ()
    ) -> None:
        lr, sr = inner_ends(session.graph, card)
        self._of_uint8 = session.make_callable(
            card.output_tensor, feed_list=[card.input_tensor, *parameters]
        )
        self._of_levels = session.make_callable(sr, feed_list=[lr, *parameters])

    def __call__(self, lr: PixelArray, *parameters: float) -> PixelArray:
        """LR (B, h, w, 3) -> SR (B, scale*h, scale*w, 3), of the same type."""
        sr: PixelArray
        if lr.dtype == np.uint16:
            levels = levels_from_uint16(np.asarray(lr, np.uint16))
            sr = uint16_from_levels(self._of_levels(levels, *parameters))
        else:
            sr = self._of_uint8(lr, *parameters)
        return sr


def inner_ends(graph: tf.Graph, card: ModelCard) -> tuple[str, str]:
    """Names of the tensors of levels, float32, just behind the input and before rounding."""
    lr, sr = (graph.get_tensor_by_name(n) for n in (card.input_tensor, card.output_tensor))
    casts = [op.outputs[0] for op in lr.consumers() if op.type == "Cast"]
    rounding = sr.op
    while rounding.type in ("Identity", "Cast"):
        rounding = rounding.inputs[0].op
    if len(casts) != 1 or casts[0].dtype != tf.float32 or rounding.type != "Round":
        raise GraphMismatch(
            f"Graph `{card.name}` must begin by a Cast to float32 and end by Round and Cast. "
            f"Received: {[op.type for op in lr.consumers()]} and {rounding.type}"
        )
    return casts[0].name, rounding.inputs[0].name


def open_session(graph: tf.Graph, threads: int, precision: str) -> tf.compat.v1.Session:
    """Where a graph runs; `threads` of one operation, 0 for one per core."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads or count_cores(), inter_op_parallelism_threads=1
    )
    if precision == BFLOAT16:
        # Weights and activations of the convolutions; the ends stay what they are.
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = ON
    return tf.compat.v1.Session(graph=graph, config=config)


def load_graph(card_path: Path, *, threads: int = 0, precision: str = AUTO) -> FrozenGraph:
    """Load the graph that lies beside a card.

    Args:
        card_path: JSON file.
        threads: threads of one operation; 0 for one per core.
        precision: FLOAT32, BFLOAT16, or AUTO: bfloat16 where the processor computes in
            it and the graph is accurate in it, else float32.

    Raises:
        GraphMismatch: if card and graph do not belong together.
    """
    card = read_card(card_path)
    load = partial(FrozenGraph, card, read_verified_graph(card_path, card), threads=threads)
    if precision != AUTO:
        return load(precision=precision)
    exact = load(precision=FLOAT32)
    if not has_bfloat16():
        return exact
    fast = load(precision=BFLOAT16)
    return fast if agreement_db(fast, exact) >= LEAST_AGREEMENT_DB else exact


def agreement_db(graph: FrozenGraph, other: FrozenGraph) -> float:
    """Peak signal-to-noise ratio of what two graphs make of a sample, dB."""
    y, x = np.mgrid[:SAMPLE_SIDE, :SAMPLE_SIDE]
    waves = 127.5 + 100 * np.sin(x * y / 40 + np.arange(3)[:, None, None])
    sample = np.ascontiguousarray(np.moveaxis(waves, 0, -1).astype(np.uint8))
    error = graph(sample).astype(np.float64) - other(sample)
    mean_square = max(float(np.mean(error**2)), TINY)
    return 10 * math.log10(LEVELS**2 / mean_square)


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


class InterpolatedGraph:
    """A callable: LR (h, w, 3) uint8, detail -> SR (scale*h, scale*w, 3) uint8.

    Pictures of uint16 come out as uint16. Calls may come from several threads.

    Args:
        card: of the detailed graph.
        faithful: the graph at detail 0, serialised and verified.
        detailed: the graph at detail 1, likewise.
        threads: threads of one operation; 0 for one per core.
        precision: FLOAT32 or BFLOAT16 of `core.model.graph`.

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
        self._run = GraphRunner(session, card, [detail.name])

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
