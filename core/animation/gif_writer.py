"""Frames to GIF: of each, only what has changed is painted over what is there.

Source: GIF89a specification, https://www.w3.org/Graphics/GIF/spec-gif89a.txt; XMP
Specification Part 3, section 1.1.2.

Palettes: few colours that stand for many.

An octree finds colours that are there, k-means moves them to the middle of what they stand
for. On photographs that is as near as Pillow's median cut with k-means and nearer than
FFmpeg's palettegen, in a fifth of the time, and the indices are compressed to a sixth less.
"""

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from core.animation.gif_reader import (
    APPLICATION,
    CENTISECOND,
    EXTENSION,
    GIF89A,
    GRAPHIC_CONTROL,
    HAS_TABLE,
    IMAGE,
    IS_TRANSPARENT,
    LOOPING,
    LOOPS,
    TRAILER,
    encode_indices,
)
from core.animation.model import FOR_EVER, BoolArray, UpscaledAnimation, bounds, rgba
from core.model.tiles import Box
from core.options import GLOBAL_PALETTE, OutputOptions
from core.pixels import LEVELS, Float32Array, Uint8Array

SAMPLE = 16_384
"""Pixels that a palette is made of; four times as many gain 0.2 dB."""

ROUNDS = 3
"""Of k-means; five more gain 0.1 dB."""

RGB = "RGB"


