"""The facade: the one object through which the program upscales anything.

Opacity, upscaled by the network that upscales colour, and kept honest.
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
from core.options import FULL_DETAIL
from core.picture import Picture
from core.pixels import PixelArray, grey_from_rgb
from core.runtime.machine import keep_heap
from core.runtime.scheduler import Lane, RequestDeadline, TileTask


def upscale_alpha(alpha: PixelArray, tile: Tile, network: Network, scale: int) -> PixelArray:
    """The SR opacity of a tile's core: sharp where colour is, flat where it was flat.

    The network sees opacity as a grey picture. No SR pixel leaves the range of the 3x3
    LR pixels around it, so what is fully transparent, or opaque, stays so.

    Args:
        alpha: of the LR picture, (H, W) uint8 or uint16.
        tile: of the picture.
        network: LR window (h, w, 3) -> SR window, of the same type.
        scale: SR pixels per LR pixel, on each side.

    Returns:
        (scale*h, scale*w, 1), of the type of `alpha`.
    """
    window = tile.window.crop(alpha)
    if window.min() == window.max():
        shape = (scale * tile.core.height, scale * tile.core.width, 1)
        return np.full(shape, window[0, 0], alpha.dtype)
    seen = np.repeat(window[..., None], 3, axis=2)
    sr = grey_from_rgb(network(seen))[..., 0]
    low, high = (repeat(reach(window, extreme), scale) for extreme in (np.minimum, np.maximum))
    inner = tile.core.relative_to(tile.window).scaled(scale)
    return inner.crop(np.clip(sr, low, high))[..., None]


def reach(pixels: PixelArray, extreme: np.ufunc) -> PixelArray:
    """The extreme of every pixel (H, W) and its eight neighbours."""
    framed = np.pad(pixels, 1, mode="edge")
    rows = extreme(extreme(framed[:-2], framed[1:-1]), framed[2:])
    reached: PixelArray = extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return reached


def repeat(pixels: PixelArray, scale: int) -> PixelArray:
    """(H, W) -> (scale*H, scale*W), every pixel a block."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


InterpolatedNetwork = Callable[[PixelArray, float], PixelArray]
"""LR window and detail -> SR window, between a faithful and a detailed network."""

Progress = Callable[[int, int], None]
"""Called after each tile with the tiles done and all tiles."""

ROWS_AHEAD = 2
"""Rows of tiles that may wait to be taken."""


