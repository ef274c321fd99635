"""The blocks of a GIF.

Source: GIF89a specification, https://www.w3.org/Graphics/GIF/spec-gif89a.txt; for how
often it is repeated: Netscape's extension of 1995, which all viewers know.

Indices of a GIF's palette to compressed blocks, and back.

Source: GIF89a specification, section 22 and appendix F.

GIF: images to frames.

An image without a delay is not shown by itself: the next is drawn over it at once. Where no
image has one, the writer forgot them; if the file is to be repeated, or of the version that
could say neither, viewers show each for a while. So each is a frame then, of delay 0.
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
    FOR_EVER,
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

LEAST_BITS, MOST_BITS = 2, 11
"""Of a code that stands for one index: later ones are longer, up to 12."""

GREY = "L"
"""How Pillow calls one byte a pixel."""

TOO_LITTLE = "not enough"
"""What Pillow says where codes end early; where one cannot be, it says something else."""

END = b"\0"
"""A block of no bytes."""


def decode_indices(
    blocks: bytes, height: int, width: int, *, bits: int, is_interlaced: bool
) -> tuple[Uint8Array, BoolArray | None]:
    """Decompress an image.

    Args:
        blocks: each after its length.
        height, width: of the image, at least 1.
        bits: of a code that stands for an index.
        is_interlaced: whether rows come in four passes.

    Returns:
        (H, W) uint8, and which of them the file has, (H, W) bool; None for all.

    Raises:
        UnreadableImage: for codes that cannot be.
    """
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise UnreadableImage(
            f"Codes of a GIF must begin with {LEAST_BITS} to {MOST_BITS} bits. Received: {bits}."
        )
    decoded, is_whole = _decode_codes(blocks, height, width, bits, is_interlaced, before=0)
    if is_whole:
        return decoded, None
    # What is missing stays as it was before, so it differs after another beginning.
    again, _ = _decode_codes(blocks, height, width, bits, is_interlaced, before=1)
    return decoded, decoded == again


def _decode_codes(
    blocks: bytes, height: int, width: int, bits: int, is_interlaced: bool, before: int
) -> tuple[Uint8Array, bool]:
    """Indices over an image of one level, and whether there are enough."""
    image = Image.new(GREY, (width, height), before)
    try:
        image.frombytes(blocks + END, "gif", bits, int(is_interlaced))
    except ValueError as error:
        if TOO_LITTLE not in str(error):
            raise UnreadableImage(
                "Codes of a GIF must be those that came before. Received: others."
            ) from error
        return np.asarray(image), False
    return np.asarray(image), True


def encode_indices(indices: Uint8Array, bits: int) -> bytes:
    """Compress (H, W) uint8 below 2**bits: the number of bits, then blocks, the last empty."""
    bits = max(bits, LEAST_BITS)
    image = Image.fromarray(np.ascontiguousarray(indices))
    return bytes([bits]) + image.tobytes("gif", GREY, bits, 0) + END


SIGNATURES = GIF87A, GIF89A = b"GIF87a", b"GIF89a"
IMAGE, EXTENSION, TRAILER, PADDING = 0x2C, 0x21, 0x3B, 0x00
GRAPHIC_CONTROL, APPLICATION = 0xF9, 0xFF
LOOPING = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
LOOPS = 1
"""The part of such an extension that says how often; another one speaks of memory."""

HAS_TABLE, IS_INTERLACED, TABLE_SIZE, IS_TRANSPARENT = 0x80, 0x40, 0x07, 0x01

DISPOSALS = {2: CLEAR, 3: RESTORE, 4: RESTORE}
"""4 is what some writers say for 3, and viewers obey; with all others an image stays."""


class GraphicControl(NamedTuple):
    """What is said of an image.

    Attributes:
        disposal: KEEP, CLEAR or RESTORE.
        delay: until what comes after it, in 1/100 s.
        transparent: the index that is not drawn; None if all are.
    """

    disposal: str = KEEP
    delay: int = 0
    transparent: int | None = None


class CompressedImage(NamedTuple):
    """An image of a GIF.

    Attributes:
        left, top: its place on the screen, px.
        height, width: of it; where one of them is 0, there is nothing to draw.
        palette: (256, 3) uint8; black beyond the colours that the file has.
        bits: of a code that stands for an index.
        blocks: of codes, each after its length.
        is_interlaced: whether rows come in four passes.
        control: what is said of it.
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


class _Ends(Exception):
    """The file does, too early."""


