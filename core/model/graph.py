"""Frozen graphs: loaded, checked against their cards, and run.

Only this module and `core.model.interpolation` use TensorFlow in `core`. TensorFlow does not
survive a fork, so a graph is loaded in the process that runs it.
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
from core.model.card import MIN_AGREEMENT_DB, ModelCard, read_card, read_verified_graph
from core.pixels import (
    LEVELS,
    WindowArray,
    levels_from_pixels,
    uint16_from_levels,
)
from core.runtime.machine import count_cores, has_bfloat16, native_stderr_held_back

HIDDEN_PACKAGES = ("keras", "jax")
"""Packages that TensorFlow imports if they are installed: 70 MB and more, and a second.

A frozen graph needs none of them, and training imports what it needs.
"""

FLOAT32, BFLOAT16, AUTO = "float32", "bfloat16", "auto"

TOGGLE_ON = 1
"""Value of TensorFlow's RewriterConfig.Toggle."""

NO_OPTIMISATION = -1
"""Value of TensorFlow's OptimizerOptions.Level."""

SAMPLE_SIDE = 64
"""Height and width of the sample picture on which the two are compared, LR px."""

MIN_SQUARE_ERROR = 1e-9
"""Mean square error that is assumed at least, so that the PSNR is finite."""

PROBE_SHAPE = (1, 3, 5, 3)
"""Shape of the input of the first run, which checks the graph and warms TensorFlow up."""


@contextlib.contextmanager
def packages_hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of packages fail in the block, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment]  # makes the import fail
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; read at import
# TensorFlow writes some lines before it has read the level.
with native_stderr_held_back(), packages_hidden(HIDDEN_PACKAGES):
    import tensorflow as tf

__all__ = ["tf"]


class FrozenGraph:
    """A network as a callable: LR (h, w, 3) uint8 -> SR (scale*h, scale*w, 3) uint8.

    Pictures of uint16 become uint16, and float32 levels become float32 levels that are not
    rounded: the graph computes in floating point. Several threads may call it.

    Args:
        card: describes the graph.
        graph_def: the serialised graph, verified against the card's SHA-256.
        threads: number of threads of one operation; 0 for one per core.
        precision: FLOAT32 or BFLOAT16.

    Raises:
        GraphMismatch: if the graph does not have the tensors or the scale of its card.
    """

    def __init__(
        self, card: ModelCard, graph_def: bytes, *, threads: int = 0, precision: str = FLOAT32
    ) -> None:
        self.card = card
        self.precision = precision
        session = open_session(import_graph(card, graph_def), threads, precision)
        self._run = GraphRunner(session, card)
        self._check()

    def __call__(self, lr: WindowArray) -> WindowArray:
        sr: WindowArray = self._run(lr[None])[0]
        return sr

    def _check(self) -> None:
        batch, height, width, channels = PROBE_SHAPE
        scale = self.card.scale
        expected = (batch, scale * height, scale * width, channels)
        seen_type = window_type(self.card)
        received = self._run(np.zeros(PROBE_SHAPE, seen_type))
        if received.shape != expected or received.dtype != seen_type:
            raise GraphMismatch(
                f"Graph `{self.card.name}` must answer {PROBE_SHAPE} with {expected} {seen_type}. "
                f"Received: {received.shape} {received.dtype}"
            )