def sample_pixels(pixels: Uint8Array, at_most: int = SAMPLE) -> Uint8Array:
    """Some of (N, 3), evenly spread."""
    return pixels[:: max(1, -(-len(pixels) // at_most))]


def find_palette(pixels: Uint8Array, colours: int) -> Uint8Array:
    """Colours that stand for those of pixels.

    Args:
        pixels: (N, 3) uint8, N >= 0.
        colours: at most so many, of 1 to 256.

    Returns:
        (n, 3) uint8, 1 <= n <= colours: all colours that there are, in order, if they are few.
    """
    few = _few_colours(pixels, colours)
    if few is not None:
        return few
    sample = sample_pixels(pixels)
    found = _as_image(sample).quantize(colours, method=Image.Quantize.FASTOCTREE)
    palette = np.array(found.getpalette(), np.uint8).reshape(-1, 3)[:colours]
    return _move_to_means(sample.astype(np.float32), palette.astype(np.float32))


def _few_colours(pixels: Uint8Array, colours: int) -> Uint8Array | None:
    """All of them; None if there are too many."""
    if not len(pixels):
        return np.zeros((1, 3), np.uint8)
    counted = _as_image(pixels).getcolors(colours)
    if counted is None:
        return None
    return np.array(sorted(colour for _, colour in counted), np.uint8)


def _as_image(pixels: Uint8Array) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels)[None])


def _move_to_means(pixels: Float32Array, palette: Float32Array) -> Uint8Array:
    """Some rounds of k-means; a colour that stands for none stays where it is."""
    for _ in range(ROUNDS):
        distance = (palette**2).sum(axis=1) - 2 * pixels @ palette.T
        nearest = distance.argmin(axis=1)
        count = np.bincount(nearest, minlength=len(palette))
        for channel in range(3):
            total = np.bincount(nearest, pixels[:, channel], minlength=len(palette))
            np.divide(total, count, out=palette[:, channel], where=count > 0, casting="unsafe")
    return np.asarray(np.clip(np.rint(palette), 0, 255), np.uint8)


def map_to_palette(pixels: Uint8Array, palette: Uint8Array, *, is_dithered: bool) -> Uint8Array:
    """The colour that is to stand for each pixel.

    Args:
        pixels: (H, W, 3) uint8.
        palette: (n, 3) uint8.
        is_dithered: whether what is lost of a pixel is given to its neighbours
            (Floyd and Steinberg 1976).

    Returns:
        Indices, (H, W) uint8. A pixel whose very colour is in the palette gets it.
    """
    shelf = Image.new("P", (1, 1))
    shelf.putpalette(palette.tobytes())
    dither = Image.Dither.FLOYDSTEINBERG if is_dithered else Image.Dither.NONE
    image = Image.fromarray(np.ascontiguousarray(pixels)).quantize(palette=shelf, dither=dither)
    indices = np.minimum(np.asarray(image), len(palette) - 1).astype(np.uint8)
    return _with_exact(pixels, palette, indices)


def _with_exact(pixels: Uint8Array, palette: Uint8Array, indices: Uint8Array) -> Uint8Array:
    """Pillow looks colours up by their upper six bits."""
    codes, wanted = _codes(palette), _codes(pixels)
    order = np.argsort(codes)
    place = np.minimum(np.searchsorted(codes[order], wanted), len(codes) - 1)
    exact = order[place]
    return np.where(codes[exact] == wanted, exact, indices).astype(np.uint8)


def _codes(colours: Uint8Array) -> np.ndarray:
    """A number for each colour."""
    wide = colours.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


OPAQUE_FROM = (LEVELS + 1) // 2
"""Opacity from which a pixel is seen: a GIF has all or nothing."""

TOLERANCE = 3
"""Levels by which a pixel may differ from the one that is painted already: less than what
lies between the colours of a palette, so repainting would only make it flicker."""

COLOURS = 255
"""Of a palette: one index is what is not painted."""

DEEP = 0x70
"""Flags of a screen: colours were of 8 bits."""

KEPT, CLEARED = 1, 2
"""Disposals."""

SHORTEST = 2
"""In 1/100 s; what is shorter, viewers show for 1/10 s."""

LONGEST = MOST_LOOPS = 2**16 - 1

XMP_END = bytes([1, *range(255, -1, -1), 0])
"""After a packet, which is no blocks: wherever a reader of blocks lands here, it gets out."""


class PaintedFrame(NamedTuple):
    """A frame, as it is to be painted.

    Attributes:
        colour: of all of it, (H, W, 3) uint8.
        where: pixels to paint, (H, W) bool.
        area: around them.
        disposal: KEPT or CLEARED.
    """

    colour: Uint8Array
    where: BoolArray
    area: Box
    disposal: int


def write_gif(film: UpscaledAnimation, wish: OutputOptions, file: IO[bytes]) -> None:
    """Write a film; of `wish`, palette and dithering are obeyed.

    With one palette for all, all frames are asked for twice.
    """
    delays = (min(each, LONGEST) for each in film.durations_in(CENTISECOND, SHORTEST))
    palette = _find_global_palette(film) if wish.palette == GLOBAL_PALETTE else None
    file.write(GIF89A + _screen(film, palette) + _repetitions(film.plays) + _note(film.xmp))
    for painting, delay in zip(paint(film), delays, strict=True):
        file.write(_encode(painting, delay, palette, is_dithered=wish.is_dithered))
    file.write(bytes([TRAILER]))


def paint(film: UpscaledAnimation) -> Iterator[PaintedFrame]:
    """What is to be painted of each frame; two frames are held."""
    shown = np.zeros((film.height, film.width, 3), np.uint8)
    is_shown = np.zeros((film.height, film.width), bool)
    for now, after in _with_next(map(rgba, film.pictures())):
        colour, visible = now[..., :3], _is_visible(now)
        where = visible & ~(is_shown & _is_near(colour, shown))
        stays = visible if after is None else _is_visible(after)
        vanishing = visible & ~stays
        area = bounds(where | vanishing) or Box(0, 0, 1, 1)
        np.copyto(shown, colour, where=where[..., None])
        is_shown |= where
        if vanishing.any():
            area.crop(is_shown)[:] = False
        yield PaintedFrame(colour, where, area, CLEARED if vanishing.any() else KEPT)


def _with_next(frames: Iterator[Uint8Array]) -> Iterator[tuple[Uint8Array, Uint8Array | None]]:
    """Each frame and the one after it, the last with None."""
    now = next(frames)
    for after in frames:
        yield now, after
        now = after
    yield now, None


def _is_visible(frame: Uint8Array) -> BoolArray:
    """Which pixels of (H, W, 4) a GIF shows."""
    visible: BoolArray = frame[..., 3] >= OPAQUE_FROM
    return visible


def _is_near(colour: Uint8Array, shown: Uint8Array) -> BoolArray:
    higher, lower = np.maximum(colour, shown), np.minimum(colour, shown)
    near: BoolArray = (higher - lower).max(axis=2) <= TOLERANCE
    return near


def _find_global_palette(film: UpscaledAnimation) -> Uint8Array:
    """Of some pixels of every frame, most of those that are painted most often."""
    each = max(SAMPLE // max(len(film.durations), 1), SAMPLE // 256)
    painted = (painting.colour[painting.where] for painting in paint(film))
    return find_palette(
        np.concatenate([sample_pixels(pixels, each) for pixels in painted]), COLOURS
    )


def _encode(
    painting: PaintedFrame, delay: int, palette: Uint8Array | None, *, is_dithered: bool
) -> bytes:
    """A frame: what is said of it, its palette if that is its own, its pixels."""
    area = painting.area
    colour, where = area.crop(painting.colour), area.crop(painting.where)
    colours = find_palette(colour[where], COLOURS) if palette is None else palette
    indices = map_to_palette(colour, colours, is_dithered=is_dithered)
    transparent = len(colours)
    indices[~where] = transparent
    bits = transparent.bit_length()
    flags = painting.disposal << 2 | IS_TRANSPARENT
    control = struct.pack("<BBBBHBB", EXTENSION, GRAPHIC_CONTROL, 4, flags, delay, transparent, 0)
    size = area.left, area.top, area.width, area.height
    table = b"" if palette is not None else _table(colours, bits)
    descriptor = struct.pack("<B4HB", IMAGE, *size, HAS_TABLE | bits - 1 if table else 0)
    return control + descriptor + table + encode_indices(indices, bits)


def _table(colours: Uint8Array, bits: int) -> bytes:
    """Colours, and black for the rest of so many bits."""
    return colours.tobytes().ljust(3 << bits, b"\0")


def _screen(film: UpscaledAnimation, palette: Uint8Array | None) -> bytes:
    if palette is None:
        return struct.pack("<HHBBB", film.width, film.height, DEEP, 0, 0)
    bits = len(palette).bit_length()
    head = struct.pack("<HHBBB", film.width, film.height, HAS_TABLE | DEEP | bits - 1, 0, 0)
    return head + _table(palette, bits)


def _repetitions(plays: int) -> bytes:
    """How often it is repeated after the first time, if it is."""
    if plays == 1:
        return b""
    loops = 0 if plays == FOR_EVER else min(plays - 1, MOST_LOOPS)
    head = bytes([EXTENSION, APPLICATION, len(LOOPING[0])]) + LOOPING[0]
    return head + struct.pack("<BBHB", 3, LOOPS, loops, 0)


def _note(xmp: bytes | None) -> bytes:
    if xmp is None:
        return b""
    return bytes([EXTENSION, APPLICATION, 11]) + b"XMP DataXMP" + xmp + XMP_END
