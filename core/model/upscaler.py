"""The upscaler: the one object through which the service upscales pictures.

It cuts a picture into tiles, runs the network on them and joins the results. The alpha channel
is upscaled by the same network as the colour. The colour may be restored before, by the network
of a `core.model.restorer.Restorer`.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InvalidDetail, InvalidRestore
from core.images.condition import recommend_strength
from core.model.card import ModelCard, read_card, read_linked_cards, restorer_path
from core.model.grid import OutputGrid, output_grid
from core.model.passes import ResultPlan, plan_result
from core.model.restorer import InterpolatedNetwork, Restoration, Restorer, run_at_detail
from core.model.strips import (
    ResultNetworks,
    ResultTasks,
    computed_strips,
    fitted_strips,
    picture_strips,
)
from core.model.tasks import relative_cost
from core.model.tiles import Network, Tile, WindowSizes
from core.options import AUTO, FULL_DETAIL, FULL_STRENGTH, OutputOptions, Restore
from core.picture import Picture, repeat_grey
from core.pixels import PixelArray, WindowArray
from core.runtime.machine import keep_heap
from core.runtime.scheduler import TileScheduler, WaitObserver
from core.runtime.tile_tasks import RequestDeadline
from core.runtime.work_rate import WorkRate

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
        large_window: the same for pictures of few windows, see `WindowSizes`; None for `window`.
        interpolated: less detailed networks, for `detail` in [0, 1); None if there are none.
        restorer: cleans pictures before they are upscaled; None if there is none.
        restored: upscales restored pictures; None for the network of other pictures.
        cards: of all networks that may compute a pixel; None for `card` and that of `restorer`.
        scheduler: runs the tiles; None for one of its own.
        rate: how fast they are computed; None for the rate of the scheduler.
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
        scheduler: TileScheduler | None = None,
        rate: WorkRate | None = None,
    ) -> None:
        self.card = card
        self.restorer = restorer
        self.windows = WindowSizes(window, large_window or window)
        self.scheduler = scheduler or TileScheduler()
        self.rate = rate or self.scheduler.rate
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

    def grid(self, options: OutputOptions, height: int, width: int) -> OutputGrid:
        """Return the grid of a result, by the size that options ask for; see `output_grid`."""
        return output_grid(options, height, width, self.scale)

    def upscale(
        self,
        lr: Picture,
        progress: Progress | None = None,
        *,
        grid: OutputGrid | None = None,
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
            grid=grid,
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
        grid: OutputGrid | None = None,
        detail: float = FULL_DETAIL,
        restoration: Restoration | None = None,
        deadline: RequestDeadline | None = None,
        is_background: bool = False,
        on_wait: WaitObserver = lambda _seconds: None,
    ) -> Generator[PixelArray]:
        """Upscale a picture, one row of tiles after the other.

        The result does not depend on the size of the window, thanks to the halo. At most two
        rows of tiles are computed ahead.

        Args:
            lr: LR picture, H, W >= 1, or the part of it that the result shows.
            progress: called after each tile.
            grid: pixels of the result; None for `scale` times the LR picture.
            detail: amount of synthesised texture, in [0, 1]: 0 is faithful and soft.
            restoration: of `lr`, new, from `restoration`; None to upscale `lr` as it is. It
                has the restored rows of a strip until the next strip is asked for.
            deadline: how long the caller waits; None for no limit.
            is_background: whether pictures of other callers go first.
            on_wait: called with the times for which the network computed tiles of others, s.

        Yields:
            Strips of the result from top to bottom, (h, W, C) of the type of `lr`, sRGB. C is 1
            for grey and 3 for colour, and one more with alpha, which is last.

        Raises:
            InvalidDetail: if there is no network of this detail.
            DeadlineExceeded: if the deadline passes before the last strip.
            RequestAbandoned: if the caller has left.
        """
        self.check_detail(detail)
        grid = grid or self.grid(OutputOptions(), lr.height, lr.width)
        is_restored = restoration is not None
        plan = self.plan_result(grid, is_restored=is_restored, is_background=is_background)
        if not plan.strips:
            yield from picture_strips(lr)
            return
        strips = ResultTasks(lr, plan, self._networks(detail, restoration), restoration).strips()
        tasks = [task for strip in strips for task in (*strip.preparing, *strip.upscaling)]
        run = self.scheduler.run(
            tasks,
            max_results=plan.max_results,
            deadline=deadline,
            rate=self.rate,
            is_background=is_background,
            on_wait=on_wait,
        )
        with closing(run) as results:
            reported = report_progress(results, progress, len(tasks))
            yield from fitted_strips(computed_strips(strips, reported), lr, grid)

    def _networks(self, detail: float, restoration: Restoration | None) -> ResultNetworks:
        """Return the networks that compute a result."""
        network = partial(self._run, detail=detail)
        if restoration is None:
            return ResultNetworks(network)
        return ResultNetworks(
            network,
            partial(self._run_restored, detail=detail, strength=restoration.strength),
            partial(restoration.restore_tile, detail=detail),
            relative_cost(restoration.restorer.card, self.card),
        )

    def plan_result(
        self, grid: OutputGrid, *, is_restored: bool, is_background: bool = False
    ) -> ResultPlan:
        """Return how to compute a result; with usual tiles in the background.

        Args:
            grid: pixels of the result.
            is_restored: whether the picture is restored.
            is_background: whether pictures of other callers go first.
        """
        restoring = None
        if self.restorer is not None and is_restored:
            restoring = partial(self.restorer.plan, is_background=is_background)
        return plan_result(grid, partial(self.plan, is_background=is_background), restoring)

    def plan(self, height: int, width: int, *, is_background: bool = False) -> list[list[Tile]]:
        """Return the tiles of a picture, in rows; usual ones in the background."""
        windows = self.windows._replace(large=self.windows.usual) if is_background else self.windows
        return windows.plan(height, width, self.card.halo, self.card.stride)

    def check_detail(self, detail: float) -> None:
        """Raise InvalidDetail unless there is a network of this detail."""
        if not self.least_detail <= detail <= FULL_DETAIL:
            raise InvalidDetail(
                f"`detail` must be {detail_range(self.least_detail)}. Received: {detail:g}"
            )

    def work(self, plan: ResultPlan) -> int:
        """Return the work of a result for the scheduler, see `core.model.tasks`."""
        cost = 0.0 if self.restorer is None else relative_cost(self.restorer.card, self.card)
        return plan.pixels + math.ceil(cost * plan.restored_pixels)

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

    def restoring_bytes(self, plan: ResultPlan) -> int:
        """Return the bytes that restoring a picture takes; 0 if the plan does not restore it."""
        if self.restorer is None or not plan.restored_pixels:
            return 0
        shown = plan.grid.shown
        return self.restorer.memory_bytes(shown.height, shown.width, plan.band_rows)

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
    colour = repeat_grey(sr[..., :1]) if lr.is_grey else np.ascontiguousarray(sr[..., :3])
    return Picture(colour, alpha, lr.is_grey, lr.extras)


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
