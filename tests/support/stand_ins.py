"""Networks of known behaviour, for tests that need no TensorFlow."""

import hashlib
from dataclasses import replace

import numpy as np

from core.model.card import ModelCard, graph_path, write_card
from core.model.grid import output_grid
from core.model.restorer import Restorer
from core.model.tiles import WindowSizes
from core.options import OutputOptions

RADIUS = 3
SCALE = 4


def blur_then_repeat(lr):
    """Blur with a zero-padded box of radius 3, then upscale x4: sees 3 pixels on every side."""
    span = 2 * RADIUS + 1
    padded = np.pad(lr.astype(np.int64), ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)))
    height, width, _ = lr.shape
    total = sum(padded[y : y + height, x : x + width] for y in range(span) for x in range(span))
    blurred = (total // span**2).astype(lr.dtype)
    return blurred.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def repeat(lr):
    """Upscale by nearest neighbour: every pixel becomes 4 x 4."""
    return lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def between(lr, detail):
    """Repeat at detail 0, blur at detail 1, and return a weighted mean in between."""
    mixed = (1 - detail) * repeat(lr) + detail * blur_then_repeat(lr).astype(float)
    return np.rint(mixed).astype(lr.dtype)


def coarsen(levels):
    """Restore a window of a multiple of 4 pixels: blocks of 4 x 4 become the mean around them.

    It sees the 8 neighbours of a block, which are black beyond the window: at most 7 pixels.
    """
    height, width, channels = levels.shape
    blocks = levels.reshape(height // 4, 4, width // 4, 4, channels).mean(axis=(1, 3))
    padded = np.pad(blocks, ((1, 1), (1, 1), (0, 0)))
    rows, columns = blocks.shape[:2]
    total = sum(padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3))
    return (total / 9).repeat(4, axis=0).repeat(4, axis=1).astype(np.float32)


def lighten(levels):
    """Restore by adding 100 levels."""
    return levels + np.float32(100)


def restored_whole(lr, strength):
    """Restore a whole picture by `coarsen`, (H, W, 3): float32 levels."""
    levels = lr.astype(np.float32) / (257 if lr.dtype == np.uint16 else 1)
    missing = [(0, -side % 4) for side in lr.shape[:2]]
    change = coarsen(np.pad(levels, [*missing, (0, 0)], mode="symmetric"))
    change = change[: len(lr), : lr.shape[1]] - levels
    return levels + np.float32(strength) * change


def make_restorer(network=coarsen, window=24, **changes):
    """Return a restorer of stride 4 whose halo is that of `coarsen`."""
    card = make_card(**({"name": "restorer", "scale": 1, "halo": 7, "stride": 4} | changes))
    return Restorer(card, network, windows=WindowSizes(window, window))


def make_card(**changes):
    values = {
        "name": "stand-in",
        "version": "1.2.3",
        "description": "A stand-in that was never trained.",
        "scale": SCALE,
        "input_tensor": "lr:0",
        "output_tensor": "sr:0",
        "input_range": (0, 255),
        "output_range": (0, 255),
        "radius": RADIUS,
        "halo": RADIUS,
        "parameters": 0,
        "mflop_per_lr_pixel": 0.0,
        "sha256": "0" * 64,
        "license": "Apache-2.0",
    }
    return ModelCard(**(values | changes))


LINKED_CARDS = {
    "sharp": {"faithful": "soft", "restored": "tuned", "restorer": "clean"},
    "soft": {},
    "tuned": {"faithful": "tuned-soft"},
    "tuned-soft": {},
    "clean": {"scale": 1, "stride": 4, "faithful": "clean-soft"},
    "clean-soft": {"scale": 1, "stride": 4},
}
"""Cards of all networks that may compute a pixel, and what each has beside the usual values."""


def save_linked_cards(folder, changed=None):
    """Write `LINKED_CARDS`, one of them with another graph; return the path of the first."""
    for name, values in LINKED_CARDS.items():
        sha256 = ("1" if name == changed else "0") * 64
        write_card(folder / f"{name}.json", make_card(name=name, sha256=sha256, **values))
    return folder / "sharp.json"


def plain_grid(lr):
    """Return the grid of a picture that is upscaled by 4."""
    return output_grid(OutputOptions(), lr.height, lr.width, SCALE)


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def save_graph(folder, card, graph_def):
    """Write a serialised graph and its card; return the path of the card."""
    path = folder / f"{card.name}.json"
    write_card(path, replace(card, sha256=hashlib.sha256(graph_def).hexdigest()))
    graph_path(path, card).write_bytes(graph_def)
    return path
