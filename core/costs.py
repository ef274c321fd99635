"""What a picture will take of the memory, known from its header alone."""

from dataclasses import dataclass

from core.picture import Header
from core.rendering import PNG
from core.tiles import Tile
from core.upscaler import ROWS_AHEAD

DECODED_BYTES = {8: 20, 16: 28}
"""Of a decoded pixel, by bits: the library's own, copies with alpha, ours. Measured as 10 to 19
and 18 to 26, by format and alpha."""

STRIPS = ROWS_AHEAD + 4
"""Rows of tiles of one picture: waiting, put together, made small again, being encoded."""

BASE_BYTES = 4_000_000
"""Of a request, whatever its picture."""

WHOLE_BYTES = 16_000_000
"""Of SR pixels: up to here the file is sent when it is complete, with its length."""

COPIES = 4
"""Of the SR pixels of a file that is encoded in one piece: strips, picture, encoder, file."""


@dataclass(frozen=True)
class Plan:
    """How a picture is made, and what that takes.

    Attributes:
        header: of the picture.
        rows: its tiles.
        format: of the file that is made.
        scale: SR pixels per LR pixel, on each side.
    """

    header: Header
    rows: list[list[Tile]]
    format: str
    scale: int

    @property
    def tiles(self) -> int:
        """How many there are."""
        return sum(len(row) for row in self.rows)

    @property
    def sr_bytes(self) -> int:
        """Of the SR pixels."""
        samples = self.header.channels * self.header.bits // 8
        return samples * self.scale**2 * self.header.height * self.header.width

    @property
    def is_whole(self) -> bool:
        """Whether the file is sent when it is complete, and not as it is made."""
        small = self.sr_bytes <= WHOLE_BYTES
        return small or len(self.rows) == 1 or self.format != PNG

    @property
    def memory_bytes(self) -> int:
        """What the picture takes at most, from its first pixel to its last row."""
        height, width = self.header.height, self.header.width
        decoded = DECODED_BYTES[self.header.bits] * height * width
        tallest = max(row[0].core.height for row in self.rows)
        total = BASE_BYTES + decoded + STRIPS * self.sr_bytes * tallest // height
        if self.format != PNG:
            return total + COPIES * self.sr_bytes
        return total + (self.sr_bytes if self.is_whole else 0)
