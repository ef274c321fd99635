"""How much context a tile needs: less than the network could see, measured."""

from dataclasses import replace

import numpy as np

from core.card import ModelCard
from core.picture import Picture
from core.pixels import LEVELS
from core.tiles import Network
from core.upscaler import Upscaler

SIDE = 160  # LR px, of the pictures it is measured on
CORE = 24  # LR px, of the tiles that they are cut into: many borders
STEP = 2  # between the halos that are tried, LR px
MARGIN = 2  # LR px more than what was enough
MOST_LEVELS = 1  # that a pixel may be off


def measure_halo(card: ModelCard, network: Network) -> int:
    """The halo with which no pixel of any probe is more than one level off, LR px.

    Far context has little weight in a trained network; the outermost pixels of its
    radius do not change any 8-bit level.
    """
    wholes = [(probe, network(probe)) for probe in probes()]
    for halo in range(STEP, card.radius, STEP):
        if all(is_enough(card, network, halo, lr, sr) for lr, sr in wholes):
            return min(halo + MARGIN, card.radius)
    return card.radius


def is_enough(card, network, halo, lr, sr) -> bool:
    """True if tiles with this halo give the whole picture within a level."""
    upscaler = Upscaler(replace(card, halo=halo), network, window=CORE + 2 * halo)
    tiled = upscaler.upscale(Picture(lr)).pixels
    return int(np.abs(tiled.astype(int) - sr).max()) <= MOST_LEVELS


def probes() -> list[np.ndarray]:
    """The hardest pictures: noise, black and white noise, a checkerboard, fine waves."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    binary = LEVELS * rng.integers(0, 2, (SIDE, SIDE, 1), np.uint8)
    checkerboard = (LEVELS * ((x + y) % 2)).astype(np.uint8)[..., None]
    waves = (127.5 + 127.5 * np.sin(x * y / 30)).astype(np.uint8)[..., None]
    noise = rng.integers(0, LEVELS + 1, (SIDE, SIDE, 3), np.uint8)
    return [noise, *(np.repeat(grey, 3, axis=2) for grey in (binary, checkerboard, waves))]
