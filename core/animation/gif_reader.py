"""Read GIF files: parse the blocks, decode the images, group them to frames.

Each image becomes a frame, as in browsers. They show an image without a delay for a tenth of a
second. Such a frame keeps the delay 0, and a video shows it for that time.

The specification says otherwise: the next image is drawn over an image without a delay at once, so
both make one frame. Callers can choose that. If no image of a file has a delay, the writer forgot
the delays, provided that the file repeats or has the version GIF87a, which has no delays. Then
each image remains a frame.

Pillow decodes the LZW codes. It does not report which pixels of a truncated image are
missing, so such an image is decoded twice, over different backgrounds.

Source: GIF89a specification, https://www.w3.org/Graphics/GIF/spec-gif89a.txt. The number of
repetitions comes from Netscape's extension of 1995, which all viewers support. Blink, Gecko and
WebKit show frames of 10 ms or less for 100 ms.
"""

import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from core.animation.model import (
    CLEAR,
    FOREVER,
    KEEP,
    RESTORE,
    BoolArray,
    Canvas,
    DecodedAnimation,
    DrawnFrame,
    Patch,
    check_image,
)
from core.errors import UnreadableImage
from core.images.decode import Limits
from core.pixels import LEVELS, Uint8Array

GIF = "GIF"
CENTISECOND = Fraction(1, 100)

SIGNATURES = GIF87A, GIF89A = b"GIF87a", b"GIF89a"
IMAGE, EXTENSION, TRAILER, PADDING = 0x2C, 0x21, 0x3B, 0x00
"""First bytes of blocks."""

GRAPHIC_CONTROL, APPLICATION = 0xF9, 0xFF
"""Labels of extensions."""

LOOP_APPLICATIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
LOOP_COUNT = 1
"""Identifier of the sub-block that holds the number of repetitions; another one sets a buffer
size."""

HAS_TABLE, IS_INTERLACED, TABLE_SIZE, IS_TRANSPARENT = 0x80, 0x40, 0x07, 0x01
"""Flag bits."""

DISPOSALS = {2: CLEAR, 3: RESTORE, 4: RESTORE}
"""Disposals by their GIF number; all other numbers keep the image. Some writers use 4 for 3,
and viewers accept it."""

MIN_CODE_BITS, MAX_CODE_BITS = 2, 11
"""Range of the initial code size of LZW; later codes have up to 12 bits."""

TRUNCATED = "not enough"
"""Part of Pillow's message for codes that end early; its message for invalid codes differs."""

GREY = "L"
"""Pillow's mode for one byte per pixel."""

EMPTY_BLOCK = b"\0"
"""Sub-block of length 0, which ends a sequence of sub-blocks."""


class GraphicControl(NamedTuple):
    """The graphic control extension, which applies to the next image.

    Attributes:
        disposal: KEEP, CLEAR or RESTORE.
        delay: time until the next image is drawn, in 1/100 s.
        transparent: palette index of transparent pixels; None if all pixels are opaque.
    """

    disposal: str = KEEP
    delay: int = 0
    transparent: int | None = None


class CompressedImage(NamedTuple):
    """An image block of a GIF.

    Attributes:
        left, top: position on the screen, px.
        height, width: size, px; an image of height or width 0 draws nothing.
        palette: (256, 3) uint8; entries that the file lacks are black.
        bits: initial LZW code size.
        blocks: sub-blocks of LZW codes, with their length bytes.
        is_interlaced: whether rows are stored in four passes.
        control: the graphic control extension before the image.
    """

    left: int
    top: int
    height: int
    width: int
    palette: Uint8Array
    bits: int
    blocks: bytes
    is_interlaced: bool
    control: GraphicControl


ImageGroup = Sequence[CompressedImage]
"""Images that are drawn at the same time and make one frame."""


def read_gif(
    data: bytes, limits: Limits | None, *, merges_undelayed: bool = False
) -> DecodedAnimation:
    """Read a GIF; raises the errors of `GifBlocks`.

    Args:
        data: the whole file.
        limits: checked for the screen and each image before they are decoded.
        merges_undelayed: whether an image without a delay and the next one make one frame.
    """
    blocks = GifBlocks(data, limits)
    groups = merge_undelayed(blocks) if merges_undelayed else separate_images(blocks)
    return DecodedAnimation(
        GIF,
        blocks.height,
        blocks.width,
        CENTISECOND,
        tuple(group[-1].control.delay if group else 0 for group in groups),
        count_plays(blocks, len(groups)),
        partial(_draw, blocks.height, blocks.width, groups),
        damage=blocks.damage if blocks.images else "There is no image in the file.",
    )