class GraphRunner:
    """Runs a graph: for 8-bit pixels from end to end, for others without its rounding.

    Args:
        session: session of the graph.
        card: names the input and the output tensor.
        parameters: names of other tensors that are fed.

    Raises:
        GraphMismatch: if the graph does not begin and end by converting its levels.
    """

    def __init__(
        self, session: tf.compat.v1.Session, card: ModelCard, parameters: Sequence[str] = ()
    ) -> None:
        lr, sr = level_tensors(session.graph, card)
        self._run_uint8 = session.make_callable(
            card.output_tensor, feed_list=[card.input_tensor, *parameters]
        )
        # A graph may ask its input for the shape, even if the levels do not come from there.
        self._run_levels = session.make_callable(sr, feed_list=[lr, card.input_tensor, *parameters])

    def __call__(self, lr: WindowArray, *parameters: float) -> WindowArray:
        """Run the graph: LR (B, h, w, 3) -> SR (B, scale*h, scale*w, 3) of the same type.

        Levels of float32 stay as the network computes them, clipped to [0, 255].
        """
        sr: WindowArray
        if lr.dtype == np.uint8:
            sr = self._run_uint8(lr, *parameters)
            return sr
        shaped = np.zeros(lr.shape, np.uint8)
        if lr.dtype == np.uint16:
            levels = levels_from_pixels(np.asarray(lr, np.uint16))
            return uint16_from_levels(self._run_levels(levels, shaped, *parameters))
        sr = self._run_levels(lr, shaped, *parameters)
        return sr


def load_graph(card_path: Path, *, threads: int = 0, precision: str = AUTO) -> FrozenGraph:
    """Load the graph that is beside a card.

    Args:
        card_path: JSON file.
        threads: number of threads of one operation; 0 for one per core.
        precision: FLOAT32, BFLOAT16, or AUTO: bfloat16 if the processor computes in it and
            the graph is accurate in it, else float32.

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
    return fast if agreement_db(fast, exact) >= MIN_AGREEMENT_DB else exact


def agreement_db(graph: FrozenGraph, other: FrozenGraph) -> float:
    """Return the PSNR between the results of two graphs on a sample picture, dB."""
    y, x = np.mgrid[:SAMPLE_SIDE, :SAMPLE_SIDE]
    waves = 127.5 + 100 * np.sin(x * y / 40 + np.arange(3)[:, None, None])
    sample = np.ascontiguousarray(np.moveaxis(waves, 0, -1).astype(np.uint8))
    sample = sample.astype(window_type(graph.card))
    error = graph(sample).astype(np.float64) - other(sample)
    mean_square = max(float(np.mean(error**2)), MIN_SQUARE_ERROR)
    return 10 * math.log10(LEVELS**2 / mean_square)


def window_type(card: ModelCard) -> np.dtype[Any]:
    """Return the type of most windows of a network: a restorer, of scale 1, sees float32 levels.

    TensorFlow prepares a graph for each type that it has seen, which takes memory.
    """
    return np.dtype(np.float32 if card.scale == 1 else np.uint8)


def open_session(
    graph: tf.Graph, threads: int, precision: str, *, is_lean: bool = False
) -> tf.compat.v1.Session:
    """Open a session in which a graph runs.

    Args:
        graph: the graph.
        threads: number of threads of one operation; 0 for one per core.
        precision: FLOAT32 or BFLOAT16.
        is_lean: whether the graph is run as it is, in float32. Optimising it takes twice the
            memory of loading it, and gains a few percent of time at most.
    """
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads or count_cores(), inter_op_parallelism_threads=1
    )
    if precision == BFLOAT16:
        # Converts weights and activations of the convolutions, not the input and the output.
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = TOGGLE_ON
    elif is_lean:
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        config.graph_options.optimizer_options.opt_level = NO_OPTIMISATION
    return tf.compat.v1.Session(graph=graph, config=config)


def level_tensors(graph: tf.Graph, card: ModelCard) -> tuple[str, str]:
    """Return the names of the tensors of float32 levels, after the input and before rounding."""
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


def import_graph(card: ModelCard, serialised: bytes) -> tf.Graph:
    """Return the graph of a card.

    Raises:
        GraphMismatch: if it cannot be read, or does not have the tensors of its card.
    """
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(tf.compat.v1.GraphDef.FromString(serialised), name="")
        tensors = [graph.get_tensor_by_name(n) for n in (card.input_tensor, card.output_tensor)]
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:  # protobuf and TensorFlow raise many kinds
        raise GraphMismatch(f"Graph `{card.name}` cannot be loaded: {error}") from error
    for tensor in tensors:
        if tensor.dtype != tf.uint8:
            raise GraphMismatch(f"`{tensor.name}` must be uint8. Received: {tensor.dtype.name}")
    return graph
