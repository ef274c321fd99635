"""The upscaler: the one object through which the service upscales pictures.

It cuts a picture into tiles, runs the network on them and joins the results. The alpha channel
is upscaled by the same network as the colour. The colour may be restored before, by the network
of a `core.model.restorer.Restorer`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InvalidDetail, InvalidRestore
from core.images.condition import recommend_strength
from core.model.card import ModelCard, read_card, read_linked_cards, restorer_path
from core.model.restorer import (
    InterpolatedNetwork,
    Restoration,
    Restorer,
    rows_before,
    run_at_detail,
)
from core.model.tasks import (
    RowTasks,
    relative_cost,
    restoring_tasks,
    upscale_tile,
    upscaling_tasks,
)
from core.model.tiles import ROWS_AHEAD, Network, Tile, WindowSizes, plan_tiles
from core.options import AUTO, FULL_DETAIL, FULL_STRENGTH, Restore
from core.picture import Picture
from core.pixels import PixelArray, WindowArray
from core.runtime.machine import keep_heap
from core.runtime.scheduler import RequestDeadline, TileScheduler

if TYPE_CHECKING:
    from core.model.graph import FrozenGraph
    from core.model.interpolation import InterpolatedGraph

RestoredNetwork = Callable[[WindowArray, float, float], WindowArray]
"""Restored window, detail and strength -> SR window, by weights tuned to restored pictures."""

Progress = Callable[[int, int], None]
"""Called after each tile with the number of tiles done and the number of all tiles."""


class Upscaler:
    """Upscales pictures tile by tile, row by row of tiles.

    Pictures of several threads take turns. So the network needs the memory of one window,
    however many pictures are in progress.

    Args:
        card: describes `network`; its scale and halo are used.
        network: maps an LR window to an SR window.
        window: largest height and width of a window, LR px.
        large_window: the same for pictures that need few windows, see
            `core.model.tiles.WindowSizes`; None for `window`.
        interpolated: less detailed networks, for `detail` in [0, 1); None if there are none.
        restorer: cleans pictures before they are upscaled; None if there is none.
        restored: upscales restored pictures; None for the network of other pictures.
        cards: of all networks, less detailed, tuned and restoring ones included; None if there
            are only those of `card` and of the restorer.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Network,
        *,
        window: int,
        large_window: int | None = None,
        interpolated: InterpolatedNetwork | None = None,
        restorer: Restorer | None = None,
        restored: RestoredNetwork | None = None,
        cards: Sequence[ModelCard] | None = None,
    ) -> None:
        self.card = card
        self.restorer = restorer
        self.windows = WindowSizes(window, large_window or window)
        self.scheduler = TileScheduler()
        self._network = network
        self._interpolated = interpolated
        self._restored = restored
        self._cards = cards

    @property
    def cards(self) -> list[ModelCard]:
        """Cards of all networks that may compute a pixel."""
        if self._cards is not None:
            return list(self._cards)
        return [self.card, *([] if self.restorer is None else [self.restorer.card])]

    @property
    def scale(self) -> int:
        """SR pixels per LR pixel, on each side."""
        return self.card.scale

    @property
    def least_detail(self) -> float:
        """The lowest `detail` that is available: 0, or 1 if there is no faithful network."""
        return FULL_DETAIL if self._interpolated is None else 0.0

    @property
    def most_restore(self) -> float:
        """The highest `restore` that is available: 1, or 0 if there is no restorer."""
        return 0.0 if self.restorer is None else FULL_STRENGTH

    def upscale(
        self,
        lr: Picture,
        progress: Progress | None = None,
        *,
        detail: float = FULL_DETAIL,
        restoration: Restoration | None = None,
        deadline: RequestDeadline | None = None,
        is_background: bool = False,
    ) -> Picture:
        """Upscale a whole picture with its alpha; `extras` are copied.

        The arguments and errors are those of `strips`.
        """
        strips = self.strips(
            lr,
            progress,
            detail=detail,
            restoration=restoration,
            deadline=deadline,
            is_background=is_background,
        )
        return assemble(strips, lr)

    def strips(
        self,
        lr: Picture,
        progress: Progress | None = None,
        *,
        detail: float = FULL_DETAIL,
        restoration: Restoration | None = None,
        deadline: RequestDeadline | None = None,
        is_background: bool = False,
    ) -> Generator[PixelArray]:
        """Upscale a picture, one row of tiles after the other.

        The result does not depend on the size of the window, thanks to the halo. At most two
        rows of tiles are computed ahead.

        Args:
            lr: LR picture, H, W >= 1.
            progress: called after each tile.
            detail: amount of synthesised texture, in [0, 1]: 0 is faithful and soft.
            restoration: of `lr`, new, from `restoration`; None to upscale `lr` as it is. It
                has the restored rows of a strip until the next strip is asked for.
            deadline: how long the caller waits; None for no limit.
            is_background: whether pictures of other callers go first.

        Yields:
            Strips of the SR picture from top to bottom, (h, scale*W, C) of the type of `lr`,
            sRGB. C is 1 for grey and 3 for colour, and one more with alpha, which is last.

        Raises:
            InvalidDetail: if there is no network of this detail.
            DeadlineExceeded: if the deadline passes before the last strip.
            RequestAbandoned: if the caller has left.
        """
        self.check_detail(detail)
        rows = self.plan(lr.height, lr.width, is_background=is_background)
        planned = self._plan_tasks(lr, rows, detail, restoration, is_background=is_background)
        tasks = [task for row in planned for task in (*row.restoring, *row.upscaling)]
        max_results = ROWS_AHEAD * len(rows[0])
        run = self.scheduler.run(
            tasks, max_results=max_results, deadline=deadline, is_background=is_background
        )
        with closing(run) as results:
            reported = report_progress(results, progress, len(tasks))
            for row, tiles in zip(planned, rows, strict=True):
                if restoration is not None:
                    restoration.release(tiles[0].window.top)
                for _ in row.restoring:
                    next(reported)
                yield np.concatenate(list(islice(reported, len(row.upscaling))), axis=1)

    def _plan_tasks(
        self,
        lr: Picture,
        rows: list[list[Tile]],
        detail: float,
        restoration: Restoration | None,
        *,
        is_background: bool,
    ) -> list[RowTasks]:
        """Return the tasks of each row of tiles."""
        network = partial(self._run, detail=detail)
        upscale = partial(upscale_tile, lr, network=network, scale=self.scale)
        if restoration is None:
            return [RowTasks([], upscaling_tasks(row, upscale)) for row in rows]
        restored = partial(self._run_restored, detail=detail, strength=restoration.strength)
        upscale = partial(upscale, restoration=restoration, restored=restored)
        tiles = restoration.restorer.plan(lr.height, lr.width, is_background=is_background)
        restore = partial(restoration.restore_tile, detail=detail)
        cost = relative_cost(restoration.restorer.card, self.card)
        return [
            RowTasks(restoring_tasks(before, restore, cost), upscaling_tasks(row, upscale))
            for before, row in zip(rows_before(rows, tiles), rows, strict=True)
        ]

    def plan(self, height: int, width: int, *, is_background: bool = False) -> list[list[Tile]]:
        """Return the tiles of a picture, in rows; usual ones in the background."""
        halo = self.card.halo
        if is_background:
            return plan_tiles(height, width, window=self.windows.usual, halo=halo)
        return self.windows.plan(height, width, halo)

    def check_detail(self, detail: float) -> None:
        """Raise InvalidDetail unless there is a network of this detail."""
        if not self.least_detail <= detail <= FULL_DETAIL:
            raise InvalidDetail(
                f"`detail` must be {detail_range(self.least_detail)}. Received: {detail:g}"
            )

    def count_tiles(self, height: int, width: int, *, is_restored: bool) -> int:
        """Return the number of tiles of a picture, those of the restorer included."""
        count = sum(map(len, self.plan(height, width)))
        if self.restorer is not None and is_restored:
            count += sum(map(len, self.restorer.plan(height, width)))
        return count

    def choose_strength(self, lr: Picture, restore: Restore) -> float:
        """Return how strongly to restore a picture, in [0, 1].

        Args:
            lr: LR picture; its condition decides where `restore` is AUTO.
            restore: requested strength.

        Raises:
            InvalidRestore: if that is not available.
        """
        self.check_restore(restore)
        if restore != AUTO:
            return float(restore)
        return 0.0 if self.restorer is None else recommend_strength(lr)

    def restoration(self, lr: Picture, strength: float) -> Restoration | None:
        """Return the restoration of a picture; None for strength 0, which changes nothing."""
        if self.restorer is None or strength == 0:
            return None
        return Restoration(lr, strength, self.restorer)

    def restoring_bytes(self, width: int, rows: list[list[Tile]], restore: Restore) -> int:
        """Return the bytes that restoring a picture takes, if `restore` may ask for it.

        Args:
            width: width of the picture, LR px.
            rows: its tiles, from `plan`.
            restore: requested strength.
        """
        if self.restorer is None or restore == 0:
            return 0
        return self.restorer.memory_bytes(width, rows)

    def check_restore(self, restore: Restore) -> None:
        """Raise InvalidRestore unless this strength is available."""
        if restore in (AUTO, 0):
            return
        if self.restorer is None:
            raise InvalidRestore(
                "`restore` must be 0 or auto, as the model has no restorer beside it. "
                f"Received: {restore:g}"
            )
        if not 0 <= float(restore) <= FULL_STRENGTH:
            raise InvalidRestore(
                f"`restore` must be a number from 0 to 1, or auto. Received: {restore:g}"
            )

    def warm_up(self) -> None:
        """Run the networks once on their largest windows, as TensorFlow prepares itself then.

        Less detailed networks are not warmed up: few callers use them, and it takes memory.
        Strengths between 0 and 1 have a graph of their own, which `auto` often chooses.
        """
        side = max(self.windows)
        self._run(np.zeros((side, side, 3), np.uint8), FULL_DETAIL)
        if self.restorer is not None:
            self.restorer.warm_up()
            levels = np.zeros((side, side, 3), np.float32)
            self._run_restored(levels, FULL_DETAIL, FULL_STRENGTH)
            if self._restored is not None:
                self._restored(levels, FULL_DETAIL, FULL_STRENGTH / 2)

    def _run(self, window: WindowArray, detail: float) -> WindowArray:
        return run_at_detail(window, detail, self._network, self._interpolated)

    def _run_restored(self, window: WindowArray, detail: float, strength: float) -> WindowArray:
        if self._restored is None:
            return self._run(window, detail)
        return self._restored(window, detail, strength)