class GifBlocks:
    """All that a GIF holds, in order.

    Attributes:
        height, width: of the screen, px.
        images: those that are there as a whole.
        loops: how often it is repeated after the first time, 0 for ever; None if not said.
        is_of_1987: whether it is of the version that could say nothing of time.
        damage: None, or where it ends.

    Args:
        data: the whole file.
        limits: checked for the screen and every image before they are made.

    Raises:
        ImageTooLarge: as `limits` say.
        UnreadableImage: without a screen or, if the file ends too early, without an image.
    """

    def __init__(self, data: bytes, limits: Limits | None) -> None:
        self.height = self.width = 0
        self.images: list[CompressedImage] = []
        self.loops: int | None = None
        self.is_of_1987 = data.startswith(GIF87A)
        self.damage: str | None = None
        self._data, self._position, self._limits = data, len(GIF89A), limits
        try:
            self._read_screen()
            self._read_blocks()
        except _Ends:
            self.damage = "The file ends too early."
        self._check()

    def _read_screen(self) -> None:
        self.width, self.height, flags = struct.unpack("<HHBxx", self._take(7))
        check_image(self._limits, self.height, self.width)
        self._palette = self._read_palette(flags)

    def _read_blocks(self) -> None:
        control = GraphicControl()
        while (kind := self._take(1)[0]) != TRAILER:
            if kind == IMAGE:
                self._read_image(control)
                control = GraphicControl()
            elif kind == EXTENSION:
                control = self._read_extension(control)
            elif kind != PADDING:
                self.damage = f"At byte {self._position - 1} the file is no GIF any more."
                return

    def _read_image(self, control: GraphicControl) -> None:
        left, top, width, height, flags = struct.unpack("<4HB", self._take(9))
        check_image(self._limits, height, width)
        place = left, top, height, width
        if not width or not height:  # it is whole even if what follows is missing
            self._add(CompressedImage(*place, self._palette, 0, b"", False, control))
        palette = self._read_palette(flags) if flags & HAS_TABLE else self._palette
        bits, blocks = self._take(1)[0], self._take_blocks()
        if width and height:
            is_interlaced = bool(flags & IS_INTERLACED)
            self._add(CompressedImage(*place, palette, bits, blocks, is_interlaced, control))

    def _add(self, image: CompressedImage) -> None:
        self.images.append(image)
        if self._limits is not None:
            self._limits.check_frames(len(self.images))

    def _read_extension(self, control: GraphicControl) -> GraphicControl:
        """What is known of the next image after it."""
        label, (first, *others) = self._take(1)[0], [*self._parts(), b""]
        if label == GRAPHIC_CONTROL and len(first) >= 4:
            flags, delay, index = struct.unpack_from("<BHB", first)
            disposal = DISPOSALS.get(flags >> 2 & 7, KEEP)
            return GraphicControl(disposal, delay, index if flags & IS_TRANSPARENT else None)
        if label == APPLICATION and first in LOOPING:
            for part in others:
                if len(part) >= 3 and part[0] == LOOPS:
                    (self.loops,) = struct.unpack_from("<H", part, 1)
        return control

    def _read_palette(self, flags: int) -> Uint8Array:
        palette = np.zeros((256, 3), np.uint8)
        if flags & HAS_TABLE:
            colours = 2 << (flags & TABLE_SIZE)
            table = np.frombuffer(self._take(3 * colours), np.uint8)
            palette[:colours] = table.reshape(colours, 3)
        return palette

    def _parts(self) -> Iterator[bytes]:
        """What blocks hold, up to the empty one."""
        while length := self._take(1)[0]:
            yield self._take(length)

    def _take_blocks(self) -> bytes:
        """All blocks before the empty one, with their lengths."""
        start = self._position
        for _ in self._parts():
            pass
        return self._data[start : self._position - 1]

    def _take(self, count: int) -> bytes:
        taken = self._data[self._position : self._position + count]
        if len(taken) < count:
            raise _Ends
        self._position += count
        return taken

    def _check(self) -> None:
        if not self.width or not self.height:
            raise UnreadableImage(
                "Animation must have a height and a width. "
                f"Received: a GIF of {self.width} x {self.height} pixels."
            )
        if self.damage and not self.images:
            raise UnreadableImage(
                "Animation must have a whole frame. Received: a GIF that ends before."
            )


GIF = "GIF"
CENTISECOND = Fraction(1, 100)

Shot = Sequence[CompressedImage]
"""Images that are drawn at once."""


def read_gif(data: bytes, limits: Limits | None) -> DecodedAnimation:
    """Read a GIF; see `GifBlocks` for what is raised."""
    blocks = GifBlocks(data, limits)
    shots = group_images(blocks)
    return DecodedAnimation(
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


def _draw(height: int, width: int, shots: Sequence[Shot]) -> Iterator[DrawnFrame]:
    canvas = Canvas(height, width)
    for shot in shots:
        for image in shot:
            canvas.draw(_decode_image(image))
        yield DrawnFrame(canvas.colour, canvas.alpha)


def _decode_image(image: CompressedImage) -> Patch:
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
