"""Frozen graphs that share the memory of a service with others.

TensorFlow prepares a graph, with copies of its weights, for each set of tensors that are fed and
fetched. So a lean graph is run in one way only: on float32 levels. They are converted outside.
"""

import math
import threading
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import numpy as np

from core.errors import GraphMismatch
from core.model.card import ModelCard, read_verified_graph
from core.model.graph import import_graph, level_tensors, open_session, tf
from core.pixels import (
    Float32Array,
    PixelArray,
    WindowArray,
    levels_from_pixels,
    pixels_from_levels,
)

TRACED_SIDES = (16, 24)
"""Height and width of the windows whose memory is traced, LR px. Others wait for such a window."""

ACTIVATION_COPIES = 2.25
"""Memory that a window takes, in units of the largest sum of its tensors: the heap has gaps, and
convolutions have arrays of their own that are not traced. Measured as 1.3 to 2.3."""

TRACING = threading.Lock()
"""TensorFlow traces one run at a time in a process, and fails a second one."""


class LeanGraph:
    """A network as a callable: LR (h, w, 3) -> SR (scale*h, scale*w, 3) of the same type.

    Types are those of `core.model.graph.FrozenGraph`. Several threads may call it.

    Args:
        card: describes the graph.
        graph_def: the serialised graph, verified against the card's SHA-256.
        threads: number of threads of one operation; 0 for one per core.
        precision: float32 or bfloat16.

    Raises:
        GraphMismatch: if the graph does not have the tensors or the scale of its card, or if it
            does not make finite levels of noise.
    """

    def __init__(
        self, card: ModelCard, graph_def: bytes, *, threads: int = 0, precision: str = "float32"
    ) -> None:
        self._card = card
        graph = import_graph(card, graph_def)
        self._input, self._output = level_tensors(graph, card)
        self._session = open_session(graph, threads, precision, is_lean=True)
        self._traced = [self._traced_bytes(side) for side in TRACED_SIDES]

    def __call__(self, lr: WindowArray) -> WindowArray:
        """Upscale a window. Float32 levels are clipped to [0, 255], but not rounded."""
        if lr.dtype == np.uint8 or lr.dtype == np.uint16:
            pixels = cast(PixelArray, lr)
            return pixels_from_levels(self._run(levels_from_pixels(pixels)), lr.dtype)
        return self._run(np.asarray(lr, np.float32))

    def activation_bytes(self, side: int) -> int:
        """Return the memory of all arrays inside the network for a window of `side`**2 LR px."""
        least, most = self._traced
        first, second = (traced**2 for traced in TRACED_SIDES)
        for_pixel = max(0.0, (most - least) / (second - first))
        return math.ceil(ACTIVATION_COPIES * (most + for_pixel * (side**2 - second)))

    def _run(self, levels: Float32Array, *trace: Any) -> Float32Array:
        # A graph may ask its input for the shape, even if the levels do not come from there.
        shaped = np.zeros((1, *levels.shape), np.uint8)
        windows = {self._input: levels[None], self._card.input_tensor: shaped}
        sr: Float32Array = self._session.run(self._output, windows, *trace)[0]
        return sr

    def _traced_bytes(self, side: int) -> int:
        """Run a window of noise, and return the largest sum of tensors in memory at a time.

        TensorFlow traces the tensors of this run alone. So other threads do not matter.
        """
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.float32)
        trace = tf.compat.v1.RunMetadata()
        options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
        with TRACING:
            sr = self._run(noise, options, trace)
        expected = (self._card.scale * side, self._card.scale * side, 3)
        if sr.shape != expected or not np.isfinite(sr).all():
            raise GraphMismatch(
                f"Graph `{self._card.name}` must answer {noise.shape} with {expected} finite "
                f"levels. Received: {sr.shape}, {np.isfinite(sr).mean():.0%} of them finite"
            )
        changes = sorted(
            (record.alloc_micros, record.alloc_bytes)
            for device in trace.step_stats.dev_stats
            for node in device.node_stats
            for memory in node.memory
            for record in memory.allocation_records
        )
        return max(accumulate(added for _, added in changes), default=0)


def load_lean_graph(
    card_path: Path, card: ModelCard, *, threads: int = 0, precision: str = "float32"
) -> LeanGraph:
    """Load the graph that is beside a card.

    Raises:
        GraphMismatch: if card and graph do not belong together.
    """
    graph_def = read_verified_graph(card_path, card)
    return LeanGraph(card, graph_def, threads=threads, precision=precision)
