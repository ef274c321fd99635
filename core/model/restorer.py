"""The restorer: a network that cleans an LR picture on its own grid before it is upscaled.

It removes blur, noise and traces of JPEG. The upscaler sees LR + strength * (R(LR) - LR), as
float32 levels that are never rounded.

The restorer has tiles of its own, larger than those of the upscaler: its halo is larger, too.
Restored rows are kept only as long as a window of the upscaler, or the comparison of the result
with them, needs them. So a picture takes a band of rows, not a second picture.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from core.errors import GraphMismatch
from core.model.band import RowBand
from core.model.card import ModelCard
from core.model.tiles import (
    LENGTH_STEP,
    Box,
    Network,
    Tile,
    WindowSizes,
    plan_tiles,
)
from core.options import FULL_DETAIL
from core.picture import Picture
from core.pixels import Float32Array, PixelArray, WindowArray, levels_from_pixels

InterpolatedNetwork = Callable[[WindowArray, float], WindowArray]
"""Window and detail -> computed window, between the faithful and the detailed network."""

WINDOWS = WindowSizes(usual=384, large=512)
"""Largest windows of a restorer, LR px. With a halo of 40, windows of 384 compute 1.6 times the
pixels of their cores, windows of 256 2.1 times. Larger ones gain little, and other pictures wait
longer for them."""

LEVELS_BYTES = 12
"""Bytes of the float32 levels of an LR pixel."""

WINDOW_COPIES = 5
"""Number of arrays of float32 levels of a window in memory: padded, restored, cropped, blended."""

NOTHING = np.empty((0, 0, 3), np.uint8)
"""Result of the task of a tile: its rows go to the band, not to the caller."""


class Restorer:
    """A restoring network, its tiles and its weights for each detail.

    Args:
        card: describes `network`; its halo and stride are used.
        network: maps a window of float32 levels to restored levels, (h, w, 3) both.
        interpolated: less detailed networks, for `detail` in [0, 1); None if `network` serves
            every detail.
        windows: largest windows.

    Raises:
        GraphMismatch: if the card is not that of a restorer.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Network,
        *,
        interpolated: InterpolatedNetwork | None = None,
        windows: WindowSizes = WINDOWS,
    ) -> None:
        check_is_restorer(card)
        self.card = card
        self._network = network
        self._interpolated = interpolated
        self._windows = windows

    @property
    def halo(self) -> int:
        """Context on each side of a core, LR px: a multiple of the stride."""
        return round_up(self.card.halo, self.card.stride)

    def plan(self, height: int, width: int, *, is_background: bool = False) -> list[list[Tile]]:
        """Return the tiles of a picture, in rows; usual ones in the background.

        They cover the picture extended to a multiple of the stride. All windows begin and end
        on multiples of the stride.
        """
        height, width = (round_up(side, self.card.stride) for side in (height, width))
        if is_background:
            return plan_tiles(height, width, window=self._windows.usual, halo=self.halo)
        return self._windows.plan(height, width, self.halo)

    def run(self, window: WindowArray, detail: float) -> WindowArray:
        """Restore a window, (h, w, 3), by the weights of a detail in [0, 1]."""
        return run_at_detail(window, detail, self._network, self._interpolated)

    def warm_up(self) -> None:
        """Run the network once on the largest window, as TensorFlow prepares itself then."""
        side = max(self._windows)
        self._network(np.zeros((side, side, 3), np.float32))

    def memory_bytes(self, height: int, width: int, band_rows: int) -> int:
        """Return the bytes that restoring a picture takes at most, beside the network.

        Args:
            height: height of the picture, LR px.
            width: width of the picture, LR px.
            band_rows: number of restored rows that are needed at a time.
        """
        rows = self.plan(height, width)
        tallest = max(row[0].core.height for row in rows)  # whole rows of tiles are kept
        band = min(height, band_rows + 2 * tallest)
        return LEVELS_BYTES * (band * width + WINDOW_COPIES * rows[0][0].window.pixels)


class Restoration:
    """One picture that is restored while it is upscaled: its strength, and the rows so far.

    The scheduler adds rows from top to bottom, and the caller of the upscaler releases them.

    Args:
        lr: LR picture.
        strength: share of the restorer's change, in (0, 1].
        restorer: restores the picture.
    """

    def __init__(self, lr: Picture, strength: float, restorer: Restorer) -> None:
        self.strength = strength
        self.restorer = restorer
        self._lr = lr
        self._band: RowBand[np.float32] = RowBand()
        self._pending: list[Float32Array] = []

    @property
    def rows_held(self) -> int:
        """Number of rows that are in memory."""
        return self._band.rows_held

    def restore_tile(self, tile: Tile, detail: float) -> PixelArray:
        """Restore a tile, and add it to the row of tiles that is being restored.

        Args:
            tile: the next tile from left to right, then from top to bottom.
            detail: chooses the weights, in [0, 1].
        """
        restored = self._restore(tile, partial(self.restorer.run, detail=detail))
        self._pending.append(restored)
        if tile.core.right >= self._lr.width:
            self._band.append(np.concatenate(self._pending, axis=1))
            self._pending = []
        return NOTHING

    def _restore(self, tile: Tile, network: Network) -> Float32Array:
        """Return the levels of the core of a tile, within the picture: (h, w, 3)."""
        lr = self._lr
        core = tile.core
        core = Box(core.top, core.left, min(core.bottom, lr.height), min(core.right, lr.width))
        restored = np.asarray(network(extended_window(lr.pixels, tile.window)), np.float32)
        restored = core.relative_to(tile.window).crop(restored)
        if lr.is_grey:
            restored = restored.mean(axis=-1, keepdims=True)
        own = levels_from_pixels(core.crop(lr.pixels))
        return own + np.float32(self.strength) * (restored - own)

    def crop(self, box: Box) -> Float32Array:
        """Return restored levels of a part of the picture, (h, w, 3); its rows must be there."""
        return self._band.crop(box)

    def release(self, top: int) -> None:
        """Forget all rows above `top`, as far as they are whole rows of tiles."""
        self._band.release(top)


def run_at_detail(
    window: WindowArray,
    detail: float,
    network: Network,
    interpolated: InterpolatedNetwork | None,
) -> WindowArray:
    """Run `network` at full detail or if it is the only one, else the interpolated one."""
    if interpolated is None or detail == FULL_DETAIL:
        return network(window)
    return interpolated(window, detail)


def extended_window(pixels: PixelArray, window: Box) -> Float32Array:
    """Return the levels of a window; beyond the right and lower edges the picture is mirrored.

    Args:
        pixels: LR picture, (H, W, 3).
        window: may reach beyond the picture by less than its own size.
    """
    levels = levels_from_pixels(window.crop(pixels))
    missing = [(0, window.height - len(levels)), (0, window.width - levels.shape[1]), (0, 0)]
    return np.pad(levels, missing, mode="symmetric")


def round_up(length: int, step: int) -> int:
    """Return the smallest multiple of `step` that is at least `length`."""
    return step * math.ceil(length / step)


def check_is_restorer(card: ModelCard) -> None:
    """Raise GraphMismatch unless a card is that of a restorer whose tiles fit its stride."""
    if card.scale != 1 or LENGTH_STEP % card.stride:
        raise GraphMismatch(
            f"Card `{card.name}` of a restorer must have scale 1 and a stride that divides "
            f"{LENGTH_STEP}. Received: scale {card.scale}, stride {card.stride}"
        )