class _EndOfFile(Exception):
    """The file ends within a block."""


class GifBlocks:
    """The blocks of a GIF file, parsed in order.

    Attributes:
        height, width: size of the screen, px.
        images: the complete images.
        loops: number of repetitions after the first play, 0 for endless; None if the file
            gives none.
        is_gif87: whether the file has the version GIF87a, which has no delays.
        damage: description of where the file ends too early; None if it does not.

    Args:
        data: the whole file.
        limits: checked for the screen and each image before they are decoded.

    Raises:
        ImageTooLarge: if the screen, an image or the frame count exceeds `limits`.
        UnreadableImage: if the screen has no size, or the file ends before the first image.
    """

    def __init__(self, data: bytes, limits: Limits | None) -> None:
        self.height = self.width = 0
        self.images: list[CompressedImage] = []
        self.loops: int | None = None
        self.is_gif87 = data.startswith(GIF87A)
        self.damage: str | None = None
        self._data, self._position, self._limits = data, len(GIF89A), limits
        try:
            self._parse_screen()
            self._parse_blocks()
        except _EndOfFile:
            self.damage = "The file ends too early."
        self._check()

    def _parse_screen(self) -> None:
        self.width, self.height, flags = struct.unpack("<HHBxx", self._read(7))
        check_image(self._limits, self.height, self.width)
        self._palette = self._parse_palette(flags)

    def _parse_blocks(self) -> None:
        control = GraphicControl()
        while (kind := self._read(1)[0]) != TRAILER:
            if kind == IMAGE:
                self._parse_image(control)
                control = GraphicControl()
            elif kind == EXTENSION:
                control = self._parse_extension(control)
            elif kind != PADDING:
                place = self._position - 1
                self.damage = f"Byte {place} must begin a block of a GIF. Received: another value."
                return

    def _parse_image(self, control: GraphicControl) -> None:
        left, top, width, height, flags = struct.unpack("<4HB", self._read(9))
        check_image(self._limits, height, width)
        geometry = left, top, height, width
        if not width or not height:  # complete even if the rest of the block is missing
            self._add(CompressedImage(*geometry, self._palette, 0, b"", False, control))
        palette = self._parse_palette(flags) if flags & HAS_TABLE else self._palette
        bits, blocks = self._read(1)[0], self._read_raw_sub_blocks()
        if width and height:
            is_interlaced = bool(flags & IS_INTERLACED)
            self._add(CompressedImage(*geometry, palette, bits, blocks, is_interlaced, control))

    def _add(self, image: CompressedImage) -> None:
        self.images.append(image)
        if self._limits is not None:
            self._limits.check_frames(len(self.images))

    def _parse_extension(self, control: GraphicControl) -> GraphicControl:
        """Parse an extension; return the control that applies to the next image."""
        label, (first, *others) = self._read(1)[0], [*self._sub_blocks(), b""]
        if label == GRAPHIC_CONTROL and len(first) >= 4:
            flags, delay, index = struct.unpack_from("<BHB", first)
            disposal = DISPOSALS.get(flags >> 2 & 7, KEEP)
            return GraphicControl(disposal, delay, index if flags & IS_TRANSPARENT else None)
        if label == APPLICATION and first in LOOP_APPLICATIONS:
            for block in others:
                if len(block) >= 3 and block[0] == LOOP_COUNT:
                    (self.loops,) = struct.unpack_from("<H", block, 1)
        return control

    def _parse_palette(self, flags: int) -> Uint8Array:
        palette = np.zeros((256, 3), np.uint8)
        if flags & HAS_TABLE:
            colours = 2 << (flags & TABLE_SIZE)
            table = np.frombuffer(self._read(3 * colours), np.uint8)
            palette[:colours] = table.reshape(colours, 3)
        return palette

    def _sub_blocks(self) -> Iterator[bytes]:
        """Yield the contents of sub-blocks, up to the empty one."""
        while length := self._read(1)[0]:
            yield self._read(length)

    def _read_raw_sub_blocks(self) -> bytes:
        """Return all sub-blocks before the empty one, with their length bytes."""
        start = self._position
        for _ in self._sub_blocks():
            pass
        return self._data[start : self._position - 1]

    def _read(self, count: int) -> bytes:
        read = self._data[self._position : self._position + count]
        if len(read) < count:
            raise _EndOfFile
        self._position += count
        return read

    def _check(self) -> None:
        if not self.width or not self.height:
            raise UnreadableImage(
                "Animation must have a height and a width. "
                f"Received: a GIF of {self.width} x {self.height} pixels."
            )
        if self.damage and not self.images:
            raise UnreadableImage(
                "Animation must have a whole frame. Received: a GIF that ends before its first."
            )