def load_upscaler(
    card_path: Path,
    *,
    window: int,
    threads: int,
    large_window: int | None = None,
    precision: str = "auto",
) -> Upscaler:
    """Load the frozen graphs that a card names, and return an upscaler that runs them.

    Args:
        card_path: JSON file.
        window: as in `Upscaler`.
        threads: number of threads of one operation of the network; 0 for one per core.
        large_window: as in `Upscaler`.
        precision: precision of the network; see `core.model.graph.load_graph`.

    Raises:
        GraphMismatch: if card and graph do not belong together.
    """
    keep_heap()
    # TensorFlow takes seconds to import: callers with another network need not wait for it.
    from core.model.interpolation import load_restored_graph

    graph, interpolated = load_graphs(card_path, threads=threads, precision=precision)
    restored = load_restored_graph(card_path, threads=threads, precision=graph.precision)
    return Upscaler(
        graph.card,
        graph,
        window=window,
        large_window=large_window,
        interpolated=interpolated,
        restorer=load_restorer(card_path, threads=threads, precision=precision),
        restored=restored,
        cards=read_linked_cards(card_path),
    )


def load_restorer(card_path: Path, *, threads: int, precision: str) -> Restorer | None:
    """Load the restorer that the card of an upscaler names; None if it names none.

    The arguments and errors are those of `load_upscaler`.
    """
    path = restorer_path(card_path, read_card(card_path))
    if path is None:
        return None
    graph, interpolated = load_graphs(path, threads=threads, precision=precision)
    return Restorer(graph.card, graph, interpolated=interpolated)