class Upscaler:
    """Upscales pictures tile by tile, row by row of tiles.

    Pictures of several threads take turns, so the memory that the network needs is that
    of one window however many pictures are under way.

    Args:
        card: what `network` is; its scale and halo are obeyed.
        network: LR window (h, w, 3) uint8 or uint16 -> SR window (scale*h, scale*w, 3) of
            the same type.
        window: height and width of a window at most, LR px.
        large_window: likewise, of pictures that need few, see `core.model.tiles.WindowSizes`;
            None if there is none.
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
        self.lane = Lane()
        self._network = network
        self._interpolated = interpolated

    @property
    def scale(self) -> int:
        """SR pixels per LR pixel, on each side."""
        return self.card.scale

    @property
    def least_detail(self) -> float:
        """The lowest `detail` that can be had: 0, or 1 where there is no faithful network."""
        return FULL_DETAIL if self._interpolated is None else 0.0

    def upscale(
        self,
        lr: Picture,
        progress: Progress | None = None,
        *,
        detail: float = FULL_DETAIL,
        patience: RequestDeadline | None = None,
        is_background: bool = False,
    ) -> Picture:
        """Upscale a whole picture with its alpha; what else the file held goes with it.

        Arguments are those of `strips`.
        """
        strips = self.strips(
            lr, progress, detail=detail, patience=patience, is_background=is_background
        )
        return assemble(strips, lr)

    def strips(
        self,
        lr: Picture,
        progress: Progress | None = None,
        *,
        detail: float = FULL_DETAIL,
        patience: RequestDeadline | None = None,
        is_background: bool = False,
    ) -> Generator[PixelArray]:
        """Upscale a picture, one row of tiles after the other.

        The result does not depend on the size of the window: the halo sees to it. Nothing
        is computed that is not asked for, two rows of tiles at most.

        Args:
            lr: LR picture, H, W >= 1.
            progress: told after each tile.
            detail: how much is made up, in [0, 1]: 0 faithful and soft, 1 all of it.
            patience: how long the caller waits; None for ever.
            is_background: whether pictures of others go first.

        Returns:
            Strips of the SR picture from top to bottom, (h, scale*W, C) of the type of
            `lr`, sRGB; C is 1 for grey, else 3, and one more with alpha, which comes last.

        Raises:
            InvalidDetail: if there is no network of this detail.
            DeadlineExceeded, RequestAbandoned: as `patience` says.
        """
        self.check_detail(detail)
        rows = self.plan(lr.height, lr.width, is_background=is_background)
        network = partial(self._run, detail=detail)
        tiles = [tile for row in rows for tile in row]
        tasks = [
            TileTask(partial(upscale_tile, lr, tile, network, self.scale), tile.window.pixels)
            for tile in tiles
        ]
        ahead = ROWS_AHEAD * len(rows[0])
        run = self.lane.run(tasks, ahead=ahead, patience=patience, is_background=is_background)
        with closing(run) as results:
            told = tell(results, progress, len(tiles))
            for row in rows:
                yield np.concatenate(list(islice(told, len(row))), axis=1)

    def plan(self, height: int, width: int, *, is_background: bool = False) -> list[list[Tile]]:
        """The tiles of a picture, in rows; small ones where pictures of others go first."""
        halo = self.card.halo
        if is_background:
            return plan_tiles(height, width, window=self.windows.usual, halo=halo)
        return self.windows.plan(height, width, halo)

    def check_detail(self, detail: float) -> None:
        """Raise InvalidDetail unless there is a network of this detail."""
        if not self.least_detail <= detail <= FULL_DETAIL:
            raise InvalidDetail(
                f"`detail` must be {describe_range(self.least_detail)}. Received: {detail:g}"
            )

    def warm_up(self) -> None:
        """Run the network once on the largest window: the first run prepares the library.

        Not those of less detail, which few ask for: they would take memory for it.
        """
        side = max(self.windows)
        self._run(np.zeros((side, side, 3), np.uint8), FULL_DETAIL)

    def _run(self, window: PixelArray, detail: float) -> PixelArray:
        if self._interpolated is None or detail == FULL_DETAIL:
            return self._network(window)
        return self._interpolated(window, detail)


def upscale_tile(lr: Picture, tile: Tile, network: Network, scale: int) -> PixelArray:
    """The core of a tile, (scale*h, scale*w, C), with alpha if the picture has any."""
    sr = tile.upscale(lr.pixels, network, scale)
    if lr.is_grey:
        sr = grey_from_rgb(sr)
    if lr.alpha is None:
        return sr
    return np.concatenate([sr, upscale_alpha(lr.alpha, tile, network, scale)], axis=2)


def assemble(strips: Iterable[PixelArray], lr: Picture) -> Picture:
    """The SR picture of `lr` that its strips make."""
    sr = np.concatenate(list(strips))
    alpha = None if lr.alpha is None else np.ascontiguousarray(sr[..., -1])
    colour = np.repeat(sr[..., :1], 3, axis=2) if lr.is_grey else sr[..., :3]
    return Picture(np.ascontiguousarray(colour), alpha, lr.is_grey, lr.extras)


def tell(
    results: Iterator[PixelArray], progress: Progress | None, total: int
) -> Iterator[PixelArray]:
    """Pass results on and say how many there were."""
    for done, result in enumerate(results, start=1):
        if progress is not None:
            progress(done, total)
        yield result


def describe_range(least_detail: float) -> str:
    """What `detail` may be, in words."""
    if least_detail < FULL_DETAIL:
        return f"a number from {least_detail:g} to {FULL_DETAIL:g}"
    return f"{FULL_DETAIL:g}, as the model has no faithful one beside it"


def load_upscaler(
    card_path: Path,
    *,
    window: int,
    threads: int,
    large_window: int | None = None,
    precision: str = "auto",
) -> Upscaler:
    """An upscaler around the frozen graph that lies beside a card.

    Args:
        card_path: JSON file.
        window, large_window: as of `Upscaler`.
        threads: threads of one operation of the network; 0 for one per core.
        precision: that the network computes in; see `core.model.graph.load_graph`.

    Raises:
        GraphMismatch: if card and graph do not belong together.
    """
    keep_heap()
    # TensorFlow takes seconds to import: whoever brings another network need not wait.
    from core.model.graph import load_graph, load_interpolated_graph

    graph = load_graph(card_path, threads=threads, precision=precision)
    interpolated = load_interpolated_graph(card_path, threads=threads, precision=graph.precision)
    return Upscaler(
        graph.card, graph, window=window, large_window=large_window, interpolated=interpolated
    )
