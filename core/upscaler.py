"""The facade: the one object through which the program upscales anything."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.card import ModelCard
from core.errors import InvalidDetail
from core.images import Picture, resize_bicubic
from core.pixels import Uint8Array
from core.tiles import Network, Progress, plan_cores, upscale_tiled

InterpolatedNetwork = Callable[[Uint8Array, float], Uint8Array]
"""LR window and detail -> SR window, between a faithful and a detailed network."""

FULL_DETAIL = 1.0
"""The network as it is; 0 is the faithful one that it began with."""


@dataclass(frozen=True)
class Upscaled:
    """An upscaled picture, and what it took."""

    picture: Picture
    tiles: int
    inference_ms: float
    """From the first tile to the last, waiting for other pictures' tiles included."""


class Upscaler:
    """Upscales pictures, one tile at a time.

    Pictures of several threads take turns, tile by tile, so the memory that the
    network needs is that of one window however many pictures are under way.

    Args:
        card: what `network` is; its scale and radius are obeyed.
        network: LR window (h, w, 3) uint8 -> SR window (scale*h, scale*w, 3) uint8.
        tile: longest side of a core, LR px.
        interpolated: less detailed networks, for `detail` in [0, 1); None if there are none.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Network,
        *,
        tile: int,
        interpolated: InterpolatedNetwork | None = None,
    ) -> None:
        self.card = card
        self.tile = tile
        self._network = network
        self._interpolated = interpolated
        self._lane = threading.Lock()

    @property
    def scale(self) -> int:
        """SR pixels per LR pixel, on each side."""
        return self.card.scale

    @property
    def least_detail(self) -> float:
        """The lowest `detail` that can be had: 0, or 1 where there is no faithful network."""
        return FULL_DETAIL if self._interpolated is None else 0.0

    def upscale(
        self, lr: Uint8Array, progress: Progress | None = None, *, detail: float = FULL_DETAIL
    ) -> Uint8Array:
        """Upscale colour, tile by tile.

        The result does not depend on the tile size: the halo covers the radius.

        Args:
            lr: LR picture, (H, W, 3) uint8 in [0, 255], sRGB; H, W >= 1.
            progress: called after each tile with the tiles done and all tiles.
            detail: how much is made up, in [0, 1]: 0 faithful and soft, 1 all of it.

        Returns:
            SR picture, (scale*H, scale*W, 3) uint8 in [0, 255], sRGB.

        Raises:
            InvalidDetail: if `detail` is outside what the networks offer.
        """
        return upscale_tiled(
            lr,
            self._network_at(detail),
            scale=self.scale,
            tile=self.tile,
            halo=self.card.radius,
            progress=progress,
        )

    def upscale_picture(
        self, lr: Picture, progress: Progress | None = None, *, detail: float = FULL_DETAIL
    ) -> Upscaled:
        """Upscale a picture with its alpha, which is interpolated, and its profile."""
        started = time.perf_counter()
        pixels = self.upscale(lr.pixels, progress, detail=detail)
        inference_ms = 1000 * (time.perf_counter() - started)
        alpha = lr.alpha
        if alpha is not None:
            alpha = resize_bicubic(alpha, self.scale * lr.height, self.scale * lr.width)
        return Upscaled(
            picture=Picture(pixels, alpha, lr.icc_profile),
            tiles=self.count_tiles(lr.height, lr.width),
            inference_ms=inference_ms,
        )

    def count_tiles(self, height: int, width: int) -> int:
        return len(plan_cores(height, width, tile=self.tile))

    def check_detail(self, detail: float) -> None:
        """Raise InvalidDetail unless there is a network of this detail."""
        if not self.least_detail <= detail <= FULL_DETAIL:
            raise InvalidDetail(
                f"`detail` must be {describe_range(self.least_detail)}. Received: {detail:g}"
            )

    def _network_at(self, detail: float) -> Network:
        self.check_detail(detail)
        return lambda window: self._run(window, detail)

    def _run(self, window: Uint8Array, detail: float) -> Uint8Array:
        with self._lane:
            if self._interpolated is None or detail == FULL_DETAIL:
                return self._network(window)
            return self._interpolated(window, detail)


def describe_range(least_detail: float) -> str:
    """What `detail` may be, in words."""
    if least_detail < FULL_DETAIL:
        return f"a number from {least_detail:g} to {FULL_DETAIL:g}"
    return f"{FULL_DETAIL:g}, as the model has no faithful one beside it"


def load_upscaler(card_path: Path, *, tile: int, threads: int) -> Upscaler:
    """An upscaler around the frozen graph that lies beside a card.

    Args:
        card_path: JSON file.
        tile: longest side of a core, LR px.
        threads: threads of one operation of the network; 0 for one per core.

    Raises:
        GraphMismatch: if card and graph do not belong together.
    """
    # TensorFlow takes seconds to import: whoever brings another network need not wait.
    from core.graph import load_graph
    from core.interpolation import load_interpolated_graph

    graph = load_graph(card_path, threads=threads)
    interpolated = load_interpolated_graph(card_path, threads=threads)
    return Upscaler(graph.card, graph, tile=tile, interpolated=interpolated)
