"""GIF: images to frames.

An image without a delay is not shown by itself: the next is drawn over it at once. Where no
image has one, the writer forgot them; if the file is to be repeated, or of the version that
could say neither, viewers show each for a while. So each is a frame then, of delay 0.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from core.animation.canvas import Canvas, Patch
from core.animation.gif_blocks import CompressedImage, GifBlocks
from core.animation.lzw import decode_indices
from core.animation.reel import FOR_EVER, Drawn, Reel
from core.images.limits import Limits
from core.pixels import LEVELS

GIF = "GIF"
CENTISECOND = Fraction(1, 100)

Shot = Sequence[CompressedImage]
"""Images that are drawn at once."""


def read_gif(data: bytes, limits: Limits | None) -> Reel:
    """Read a GIF; see `GifBlocks` for what is raised."""
    blocks = GifBlocks(data, limits)
    shots = group_images(blocks)
    return Reel(
        GIF,
        blocks.height,
        blocks.width,
        CENTISECOND,
        tuple(shot[-1].control.delay if shot else 0 for shot in shots),
        count_plays(blocks, len(shots)),
        partial(_draw, blocks.height, blocks.width, shots),
        damage=blocks.damage if blocks.images else "There is no image in the file.",
    )


def group_images(blocks: GifBlocks) -> list[Shot]:
    """Images that are seen together; one empty shot if there are none."""
    has_delays = any(image.control.delay for image in blocks.images)
    if not has_delays and (blocks.loops is not None or blocks.is_of_1987):
        return [[image] for image in blocks.images] or [[]]
    shots: list[list[CompressedImage]] = [[]]
    for image in blocks.images:
        if shots[-1] and shots[-1][-1].control.delay:
            shots.append([])
        shots[-1].append(image)
    return list(shots)


def count_plays(blocks: GifBlocks, shots: int) -> int:
    """Times that it is shown: the file says how many there are after the first."""
    if blocks.loops is None:
        return FOR_EVER if blocks.is_of_1987 and shots > 1 else 1
    return blocks.loops + 1 if blocks.loops else FOR_EVER


def _draw(height: int, width: int, shots: Sequence[Shot]) -> Iterator[Drawn]:
    canvas = Canvas(height, width)
    for shot in shots:
        for image in shot:
            canvas.draw(_decode(image))
        yield Drawn(canvas.colour, canvas.alpha)


def _decode(image: CompressedImage) -> Patch:
    control = image.control
    if not image.width or not image.height:
        nothing = np.zeros((0, 0), np.uint8)
        return Patch(image.left, image.top, image.palette[nothing], nothing, control.disposal)
    indices, there = decode_indices(
        image.blocks,
        image.height,
        image.width,
        bits=image.bits,
        is_interlaced=image.is_interlaced,
    )
    visible = np.ones(indices.shape, bool) if there is None else there
    if control.transparent is not None:
        visible &= indices != control.transparent
    alpha = visible.astype(np.uint8) * np.uint8(LEVELS)
    return Patch(image.left, image.top, image.palette[indices], alpha, control.disposal)
