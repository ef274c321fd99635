"""Frozen graphs that share the memory of a service with others.

TensorFlow prepares a graph, with copies of its weights, for each set of tensors that are fed and
fetched. So a lean graph is run in one way only: on float32 levels. They are converted outside.

A graph of much arithmetic runs in parts, and gives way to others between them.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from core.errors import GraphMismatch
from core.files import MEGABYTE
from core.model.card import ModelCard, read_verified_graph
from core.model.graph import import_graph, level_tensors, open_session, tf
from core.model.graph_parts import GraphPart, GraphPlan
from core.pixels import (
    Float32Array,
    PixelArray,
    WindowArray,
    levels_from_pixels,
    pixels_from_levels,
)

ACTIVATION_COPIES, ACTIVATION_BASE_BYTES = 1.5, 20 * MEGABYTE
"""Memory that a window takes, in units of the largest sum of its tensors, and beside that: the heap
has gaps, and convolutions have arrays of their own. Measured as 0.9 to 1.4 times, and up to 19 MB
more for small windows."""

CANNOT_RUN = (
    ValueError,
    TypeError,
    KeyError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
    tf.errors.FailedPreconditionError,
)
"""Errors of a graph that will not run later either: not those of memory or threads."""

CHECKED_SIDE = 16
"""Height and width of the noise that a graph must upscale when it is loaded, LR px."""

Tensors = dict[str, np.ndarray[Any, Any]]
"""Tensors by their names in the graph."""


class LeanGraph:
    """A network as a callable: LR (h, w, 3) -> SR (scale*h, scale*w, 3) of the same type.

    Types are those of `core.model.graph.FrozenGraph`. Several threads may call it.

    Args:
        card: describes the graph.
        graph_def: the serialised graph, verified against the card's SHA-256.
        threads: number of threads of one operation; 0 for one per core.
        precision: float32 or bfloat16.
        share: largest arithmetic of a part, in units of that of the graph.
        give_way: called between the parts of a window; may raise, which ends the window.

    Raises:
        GraphMismatch: if the graph does not have the tensors or the scale of its card, or if it
            does not make finite levels of noise.
    """

    def __init__(
        self,
        card: ModelCard,
        graph_def: bytes,
        *,
        threads: int = 0,
        precision: str = "float32",
        share: float = 1.0,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._card = card
        self._give_way = give_way
        graph = import_graph(card, graph_def)
        self._input, self._output = level_tensors(graph, card)
        feeds = (self._input, card.input_tensor)
        plan = GraphPlan(card, graph_def, feeds, self._output, share)
        self._parts, self._constant_bytes = plan.parts, plan.constant_bytes
        self._pixel_bytes = plan.activation_bytes
        self._session = open_session(graph, threads, precision, is_lean=True)
        self._check()

    def __call__(self, lr: WindowArray) -> WindowArray:
        """Upscale a window. Float32 levels are clipped to [0, 255], but not rounded."""
        if lr.dtype == np.uint8 or lr.dtype == np.uint16:
            pixels = cast(PixelArray, lr)
            return pixels_from_levels(self._run(levels_from_pixels(pixels)), lr.dtype)
        return self._run(np.asarray(lr, np.float32))

    def activation_bytes(self, side: int) -> int:
        """Return the memory of all arrays inside the network for a window of `side`**2 LR px."""
        activations = math.ceil(ACTIVATION_COPIES * self._pixel_bytes * side**2)
        return ACTIVATION_BASE_BYTES + self._constant_bytes + activations

    @property
    def parts(self) -> int:
        """Number of parts in which a window is computed."""
        return len(self._parts)

    def _run(self, levels: Float32Array) -> Float32Array:
        tensors = self._fed(levels)
        for number, part in enumerate(self._parts):
            if number:
                self._give_way()
            tensors = self._run_part(part, tensors)
        sr: Float32Array = tensors[self._output][0]
        return sr

    def _fed(self, levels: Float32Array) -> Tensors:
        # A graph may ask its input for the shape, even if the levels do not come from there.
        shaped = np.zeros((1, *levels.shape), np.uint8)
        return {self._input: levels[None], self._card.input_tensor: shaped}

    def _run_part(self, part: GraphPart, tensors: Tensors) -> Tensors:
        """Run a part, and return the tensors that later parts need."""
        feeds = {name: tensors[name] for name in part.feeds}
        computed = self._session.run(part.fetches, feeds)
        tensors = tensors | dict(zip(part.fetches, computed, strict=True))
        return {name: tensors[name] for name in part.kept}

    def _check(self) -> None:
        """Run a window of noise, which also lets TensorFlow prepare the graph."""
        shape = (CHECKED_SIDE, CHECKED_SIDE, 3)
        sr = self._run(np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32))
        side = self._card.scale * CHECKED_SIDE
        if sr.shape != (side, side, 3) or not np.isfinite(sr).all():
            raise GraphMismatch(
                f"Graph `{self._card.name}` must answer {shape} with {(side, side, 3)} finite "
                f"levels. Received: {sr.shape}, {np.isfinite(sr).mean():.0%} of them finite"
            )


def load_lean_graph(card_path: Path, card: ModelCard, **options: Any) -> LeanGraph:
    """Load the graph that is beside a card; the options are those of `LeanGraph`.

    Raises:
        GraphUnreadable: if the graph cannot be read.
        GraphMismatch: if card and graph do not belong together, or if the graph cannot be run.
        MemoryError: if there is not enough memory.
    """
    graph_def = read_verified_graph(card_path, card)
    try:
        return LeanGraph(card, graph_def, **options)
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(str(error)) from error
    except CANNOT_RUN as error:
        raise GraphMismatch(f"Graph `{card.name}` cannot be run: {error}") from error