def separate_images(blocks: GifBlocks) -> list[ImageGroup]:
    """Return a group for each image, and an empty one if there are no images."""
    return [[image] for image in blocks.images] or [[]]


def merge_undelayed(blocks: GifBlocks) -> list[ImageGroup]:
    """Group images without a delay with the one after them; return at least one group."""
    has_delays = any(image.control.delay for image in blocks.images)
    if not has_delays and (blocks.loops is not None or blocks.is_gif87):
        return separate_images(blocks)
    groups: list[list[CompressedImage]] = [[]]
    for image in blocks.images:
        if groups[-1] and groups[-1][-1].control.delay:
            groups.append([])
        groups[-1].append(image)
    return list(groups)


def count_plays(blocks: GifBlocks, frames: int) -> int:
    """Return how often the animation is shown; the file counts repetitions after the first."""
    if blocks.loops is None:
        return FOREVER if blocks.is_gif87 and frames > 1 else 1
    return blocks.loops + 1 if blocks.loops else FOREVER


def decode_indices(
    blocks: bytes, height: int, width: int, *, bits: int, is_interlaced: bool
) -> tuple[Uint8Array, BoolArray | None]:
    """Decompress the palette indices of an image.

    Args:
        blocks: sub-blocks of LZW codes, with their length bytes.
        height: height of the image, at least 1 px.
        width: width of the image, at least 1 px.
        bits: initial code size.
        is_interlaced: whether rows are stored in four passes.

    Returns:
        Indices, (H, W) uint8, and which of them the file holds, (H, W) bool; None if it holds
        them all.

    Raises:
        UnreadableImage: if there is an invalid code.
    """
    if not MIN_CODE_BITS <= bits <= MAX_CODE_BITS:
        raise UnreadableImage(
            f"Codes of a GIF must begin with {MIN_CODE_BITS} to {MAX_CODE_BITS} bits. "
            f"Received: {bits}."
        )
    indices, is_complete = _decode_codes(blocks, height, width, bits, is_interlaced, background=0)
    if is_complete:
        return indices, None
    # Missing pixels keep the background, so they differ between two backgrounds.
    again, _ = _decode_codes(blocks, height, width, bits, is_interlaced, background=1)
    return indices, indices == again


def _decode_codes(
    blocks: bytes, height: int, width: int, bits: int, is_interlaced: bool, background: int
) -> tuple[Uint8Array, bool]:
    """Decode indices over a constant background; also return whether all are there."""
    image = Image.new(GREY, (width, height), background)
    try:
        image.frombytes(blocks + EMPTY_BLOCK, "gif", bits, int(is_interlaced))
    except ValueError as error:
        if TRUNCATED not in str(error):
            raise UnreadableImage(
                "Codes of a GIF must refer to codes before them. Received: an invalid code."
            ) from error
        return np.asarray(image), False
    return np.asarray(image), True


def _draw(height: int, width: int, groups: Sequence[ImageGroup]) -> Iterator[DrawnFrame]:
    canvas = Canvas(height, width)
    for group in groups:
        for image in group:
            canvas.draw(_decode_image(image))
        yield DrawnFrame(canvas.colour, canvas.alpha)


def _decode_image(image: CompressedImage) -> Patch:
    control = image.control
    if not image.width or not image.height:
        empty = np.zeros((0, 0), np.uint8)
        return Patch(image.left, image.top, image.palette[empty], empty, control.disposal)
    indices, is_present = decode_indices(
        image.blocks,
        image.height,
        image.width,
        bits=image.bits,
        is_interlaced=image.is_interlaced,
    )
    visible = np.ones(indices.shape, bool) if is_present is None else is_present
    if control.transparent is not None:
        visible &= indices != control.transparent
    alpha = visible.astype(np.uint8) * np.uint8(LEVELS)
    return Patch(image.left, image.top, image.palette[indices], alpha, control.disposal)
