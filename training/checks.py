"""Whether a single file is a photograph to train on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import SuperResolutionError
from core.images import Limits, decode_rgb
from training.likeness import Likeness, likeness_of
from training.origins import Origin

LIMITS = Limits(max_pixels=80_000_000, max_side=30_000)
"""Larger files are no photographs, but traps or panoramas. Below Pillow's own limit."""

MAX_FILE_BYTES = 256 * 2**20

GREY_LEVELS = 4
"""Channels that differ by no more are equal: JPEG files of grey pictures have such noise."""

COLOURED_SHARE = 1e-3
"""Of a grey picture, fewer pixels have unequal channels; photographs have 0.07 or more."""


@dataclass(frozen=True)
class Candidate:
    """A photograph that has passed every check that concerns itself alone.

    Attributes:
        path: where it is.
        height, width: of the upright picture, px.
        sha256: of the file, hexadecimal.
        origin: its licence, and where it is from.
        likeness: what near-duplicates are found by.
    """

    path: Path
    height: int
    width: int
    sha256: str
    origin: Origin
    likeness: Likeness


class Refusal(Exception):
    """A file is not taken.

    Attributes:
        kind: one or two words, to count by.
        reason: what was expected, and what was received.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def check_file(path: Path, origin: Origin | None, min_side: int) -> Candidate:
    """Judge a file by its licence, its bytes, its size and its colours.

    Raises:
        Refusal: if it is not to be trained on.
    """
    if origin is None:
        raise Refusal(
            "no licence",
            "Licence must be stated by manifest.csv or licences.csv beside the file or above it, "
            "or by --licence. Received: none.",
        )
    data = read_file(path)
    pixels = decode(data)
    check_size(*pixels.shape[:2], min_side)
    check_colours(pixels)
    sha256 = hashlib.sha256(data).hexdigest()
    return Candidate(path, *pixels.shape[:2], sha256, origin, likeness_of(pixels))


def read_file(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise Refusal("unreadable", "File must be a regular file. Received: none at its path.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise Refusal(
                "too large", f"File must have at most {MAX_FILE_BYTES} bytes. Received: {size}."
            )
        return path.read_bytes()
    except OSError as error:
        text = f"File must be readable. Received: {error.strerror}."
        raise Refusal("unreadable", text) from error


def decode(data: bytes) -> np.ndarray:
    try:
        return decode_rgb(data, LIMITS)
    except SuperResolutionError as error:
        raise Refusal("unreadable", str(error)) from error


def check_size(height: int, width: int, min_side: int) -> None:
    if min(height, width) < min_side:
        raise Refusal(
            "too small",
            f"Image must be at least {min_side} pixels wide and high. "
            f"Received: {width} x {height} pixels.",
        )


def check_colours(pixels: np.ndarray) -> None:
    """Refuse grey pictures: a network for colour learns nothing about it from them."""
    least, greatest = channel_range(pixels)
    coloured = float((greatest - least > GREY_LEVELS).mean())
    if coloured < COLOURED_SHARE:
        raise Refusal(
            "grey",
            f"Image must have colours: channels more than {GREY_LEVELS} levels apart "
            f"in at least {COLOURED_SHARE:.1%} of its pixels. Received: {coloured:.2%}.",
        )


def channel_range(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest channel of every pixel: (H, W, 3) -> twice (H, W).

    Channel by channel, which is a hundred times faster than `min` and `max` of the axis.
    """
    red, green, blue = np.moveaxis(pixels, -1, 0)
    least = np.minimum(np.minimum(red, green), blue)
    greatest = np.maximum(np.maximum(red, green), blue)
    return least, greatest
