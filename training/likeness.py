"""Whether two files show the same picture: a perceptual hash, and the search for it.

The hash is the 64-bit DCT hash that ImageHash calls `phash` (0.4 of its 64 bits
differ on average), in a few lines of NumPy, since ImageHash brings 150 MB of SciPy and
PyWavelets with it; and the hash of the mirrored picture comes for nothing.

Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions", sec. 3.2.1; https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html
"""

from typing import NamedTuple

import numpy as np

from core.images import resize_bicubic
from training.metrics import LUMA

THUMBNAIL_PX = 32  # side of what is compared
LOW = 8  # frequencies a side that make the hash: 8 x 8 bits
NEAR_BITS = 8
"""Hashes that differ in so many of 64 bits, or fewer, are of the same picture.

Measured on 585 photographs and 119 test pictures (247 456 pairs, mirrored too). Copies
of a photograph (JPEG quality 30, a quarter of the size, 1.5 times the size, 128 px wide,
mirrored) are at most 6 bits away from it, brighter and more contrasty ones at most 8.
All three pairs within 8 bits are true ones: a photograph in other colours, a photograph
cropped differently, and a face that is in Set5 and in Set14. Then comes nothing but
different photographs: 1 pair at 12 bits, 16 at 14, 109 at 16.
"""

DECISIVE_LEVELS = 4.0
"""A coefficient this far from the median gives a bit that a copy keeps.

In levels of an orthonormal DCT; 99 of 100 coefficients of a photograph move by less
than 3.1 when it is saved as JPEG of quality 30.
"""

FEWEST_DECISIVE = 16
"""With fewer such coefficients of 64 a picture is featureless; photographs have 23 or more."""

NEAR_LEVELS = 2.0
"""Featureless pictures are the same if their thumbnails differ by less, on average.

In 8-bit levels; photographs saved as JPEG of quality 30 differ by less than 1.9.
"""


class Likeness(NamedTuple):
    """What is compared of a picture.

    Attributes:
        bits: the hash, and the hash of the mirrored picture, (2,) uint64.
        thumbnail: the whole picture, (32, 32, 3) uint8 in [0, 255].
        is_featureless: True if the hash is mere noise (a clear sky, a wall).
    """

    bits: np.ndarray
    thumbnail: np.ndarray
    is_featureless: bool


def likeness_of(pixels: np.ndarray) -> Likeness:
    """What to compare of a picture, (H, W, 3) uint8 in [0, 255], H, W >= 1."""
    thumbnail = resize_bicubic(pixels, THUMBNAIL_PX, THUMBNAIL_PX)
    low = low_frequencies(thumbnail @ LUMA)
    decisive = np.abs(low - np.median(low)) > DECISIVE_LEVELS
    bits = np.array([hash_bits(low), hash_bits(low * MIRROR)], np.uint64)
    return Likeness(bits, thumbnail, bool(decisive.sum() < FEWEST_DECISIVE))


def dct_matrix(size: int, frequencies: int) -> np.ndarray:
    """First rows of the orthonormal DCT-II, (frequencies, size) float64."""
    places = np.arange(size) + 0.5
    rows = np.cos(np.pi / size * np.arange(frequencies)[:, None] * places)
    rows[0] /= np.sqrt(2)
    return rows * np.sqrt(2 / size)


DCT = dct_matrix(THUMBNAIL_PX, LOW)
MIRROR = (-1) ** np.arange(LOW)  # mirrored left to right, odd waves change their sign


def low_frequencies(luma: np.ndarray) -> np.ndarray:
    """(32, 32) levels -> (8, 8) coefficients, the coarsest."""
    return DCT @ luma @ DCT.T


def hash_bits(low: np.ndarray) -> np.uint64:
    """One bit a coefficient: is it above the median?"""
    return np.packbits(low > np.median(low)).view(np.uint64)[0]


class Gallery:
    """Pictures to look others up in; a look-up takes time linear in their number."""

    def __init__(self, capacity: int) -> None:
        self._names: list[str] = []
        self._hashes = np.zeros(capacity, np.uint64)
        self._featureless: dict[str, np.ndarray] = {}

    def add(self, name: str, likeness: Likeness) -> None:
        if likeness.is_featureless:
            self._featureless[name] = likeness.thumbnail
        else:
            self._hashes[len(self._names)] = likeness.bits[0]
            self._names.append(name)

    def find(self, likeness: Likeness) -> str | None:
        """Name of the first picture that shows the same, upright or mirrored, or None."""
        if likeness.is_featureless:
            same = (n for n, t in self._featureless.items() if look_alike(t, likeness.thumbnail))
            return next(same, None)
        hashes = self._hashes[: len(self._names), None]
        distances = np.bitwise_count(hashes ^ likeness.bits).min(axis=1)
        near = np.flatnonzero(distances <= NEAR_BITS)
        return self._names[near[0]] if near.size else None


def look_alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two thumbnails, (32, 32, 3) uint8, are the same, upright or mirrored."""
    apart = [np.abs(one.astype(np.int16) - t).mean() for t in (other, other[:, ::-1])]
    return bool(min(apart) < NEAR_LEVELS)