def load_graphs(
    card_path: Path, *, threads: int, precision: str
) -> tuple["FrozenGraph", "InterpolatedGraph | None"]:
    """Load the graph of a card, and the one between it and its faithful graph, if it has one.

    The arguments and errors are those of `load_upscaler`.
    """
    from core.model.graph import load_graph
    from core.model.interpolation import load_interpolated_graph

    graph = load_graph(card_path, threads=threads, precision=precision)
    return graph, load_interpolated_graph(card_path, threads=threads, precision=graph.precision)


def assemble(strips: Iterable[PixelArray], lr: Picture) -> Picture:
    """Return the SR picture of `lr`, given its strips."""
    sr = np.concatenate(list(strips))
    alpha = None if lr.alpha is None else np.ascontiguousarray(sr[..., -1])
    colour = np.repeat(sr[..., :1], 3, axis=2) if lr.is_grey else sr[..., :3]
    return Picture(np.ascontiguousarray(colour), alpha, lr.is_grey, lr.extras)


def report_progress(
    results: Iterator[PixelArray], progress: Progress | None, total: int
) -> Iterator[PixelArray]:
    """Yield the results, and report how many there were."""
    for done, result in enumerate(results, start=1):
        if progress is not None:
            progress(done, total)
        yield result


def detail_range(least_detail: float) -> str:
    """Return the range of `detail` in words."""
    if least_detail < FULL_DETAIL:
        return f"a number from {least_detail:g} to {FULL_DETAIL:g}"
    return f"{FULL_DETAIL:g}, as the model has no faithful one beside it"
