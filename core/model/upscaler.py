"""The upscaler: the one object through which the service upscales pictures.

It cuts a picture into tiles, runs the network on them and joins the results. The alpha channel
is upscaled by the same network as the colour.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from core.errors import InvalidDetail
from core.model.card import ModelCard
from core.model.tiles import Network, Tile, WindowSizes, plan_tiles
from core.picture import Picture
from core.pixels import PixelArray, grey_from_rgb
from core.runtime.machine import keep_heap
from core.runtime.scheduler import RequestDeadline, TileScheduler, TileTask

InterpolatedNetwork = Callable[[PixelArray, float], PixelArray]
"""LR window and detail -> SR window, between the faithful and the detailed network."""

Progress = Callable[[int, int], None]
"""Called after each tile with the number of tiles done and the number of all tiles."""

FULL_DETAIL = 1.0
"""Detail of the network itself; 0 is that of the faithful network from which it was trained."""

ROWS_AHEAD = 2
"""Number of rows of tiles that may wait for the caller."""


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
    """

    def __init__(
        self,
        card: ModelCard,
        network: Network,
        *,
        window: int,
        large_window: int | None = None,
        interpolated: InterpolatedNetwork | None = None,
    ) -> None:
        self.card = card
        self.windows = WindowSizes(window, large_window or window)
        self.scheduler = TileScheduler()
        self._network = network
        self._interpolated = interpolated

    @property
    def scale(self) -> int:
        """SR pixels per LR pixel, on each side."""
        return self.card.scale

    @property
    def least_detail(self) -> float:
        """The lowest `detail` that is available: 0, or 1 if there is no faithful network."""
        return FULL_DETAIL if self._interpolated is None else 0.0

    def upscale(
        self,
        lr: Picture,
        progress: Progress | None = None,
        *,
        detail: float = FULL_DETAIL,
        deadline: RequestDeadline | None = None,
        is_background: bool = False,
    ) -> Picture:
        """Upscale a whole picture with its alpha; `extras` are copied.

        The arguments and errors are those of `strips`.
        """
        strips = self.strips(
            lr, progress, detail=detail, deadline=deadline, is_background=is_background
        )
        return assemble(strips, lr)

    def strips(
        self,
        lr: Picture,
        progress: Progress | None = None,
        *,
        detail: float = FULL_DETAIL,
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
        network = partial(self._run, detail=detail)
        tiles = [tile for row in rows for tile in row]
        tasks = [
            TileTask(partial(upscale_tile, lr, tile, network, self.scale), tile.window.pixels)
            for tile in tiles
        ]
        max_results = ROWS_AHEAD * len(rows[0])
        run = self.scheduler.run(
            tasks, max_results=max_results, deadline=deadline, is_background=is_background
        )
        with closing(run) as results:
            reported = report_progress(results, progress, len(tiles))
            for row in rows:
                yield np.concatenate(list(islice(reported, len(row))), axis=1)

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

    def warm_up(self) -> None:
        """Run the network once on the largest window, as TensorFlow prepares itself then.

        Less detailed networks are not warmed up: few callers use them, and it takes memory.
        """
        side = max(self.windows)
        self._run(np.zeros((side, side, 3), np.uint8), FULL_DETAIL)

    def _run(self, window: PixelArray, detail: float) -> PixelArray:
        if self._interpolated is None or detail == FULL_DETAIL:
            return self._network(window)
        return self._interpolated(window, detail)


def load_upscaler(
    card_path: Path,
    *,
    window: int,
    threads: int,
    large_window: int | None = None,
    precision: str = "auto",
) -> Upscaler:
    """Load the frozen graph beside a card, and return an upscaler that runs it.

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
    from core.model.graph import load_graph, load_interpolated_graph

    graph = load_graph(card_path, threads=threads, precision=precision)
    interpolated = load_interpolated_graph(card_path, threads=threads, precision=graph.precision)
    return Upscaler(
        graph.card, graph, window=window, large_window=large_window, interpolated=interpolated
    )


def upscale_tile(lr: Picture, tile: Tile, network: Network, scale: int) -> PixelArray:
    """Return the SR core of a tile, (scale*h, scale*w, C), with alpha if the picture has any."""
    sr = tile.upscale(lr.pixels, network, scale)
    if lr.is_grey:
        sr = grey_from_rgb(sr)
    if lr.alpha is None:
        return sr
    return np.concatenate([sr, upscale_alpha(lr.alpha, tile, network, scale)], axis=2)


def upscale_alpha(alpha: PixelArray, tile: Tile, network: Network, scale: int) -> PixelArray:
    """Return the SR alpha of a tile's core, with edges as sharp as those of the colour.

    The network sees alpha as a grey picture. No SR pixel leaves the range of the 3x3 LR pixels
    around it, so transparent and opaque areas stay so.

    Args:
        alpha: alpha of the LR picture, (H, W) uint8 or uint16.
        tile: tile of the picture.
        network: maps an LR window to an SR window.
        scale: SR pixels per LR pixel, on each side.

    Returns:
        (scale*h, scale*w, 1), of the type of `alpha`.
    """
    window = tile.window.crop(alpha)
    if window.min() == window.max():
        shape = (scale * tile.core.height, scale * tile.core.width, 1)
        return np.full(shape, window[0, 0], alpha.dtype)
    sr = grey_from_rgb(network(np.repeat(window[..., None], 3, axis=2)))[..., 0]
    low, high = (
        repeat_pixels(neighbour_extreme(window, extreme), scale)
        for extreme in (np.minimum, np.maximum)
    )
    core = tile.core.relative_to(tile.window).scaled(scale)
    return core.crop(np.clip(sr, low, high))[..., None]


def neighbour_extreme(pixels: PixelArray, extreme: np.ufunc) -> PixelArray:
    """Return the extreme of every pixel (H, W) and its eight neighbours, (H, W).

    Args:
        pixels: (H, W).
        extreme: np.minimum or np.maximum.
    """
    framed = np.pad(pixels, 1, mode="edge")
    rows = extreme(extreme(framed[:-2], framed[1:-1]), framed[2:])
    extremes: PixelArray = extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return extremes


def repeat_pixels(pixels: PixelArray, scale: int) -> PixelArray:
    """Repeat every pixel as a block, (H, W) -> (scale*H, scale*W)."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


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
