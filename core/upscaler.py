"""The facade: the one object through which the program upscales anything."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.card import ModelCard
from core.images import Picture, resize_bicubic
from core.pixels import Uint8Array
from core.tiles import Network, Progress, plan_cores, upscale_tiled


@dataclass(frozen=True)
class Upscaled:
    """An upscaled picture, and what it took."""

    picture: Picture
    tiles: int
    inference_ms: float
    """From the first tile to the last, waiting for other pictures' tiles included."""


class Upscaler:
    """Upscales pictures with one network, one tile at a time.

    Pictures of several threads take turns, tile by tile, so the memory that the
    network needs is that of one window however many pictures are under way.

    Args:
        card: what `network` is; its scale and radius are obeyed.
        network: LR window (h, w, 3) uint8 -> SR window (scale*h, scale*w, 3) uint8.
        tile: longest side of a core, LR px.
    """

    def __init__(self, card: ModelCard, network: Network, *, tile: int) -> None:
        self.card = card
        self.tile = tile
        self._network = _in_turn(network)

    @property
    def scale(self) -> int:
        """SR pixels per LR pixel, on each side."""
        return self.card.scale

    def upscale(self, lr: Uint8Array, progress: Progress | None = None) -> Uint8Array:
        """Upscale colour, tile by tile.

        The result does not depend on the tile size: the halo covers the radius.

        Args:
            lr: LR picture, (H, W, 3) uint8 in [0, 255], sRGB; H, W >= 1.
            progress: called after each tile with the tiles done and all tiles.

        Returns:
            SR picture, (scale*H, scale*W, 3) uint8 in [0, 255], sRGB.
        """
        return upscale_tiled(
            lr,
            self._network,
            scale=self.scale,
            tile=self.tile,
            halo=self.card.radius,
            progress=progress,
        )

    def upscale_picture(self, lr: Picture, progress: Progress | None = None) -> Upscaled:
        """Upscale a picture with its alpha, which is interpolated, and its profile."""
        started = time.perf_counter()
        pixels = self.upscale(lr.pixels, progress)
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

    graph = load_graph(card_path, threads=threads)
    return Upscaler(graph.card, graph, tile=tile)


def _in_turn(network: Network) -> Callable[[Uint8Array], Uint8Array]:
    lane = threading.Lock()

    def run(window: Uint8Array) -> Uint8Array:
        with lane:
            return network(window)

    return run
