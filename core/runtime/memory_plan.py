"""Memory that a picture takes while it is upscaled, known from its header and the wanted size."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.images.resample import BLOCK_ROWS
from core.model.grid import MOST_PASSES, OutputGrid
from core.model.passes import ResultPlan
from core.model.strips import STRIP_ROWS
from core.model.tiles import ROWS_AHEAD, Tile
from core.options import PNG
from core.picture import Header

STRIPS = ROWS_AHEAD + 4
"""Number of rows of tiles of one picture in memory: waiting, joined, downscaled, encoded."""

FIRST_STRIPS = 3
"""Number of rows of tiles of the first of two passes in memory: tiles, joined, reduced."""

SENT_STRIPS = 2
"""Number of reduced strips of one picture in memory: downscaled, encoded."""

SOURCE_COPIES, RESULT_COPIES = 1, 5
"""Number of copies of a block of rows while it is resampled: turned; multiplied, turned, held,
joined, returned."""

COMPARED_COPIES = 4
"""Number of copies of a block of rows at 1x, in levels, while it is compared with the picture."""

ALPHA_COPIES = 2
"""Number of further copies of a block of rows while its colour is weighted by opacity."""

WIDE_BITS = 16
"""Bits of a sample while two passes compute it."""

LEVEL_BYTES = 4
"""Size of a sample while it is resampled."""

BASE_BYTES = 4_000_000
"""Memory for a request, whatever its picture."""

WHOLE_BYTES = 16_000_000
"""Size of the SR pixels up to which the file is sent when it is complete, with its length."""

COPIES = 4
"""Number of copies of the SR pixels of a file that is encoded in one piece: strips, picture,
encoder, file."""


@dataclass(frozen=True)
class MemoryPlan:
    """How a picture is computed, and how much memory that takes.

    Attributes:
        header: of the picture.
        result: tiles and size of the result.
        format: output format.
        restoring_bytes: memory for restoring the picture; 0 if it is not restored.
    """

    header: Header
    result: ResultPlan
    format: str
    restoring_bytes: int = 0

    @property
    def grid(self) -> OutputGrid:
        """Pixels of the result."""
        return self.result.grid

    @property
    def pixel_bytes(self) -> int:
        """Size of a pixel."""
        return self.header.channels * self.header.bits // 8

    @property
    def computed_bytes(self) -> int:
        """Size of a pixel while it is computed: two passes compute 16 bits."""
        bits = WIDE_BITS if self.grid.passes == MOST_PASSES else self.header.bits
        return self.header.channels * bits // 8

    @property
    def sr_bytes(self) -> int:
        """Size of the SR pixels."""
        return self.pixel_bytes * self.grid.height * self.grid.width

    @property
    def is_whole(self) -> bool:
        """Whether the file is sent when it is complete, rather than while it is computed."""
        small = self.sr_bytes <= WHOLE_BYTES
        return small or len(self.result.strips) == 1 or self.format != PNG

    @property
    def memory_bytes(self) -> int:
        """Memory that the picture takes at most, from its first pixel to its last row.

        Its decoder has ended when it is computed.
        """
        decoded = self.pixel_bytes * self.header.height * self.header.width
        return BASE_BYTES + decoded + max(self.header.decoder_bytes, self._computing_bytes)

    @property
    def _computing_bytes(self) -> int:
        """Memory for computing and encoding the result."""
        total = self._strip_bytes + self._resampling_bytes + self.restoring_bytes
        if self.format == PNG:
            return total + (self.sr_bytes if self.is_whole else 0)
        return total + COPIES * self.sr_bytes

    @property
    def _strip_bytes(self) -> int:
        """Memory for strips of all passes, and for the rows between two passes."""
        strips = self.result.strips
        if not self.grid.passes:
            rows = max((s.lr_bottom - s.lr_top for s in strips), default=STRIP_ROWS)
            return STRIPS * self.pixel_bytes * min(rows, self.grid.height) * self.grid.width
        last = self._tallest_bytes(s.last for s in strips)
        if self.grid.is_plain:
            return STRIPS * last
        if self.grid.passes == 1:
            sent = last * self.grid.width // (self.grid.scale * self.grid.shown.width)
            return (STRIPS - SENT_STRIPS) * last + SENT_STRIPS * sent
        first = self._tallest_bytes(s.first for s in strips)
        picture = self.computed_bytes * self.grid.shown.pixels
        return picture + STRIPS * (last + last // self.grid.scale**2) + FIRST_STRIPS * first

    def _tallest_bytes(self, strips: Iterable[list[Tile]]) -> int:
        """Size of the SR pixels of the tallest strip of one pass; 0 without tiles."""
        pixels = (
            (tiles[-1].core.bottom - tiles[0].core.top) * tiles[-1].core.right
            for tiles in strips
            if tiles
        )
        return self.computed_bytes * self.grid.scale**2 * max(pixels, default=0)

    @property
    def _resampling_bytes(self) -> int:
        """Memory for reducing a result to its grid, and for comparing it with the picture."""
        if not self.grid.passes:
            return (
                COMPARED_COPIES * LEVEL_BYTES * BLOCK_ROWS * self.header.channels * self.grid.width
            )
        if self.grid.is_plain:
            return 0
        enlarged = self.grid.scale * self.grid.shown.width
        reduced = self.grid.coarsened().width if self.grid.passes > 1 else self.grid.width
        channels, source_copies = self.header.channels, SOURCE_COPIES
        if channels in (2, 4):
            channels, source_copies = 2 * channels - 1, SOURCE_COPIES + ALPHA_COPIES
        reducing = channels * (source_copies * enlarged + RESULT_COPIES * reduced)
        compared = self.grid.width + RESULT_COPIES * self.grid.shown.width
        return LEVEL_BYTES * BLOCK_ROWS * max(reducing, self.header.channels * compared)
