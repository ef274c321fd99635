"""What a picture will take of the memory, known from its header alone."""

from core.picture import Header
from core.tiles import Tile
from core.upscaler import ROWS_AHEAD

DECODED_BYTES = 12
"""Of a decoded pixel: Pillow's own, its copy as RGBA, ours. Measured, rounded up."""

STRIPS = ROWS_AHEAD + 2
"""Rows of tiles of one picture: waiting, being made, being encoded."""

BASE_BYTES = 4_000_000
"""Of a request, whatever its picture."""


def memory_cost(header: Header, rows: list[list[Tile]], scale: int) -> int:
    """Bytes that a picture takes at most, from its first pixel to its last row.

    Args:
        header: of the picture.
        rows: its tiles.
        scale: SR pixels per LR pixel, on each side.
    """
    decoded = DECODED_BYTES * header.height * header.width
    tallest = max(row[0].core.bottom - row[0].core.top for row in rows)
    strip = header.channels * scale * tallest * scale * header.width
    return BASE_BYTES + decoded + STRIPS * strip
