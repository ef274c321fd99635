"""The blocks of a GIF.

Source: GIF89a specification, https://www.w3.org/Graphics/GIF/spec-gif89a.txt; for how
often it is repeated: Netscape's extension of 1995, which all viewers know.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from core.animation.canvas import CLEAR, KEEP, RESTORE
from core.animation.reel import check_image
from core.errors import UnreadableImage
from core.images.limits import Limits
from core.pixels import Uint8Array

SIGNATURES = GIF87A, GIF89A = b"GIF87a", b"GIF89a"
IMAGE, EXTENSION, TRAILER, PADDING = 0x2C, 0x21, 0x3B, 0x00
GRAPHIC_CONTROL, APPLICATION = 0xF9, 0xFF
LOOPING = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
LOOPS = 1
"""The part of such an extension that says how often; another one speaks of memory."""

HAS_TABLE, IS_INTERLACED, TABLE_SIZE, IS_TRANSPARENT = 0x80, 0x40, 0x07, 0x01

DISPOSALS = {2: CLEAR, 3: RESTORE, 4: RESTORE}
"""4 is what some writers say for 3, and viewers obey; with all others an image stays."""


class Control(NamedTuple):
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
    control: Control


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
        control = Control()
        while (kind := self._take(1)[0]) != TRAILER:
            if kind == IMAGE:
                self._read_image(control)
                control = Control()
            elif kind == EXTENSION:
                control = self._read_extension(control)
            elif kind != PADDING:
                self.damage = f"At byte {self._position - 1} the file is no GIF any more."
                return

    def _read_image(self, control: Control) -> None:
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

    def _read_extension(self, control: Control) -> Control:
        """What is known of the next image after it."""
        label, (first, *others) = self._take(1)[0], [*self._parts(), b""]
        if label == GRAPHIC_CONTROL and len(first) >= 4:
            flags, delay, index = struct.unpack_from("<BHB", first)
            disposal = DISPOSALS.get(flags >> 2 & 7, KEEP)
            return Control(disposal, delay, index if flags & IS_TRANSPARENT else None)
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
