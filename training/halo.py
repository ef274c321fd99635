"""The halo of a network: LR pixels of context that keep every SR pixel within a level.

It is smaller than the radius: distant pixels have little weight in a trained network, and the
outermost pixels of its radius do not change any 8-bit level. So it is measured, on pictures that
are harder than photographs.
"""

import math
from dataclasses import replace

import numpy as np

from core.model.card import ModelCard
from core.model.tiles import Box, Network
from core.model.upscaler import Upscaler
from core.picture import Picture
from core.pixels import LEVELS

PROBE_SIDE = 160  # LR px, side of the pictures on which the halo is measured
HALO_CORE = 24  # LR px, core of the tiles while measuring: small, so there are many borders
HALO_STEP = 2  # LR px between the halos that are tried
HALO_MARGIN = 2  # LR px added to the smallest halo that is enough
HALO_LEVELS = 1  # difference allowed between tiled and untiled SR
RESTORER_PROBE_SIDE = 320  # LR px, the same for a restorer, whose radius is larger
RESTORER_CORE = 32  # LR px, side of the core in the middle of a probe
CUT = 32  # LR px, from the edge of a picture to that of a window
CUT_LENGTHS = (192, 384)  # LR px, of the pictures, across the edge; tried in this order
CUT_REACH = 0.75  # share of the length of the window up to which a halo is believed
BAND = 32  # LR px, height of each probe in such a picture
EDGE_LEVELS = 0.25  # difference allowed for one edge, before rounding


def measure_halo(card: ModelCard, network: Network) -> int:
    """Return the halo, LR px, with which tiling changes no probe by more than one level.

    It is smaller than the radius: distant pixels have little weight in a trained network,
    and the outermost pixels of its radius do not change any 8-bit level.
    """
    untiled = [(probe, network(probe)) for probe in make_probes()]
    for halo in range(HALO_STEP, card.radius, HALO_STEP):
        if all(is_halo_enough(card, network, halo, lr, sr) for lr, sr in untiled):
            return min(halo + HALO_MARGIN, card.radius)
    return card.radius


def is_halo_enough(card, network, halo, lr, sr) -> bool:
    """Return whether tiles with this halo reproduce the untiled `sr` within one level."""
    upscaler = Upscaler(replace(card, halo=halo), network, window=HALO_CORE + 2 * halo)
    tiled = upscaler.upscale(Picture(lr)).pixels
    return int(np.abs(tiled.astype(int) - sr).max()) <= HALO_LEVELS


def measure_restorer_halo(card: ModelCard, network: Network) -> int:
    """Return the halo, LR px, with which tiles change no probe by more than one level.

    Tiles begin on multiples of the stride, or the coarsest grid would lie elsewhere. So the
    halo is a multiple of the stride, too; one more stride is added as margin.
    """
    top = (RESTORER_PROBE_SIDE - RESTORER_CORE) // 2 // card.stride * card.stride
    core = Box(top, top, top + RESTORER_CORE, top + RESTORER_CORE)
    whole = [(probe, core.crop(network(probe))) for probe in make_probes(RESTORER_PROBE_SIDE)]
    for halo in range(card.stride, card.radius, card.stride):
        window = core.grown(halo, RESTORER_PROBE_SIDE, RESTORER_PROBE_SIDE)
        tiles = [core.relative_to(window).crop(network(window.crop(p))) for p, _ in whole]
        differences = [np.abs(t.astype(int) - w) for t, (_, w) in zip(tiles, whole, strict=True)]
        if max(int(difference.max()) for difference in differences) <= HALO_LEVELS:
            return halo + card.stride
    return -(-card.radius // card.stride) * card.stride


def measure_halo_at_cut(card: ModelCard, network: Network) -> int:
    """Return the halo, LR px, found from how far the edge of a window is felt inside it.

    A window begins `CUT` pixels inside a picture, to the left, and in another one below. Both
    see the same pixels, but for those beyond that edge. So two runs show the effect of every
    halo at once, where `measure_halo` and `measure_restorer_halo` try one after the other.
    That is fast enough for networks of hundreds of layers.

    A tile has four such edges, whose effects may add up. So each may change an unrounded result
    by a quarter of a level: then no rounded one changes by more than a level.
    """
    for length in CUT_LENGTHS:
        bands = np.vstack([probe[:BAND] for probe in make_probes(length)]).astype(np.float32)
        depths = [
            felt_depth(card.scale, network(bands), network(bands[:, CUT:])),
            felt_depth(card.scale, *(upright(network(turned)) for turned in turn(bands))),
        ]
        halo = max(depths) + HALO_MARGIN
        if halo <= (length - CUT) * CUT_REACH or card.radius <= halo:
            break
    else:
        halo = card.radius
    return card.stride * math.ceil(min(halo, card.radius) / card.stride)


def turn(bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture after a quarter turn, and the same without its last `CUT` rows."""
    turned = np.ascontiguousarray(np.rot90(bands))
    return turned, turned[:-CUT]


def upright(sr: np.ndarray) -> np.ndarray:
    """Turn a result back."""
    return np.rot90(sr, -1)


def felt_depth(scale: int, whole: np.ndarray, window: np.ndarray) -> int:
    """Return the number of LR columns at the left edge of a window that the edge changes.

    Args:
        scale: SR pixels per LR pixel.
        whole: SR of the picture, (scale*H, scale*W, 3) float32 levels.
        window: SR of its window, which begins at column `CUT`.
    """
    changes = np.abs(window - whole[:, -window.shape[1] :]).max(axis=(0, 2))
    changed = np.flatnonzero(changes.reshape(-1, scale).max(axis=1) > EDGE_LEVELS)
    return int(changed.max(initial=-1)) + 1


def make_probes(side: int = PROBE_SIDE) -> list[np.ndarray]:
    """Return the hardest pictures: noise, black and white noise, a checkerboard, fine waves."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    binary = LEVELS * rng.integers(0, 2, (side, side, 1), np.uint8)
    checkerboard = (LEVELS * ((x + y) % 2)).astype(np.uint8)[..., None]
    waves = (127.5 + 127.5 * np.sin(x * y / 30)).astype(np.uint8)[..., None]
    noise = rng.integers(0, LEVELS + 1, (side, side, 3), np.uint8)
    return [noise, *(np.repeat(grey, 3, axis=2) for grey in (binary, checkerboard, waves))]
