"""Find the models of folders of cards, and prepare to load them on demand.

A model is a card of scale 2 or 4. Cards that others name as the faithful, restoring or tuned
network of a pair are parts of models; a faithful one is also a model by itself.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from core.errors import GraphMismatch, GraphUnreadable, InvalidOptions
from core.files import MEGABYTE
from core.model.card import (
    MIN_AGREEMENT_DB,
    ModelCard,
    graph_path,
    read_card,
    read_linked_cards,
    restored_path,
    verify_graph,
)
from core.model.registry import LoadedNetworks, ModelRegistry, OnDemandNetworks, ServedModel
from core.model.tasks import relative_cost
from core.model.tiles import LENGTH_STEP, WindowSizes
from core.model.upscaler import Upscaler
from core.options import MODEL
from core.runtime.machine import has_bfloat16

SCALES = (2, 4)
"""Scales of models."""

MOST_WINDOW_MFLOP = 200_000.0
"""Largest arithmetic of a window, in millions: that of the largest window of the restorer. Other
requests wait for a window that is being computed."""

PART_MFLOP = 100_000.0
"""Usual arithmetic of a part of a window, in millions, if windows must be larger for their halo."""

LEAST_WINDOW_HALOS = 4
"""Length of a window at least, in units of the halo: it computes at most four times its core."""

LOADING_BASE_BYTES = 8 * MEGABYTE
LEAN_COPIES, FULL_COPIES = 9, 22
"""Memory that loading a graph takes at most beside that, in units of its file, in float32 and in
bfloat16, for which TensorFlow optimises it. Measured as 6 to 9, and 13 to 22."""

log = logging.getLogger("enhancer.models")


class Serving(NamedTuple):
    """How models are served.

    Attributes:
        window: largest height and width of a window, LR px.
        large_window: the same for pictures that need few windows.
        threads: number of threads of one operation; 0 for one per core.
        precision: see `core.model.graph.load_graph`.
    """

    window: int
    large_window: int
    threads: int
    precision: str


class Catalog:
    """The cards of some folders.

    Args:
        default: model of requests that name none.
        serving: how the others are served.
    """

    def __init__(self, default: Upscaler, serving: Serving) -> None:
        self._default = default
        self._serving = serving
        self._models: dict[str, tuple[Path, ServedModel]] = {}
        self._refused: dict[str, str] = {}

    def add_own(self, folder: Path) -> None:
        """Add the models that the service itself comes with, except one named like the default."""
        for path in model_paths(folder.glob("*.json")):
            if path.stem != self._default.card.name:
                self._add(path)

    def add(self, folder: Path) -> None:
        """Add the models of a folder. Cards that cannot be served are listed with the reason.

        Raises:
            GraphMismatch: if the folder cannot be read.
        """
        try:
            paths = model_paths(path for path in folder.iterdir() if path.suffix == ".json")
        except OSError as error:
            raise GraphMismatch(
                f"Folder of models must be one that can be read. Received: {error}"
            ) from error
        for path in paths:
            try:
                self._add(path)
            except GraphMismatch as error:
                self._refuse(path, error)

    def registry(self) -> ModelRegistry:
        """Return the registry of all models."""
        others = [model for _, model in self._models.values()]
        return ModelRegistry(ServedModel(self._default), others, self._refused)

    def verify(self) -> None:
        """Compare the graphs of all models with their checksums; it takes a second per gigabyte."""
        for path, model in self._models.values():
            try:
                verify_graph(path, model.upscaler.card)
            except GraphUnreadable as error:
                log.warning("Model cannot be verified: %s", error)  # a request may find it back
            except GraphMismatch as error:
                self._refuse(path, error, model)

    def _refuse(self, path: Path, error: GraphMismatch, model: ServedModel | None = None) -> None:
        """Log and list why a card cannot be served."""
        log.error("Model cannot be served: %s", error)
        reason = without_folder(path, error)
        if model is not None and model.networks is not None:
            model.networks.error = reason
        else:
            self._refused[path.stem] = reason

    def _add(self, path: Path) -> None:
        card = read_model_card(path)
        if card.scale == 1:
            return
        taken = [self._default, *(model.upscaler for _, model in self._models.values())]
        if any(card == other.card for other in taken):
            return  # a copy of the card, or the same folder
        if any(card.name == other.card.name for other in taken):
            raise GraphMismatch(
                f"{path} must have a name that no other model has. Received: {card.name}"
            )
        self._models[card.name] = (path, self._prepare(path, card))

    def _prepare(self, path: Path, card: ModelCard) -> ServedModel:
        """Return a model that is loaded on demand."""
        default, serving = self._default, self._serving
        windows = window_sizes(card, WindowSizes(serving.window, serving.large_window))
        give_way = default.scheduler.give_way
        load = partial(load_networks, path, card, max(windows), serving, give_way=give_way)
        networks = OnDemandNetworks(card.name, load, loading_bytes(path, card, serving.precision))
        cost = relative_cost(card, default.card)
        linked = [other for other in read_linked_cards(path) if other.scale != 1]
        upscaler = Upscaler(
            card,
            networks.run,
            window=windows.usual,
            large_window=windows.large,
            interpolated=None if card.faithful is None else networks.run_interpolated,
            restorer=default.restorer,
            restored=None if card.restored is None else networks.run_restored,
            cards=[*linked, *(other for other in default.cards if other.scale == 1)],
            scheduler=default.scheduler,
            rate=default.rate.scaled(cost),
        )
        networks.on_window = partial(limit_windows, upscaler)
        return ServedModel(upscaler, networks, cost)


def model_paths(paths: Iterable[Path]) -> list[Path]:
    """Return the paths of all cards that may be models: those tuned for others are left out."""
    paths = sorted(paths)
    tuned: set[str | None] = set()
    for path in paths:
        with suppress(GraphMismatch):  # reported when it is added; one of a circle hides no other
            tuned |= tuned_names(path)
    return [path for path in paths if path.stem not in tuned]


def tuned_names(path: Path) -> set[str | None]:
    """Return the names of the networks of a card that are tuned to restored pictures.

    Raises:
        GraphMismatch: if a card that it names, directly or through others, cannot be read.
    """
    card = read_linked_cards(path)[0]
    tuned_path = restored_path(path, card)
    if tuned_path is None:
        return set()
    return {card.restored, read_card(tuned_path).faithful} - {card.faithful}


def read_catalog(default: Upscaler, serving: Serving, own: Path, folder: Path | None) -> Catalog:
    """Return the catalogue of a service.

    Args:
        default: model of requests that name none.
        serving: how the others are served.
        own: folder of the models that the service comes with.
        folder: folder of further models; None if there is none.

    Raises:
        GraphMismatch: if `folder` cannot be read, or if a card of `own` is wrong.
    """
    catalog = Catalog(default, serving)
    catalog.add_own(own)
    if folder is not None:
        catalog.add(folder)
    return catalog


def read_model_card(path: Path) -> ModelCard:
    """Return the card of a model, or of a restorer.

    Raises:
        GraphMismatch: if it is no card, or not one that can be served.
    """
    card = read_card(path)
    try:
        MODEL.parse(path.stem)
    except InvalidOptions as error:
        raise GraphMismatch(f"{path} must have a name that requests can state. {error}") from None
    if card.name != path.stem:
        raise GraphMismatch(
            f"{path} must be named like its model. Received: a card of {card.name!r}"
        )
    if card.scale != 1 and card.scale not in SCALES:
        raise GraphMismatch(
            f"{path} must have a scale of {' or '.join(map(str, SCALES))}. Received: {card.scale}"
        )
    return card


@contextmanager
def folder_hidden(path: Path) -> Iterator[None]:
    """Let errors of the block, which are about a card, not state its folder."""
    try:
        yield
    except GraphMismatch as error:
        raise type(error)(without_folder(path, error)) from error


def without_folder(path: Path, error: GraphMismatch) -> str:
    """Return the message of an error about a card; its folder is no business of callers."""
    return str(error).replace(f"{path.parent}/", "")


def window_sizes(card: ModelCard, most: WindowSizes) -> WindowSizes:
    """Return the windows of a model: smaller ones where it computes much for each pixel.

    Args:
        card: of the model.
        most: windows of a model of little arithmetic.
    """
    least = least_window(card)
    side = math.inf
    if card.mflop_per_lr_pixel:
        side = math.sqrt(MOST_WINDOW_MFLOP / card.mflop_per_lr_pixel)
    lengths = (max(least, min(length, side)) for length in most)
    return WindowSizes(*(LENGTH_STEP * math.floor(length / LENGTH_STEP) for length in lengths))


def limit_windows(upscaler: Upscaler, most: int) -> None:
    """Let an upscaler use windows of at most `most` LR px on each side."""
    upscaler.windows = WindowSizes(*(min(length, most) for length in upscaler.windows))


def least_window(card: ModelCard) -> int:
    """Return the height and width that windows of a model have at least, LR px."""
    return LENGTH_STEP * max(1, LEAST_WINDOW_HALOS * card.halo // LENGTH_STEP)


def loading_bytes(path: Path, card: ModelCard, precision: str) -> int:
    """Return the memory that loading a model takes at most, with all networks of its pair.

    Raises:
        GraphUnreadable: if there is no graph.
    """
    try:
        size = graph_path(path, card).stat().st_size
    except OSError as error:
        raise GraphUnreadable(f"Graph of {path} must be beside it. Received: {error}") from error
    pairs = 2 if card.faithful else 0
    tuned = 0 if card.restored is None else 3 + pairs
    copies = LEAN_COPIES if chosen_precision(card, precision) == "float32" else FULL_COPIES
    return LOADING_BASE_BYTES + size * copies * (1 + pairs + tuned)


def part_share(card: ModelCard, window: int) -> float:
    """Return the arithmetic of a part of the largest window of a model, in units of the window."""
    mflop = card.mflop_per_lr_pixel * window**2
    return min(1.0, PART_MFLOP / mflop) if mflop > MOST_WINDOW_MFLOP else 1.0


def load_networks(
    path: Path,
    expected: ModelCard,
    window: int,
    serving: Serving,
    most_bytes: int,
    *,
    give_way: Callable[[], None],
) -> LoadedNetworks:
    """Load the networks of a card, and compute the memory that they take.

    Args:
        path: of the card.
        expected: the card as it was when the service started.
        window: largest height and width of a window, LR px.
        serving: threads and precision.
        most_bytes: that the networks may take with the arrays of a window, if windows of at least
            `LEAST_WINDOW_HALOS` are small enough.
        give_way: see `core.model.lean_graph.LeanGraph`.

    Raises:
        GraphUnreadable: if a graph or a card cannot be read.
        GraphMismatch: if graphs and cards do not belong together, or graphs compute nonsense. The
            messages do not state the folder.
    """
    # TensorFlow takes seconds to import: a catalogue of cards needs none of it.
    from core.model.interpolation import load_interpolated_graph, load_restored_graph
    from core.model.lean_graph import load_lean_graph

    with folder_hidden(path):
        card = read_card(path)
        if card != expected:
            raise GraphMismatch(
                f"{path} must be the card that the service has started with. "
                "Received: another one. Restart the service to serve it."
            )
        precision = chosen_precision(card, serving.precision)
        graph = load_lean_graph(
            path,
            card,
            threads=serving.threads,
            precision=precision,
            share=part_share(card, window),
            give_way=give_way,
        )
        held = loading_bytes(path, card, serving.precision)
        least = min(window, least_window(card))
        while window > least and held + graph.activation_bytes(window) > most_bytes:
            window = max(least, window - LENGTH_STEP)
        return LoadedNetworks(
            graph,
            held + graph.activation_bytes(window),
            window,
            load_interpolated_graph(path, threads=serving.threads, precision=precision),
            load_restored_graph(path, threads=serving.threads, precision=precision),
        )


def chosen_precision(card: ModelCard, precision: str) -> str:
    """Return float32 or bfloat16; for auto, bfloat16 if its agreement is stated and sufficient."""
    if precision != "auto":
        return precision
    agreement_db = card.agreement_db.get("bfloat16", 0.0)
    return "bfloat16" if has_bfloat16() and agreement_db >= MIN_AGREEMENT_DB else "float32"
