"""Indices of a GIF's palette to compressed blocks, and back.

Source: GIF89a specification, section 22 and appendix F.
"""

import numpy as np
from PIL import Image

from core.animation.areas import BoolArray
from core.errors import UnreadableImage
from core.pixels import Uint8Array

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
    decoded, is_whole = _decode(blocks, height, width, bits, is_interlaced, before=0)
    if is_whole:
        return decoded, None
    # What is missing stays as it was before, so it differs after another beginning.
    again, _ = _decode(blocks, height, width, bits, is_interlaced, before=1)
    return decoded, decoded == again


def _decode(
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
