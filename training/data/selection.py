"""Decide which photographs to accept: check each file, then reject duplicates.

`check_file` judges a single file. `Selection` rejects a photograph that shows the same
picture as another one, or as a picture of a test set.

Two files show the same picture if their perceptual hashes are close. The hash is the 64-bit
DCT hash that ImageHash calls `phash` (0.4 of its 64 bits differ on average). It is a few
lines of NumPy here, because ImageHash depends on 150 MB of SciPy and PyWavelets, and because
the hash of the mirrored picture comes at no extra cost.

Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions", sec. 3.2.1; https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import SuperResolutionError
from core.images import Limits, decode_rgb, resize_bicubic
from core.images.scaling_attack import is_scaling_attack
from core.picture import Picture
from training import CommandFailed
from training.data.photos import Origin
from training.evaluation.metrics import LUMA

LIMITS = Limits(max_pixels=80_000_000, max_side=30_000)
"""Larger files are not photographs, but attacks or panoramas. Below Pillow's own limit."""

MAX_FILE_BYTES = 256 * 2**20

GREY_LEVELS = 4
"""Channels that differ by at most this are equal: JPEG files of grey pictures have such noise."""

COLOURED_SHARE = 1e-3
"""Least share of pixels with unequal channels; photographs in colour have 0.07 or more."""

THUMBNAIL_PX = 32  # side of the thumbnail that is hashed
LOW = 8  # frequencies a side that make up the hash: 8 x 8 bits

NEAR_BITS = 8
"""Hashes that differ in at most this many of 64 bits are of the same picture.

Measured on 585 photographs and 119 test pictures (247 456 pairs, mirrored too). Copies
of a photograph (JPEG quality 30, a quarter of the size, 1.5 times the size, 128 px wide,
mirrored) differ in at most 6 bits, copies with more brightness or contrast in at most 8.
All three pairs within 8 bits are true ones: a photograph in other colours, a photograph
cropped differently, and a face that is in Set5 and in Set14. Pairs that differ in more bits
are different photographs: 1 pair at 12 bits, 16 at 14, 109 at 16.
"""

DECISIVE_LEVELS = 4.0
"""A coefficient this far from the median gives a bit that a copy keeps.

In levels of an orthonormal DCT; 99 of 100 coefficients of a photograph change by less
than 3.1 when it is saved as JPEG of quality 30.
"""

FEWEST_DECISIVE = 16
"""A picture with fewer decisive coefficients of 64 is featureless; photographs have 23 or more."""

NEAR_LEVELS = 2.0
"""Featureless pictures are the same if their thumbnails differ by less than this on average.

In 8-bit levels; photographs saved as JPEG of quality 30 differ by less than 1.9.
"""


class Rejection(Exception):
    """A file is not accepted.

    Attributes:
        kind: one or two words, for counting.
        reason: what was expected, and what was received.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class PictureHash(NamedTuple):
    """What is compared of a picture.

    Attributes:
        bits: hash of the picture and hash of the mirrored picture, (2,) uint64.
        thumbnail: the whole picture, (32, 32, 3) uint8 in [0, 255].
        is_featureless: True if the hash is only noise (a clear sky, a wall).
    """

    bits: np.ndarray
    thumbnail: np.ndarray
    is_featureless: bool


@dataclass(frozen=True)
class Candidate:
    """A photograph that has passed every check of a single file.

    Attributes:
        path: where it is.
        height: height of the upright picture, px.
        width: width of the upright picture, px.
        sha256: of the file, hexadecimal.
        origin: its licence, source and author.
        hash: its perceptual hash.
    """

    path: Path
    height: int
    width: int
    sha256: str
    origin: Origin
    hash: PictureHash


def check_file(path: Path, origin: Origin | None, min_side: int) -> Candidate:
    """Check the licence, bytes, size and colours of a file.

    Args:
        path: the file.
        origin: its licence, source and author; None if unknown.
        min_side: least width and height, px.

    Raises:
        Rejection: if the file must not be trained on.
    """
    if origin is None:
        raise Rejection(
            "no licence",
            "Licence must be stated by manifest.csv or licences.csv beside the file or above it, "
            "or by --licence. Received: none.",
        )
    data = read_file(path)
    pixels = decode(data)
    check_size(*pixels.shape[:2], min_side)
    check_colours(pixels)
    check_hidden(pixels)
    sha256 = hashlib.sha256(data).hexdigest()
    return Candidate(path, *pixels.shape[:2], sha256, origin, hash_picture(pixels))


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file of at most `MAX_FILE_BYTES`."""
    try:
        if not path.is_file():
            raise Rejection(
                "unreadable", "File must be a regular file. Received: none at its path."
            )
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise Rejection(
                "too large", f"File must have at most {MAX_FILE_BYTES} bytes. Received: {size}."
            )
        return path.read_bytes()
    except OSError as error:
        text = f"File must be readable. Received: {error.strerror}."
        raise Rejection("unreadable", text) from error


def decode(data: bytes) -> np.ndarray:
    """Return the picture in a file, (H, W, 3) uint8."""
    try:
        return decode_rgb(data, LIMITS)
    except SuperResolutionError as error:
        raise Rejection("unreadable", str(error)) from error


def check_size(height: int, width: int, min_side: int) -> None:
    """Raise Rejection if a side is shorter than `min_side`."""
    if min(height, width) < min_side:
        raise Rejection(
            "too small",
            f"Image must be at least {min_side} pixels wide and high. "
            f"Received: {width} x {height} pixels.",
        )


def check_colours(pixels: np.ndarray) -> None:
    """Raise Rejection for a grey picture: it teaches a network nothing about colour."""
    least, greatest = channel_range(pixels)
    coloured = float((greatest - least > GREY_LEVELS).mean())
    if coloured < COLOURED_SHARE:
        raise Rejection(
            "grey",
            f"Image must have colours: channels more than {GREY_LEVELS} levels apart "
            f"in at least {COLOURED_SHARE:.1%} of its pixels. Received: {coloured:.2%}.",
        )


def check_hidden(pixels: np.ndarray) -> None:
    """Raise Rejection for a picture that was prepared to look different when it is reduced."""
    if is_scaling_attack(Picture(pixels)):
        raise Rejection(
            "hides a picture",
            "Image must show the same at every size. "
            "Received: one whose pixels at equal distances belong to another picture.",
        )


def channel_range(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest channel of every pixel: (H, W, 3) -> twice (H, W).

    It compares channel by channel, which is a hundred times faster than `min` and `max`
    along the axis.
    """
    red, green, blue = np.moveaxis(pixels, -1, 0)
    least = np.minimum(np.minimum(red, green), blue)
    greatest = np.maximum(np.maximum(red, green), blue)
    return least, greatest


def hash_picture(pixels: np.ndarray) -> PictureHash:
    """Return the perceptual hash of a picture, (H, W, 3) uint8 in [0, 255], H, W >= 1."""
    thumbnail = resize_bicubic(pixels, THUMBNAIL_PX, THUMBNAIL_PX)
    low = low_frequencies(thumbnail @ LUMA)
    decisive = np.abs(low - np.median(low)) > DECISIVE_LEVELS
    bits = np.array([hash_bits(low), hash_bits(low * MIRROR)], np.uint64)
    return PictureHash(bits, thumbnail, bool(decisive.sum() < FEWEST_DECISIVE))


def dct_matrix(size: int, frequencies: int) -> np.ndarray:
    """Return the first rows of the orthonormal DCT-II, (frequencies, size) float64."""
    positions = np.arange(size) + 0.5
    rows = np.cos(np.pi / size * np.arange(frequencies)[:, None] * positions)
    rows[0] /= np.sqrt(2)
    return rows * np.sqrt(2 / size)


DCT = dct_matrix(THUMBNAIL_PX, LOW)
MIRROR = (-1) ** np.arange(LOW)
"""Factors that mirror a picture left to right: odd frequencies change their sign."""


def low_frequencies(luma: np.ndarray) -> np.ndarray:
    """Return the lowest DCT coefficients: (32, 32) levels -> (8, 8)."""
    return DCT @ luma @ DCT.T


def hash_bits(low: np.ndarray) -> np.uint64:
    """Return one bit per coefficient: whether it is above the median."""
    return np.packbits(low > np.median(low)).view(np.uint64)[0]


class HashIndex:
    """Finds a picture among known ones; a search takes time linear in their number.

    Args:
        capacity: greatest number of pictures.
    """

    def __init__(self, capacity: int) -> None:
        self._names: list[str] = []
        self._hashes = np.zeros(capacity, np.uint64)
        self._featureless: dict[str, np.ndarray] = {}

    def add(self, name: str, picture_hash: PictureHash) -> None:
        """Add a picture."""
        if picture_hash.is_featureless:
            self._featureless[name] = picture_hash.thumbnail
        else:
            self._hashes[len(self._names)] = picture_hash.bits[0]
            self._names.append(name)

    def find(self, picture_hash: PictureHash) -> str | None:
        """Return the name of the first picture that shows the same, also mirrored, or None."""
        if picture_hash.is_featureless:
            thumbnail = picture_hash.thumbnail
            same = (n for n, t in self._featureless.items() if thumbnails_match(t, thumbnail))
            return next(same, None)
        hashes = self._hashes[: len(self._names), None]
        distances = np.bitwise_count(hashes ^ picture_hash.bits).min(axis=1)
        near = np.flatnonzero(distances <= NEAR_BITS)
        return self._names[near[0]] if near.size else None


def thumbnails_match(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two thumbnails, (32, 32, 3) uint8, show the same, also mirrored."""
    apart = [np.abs(one.astype(np.int16) - t).mean() for t in (other, other[:, ::-1])]
    return bool(min(apart) < NEAR_LEVELS)


def read_test_pictures(folder: Path | None) -> HashIndex:
    """Return an index of every `<set>/HR/*.png` in a folder; empty without a folder.

    Raises:
        CommandFailed: if the folder holds none, or one cannot be decoded.
    """
    paths = sorted(folder.glob("*/HR/*.png")) if folder else []
    if folder and not paths:
        raise CommandFailed(
            f"--test-sets must be a folder that holds <set>/HR/*.png. Received: {folder}."
        )
    index = HashIndex(len(paths))
    for path in paths:
        try:
            pixels = decode_rgb(path.read_bytes())
        except (SuperResolutionError, OSError) as error:
            raise CommandFailed(f"{path} must be a picture. {error}") from error
        index.add(path.relative_to(folder).as_posix(), hash_picture(pixels))
    return index


class Selection:
    """Photographs of which no two show the same picture, and none a test picture.

    Args:
        test_pictures: index of the pictures to keep out.
        capacity: greatest number of photographs.
    """

    def __init__(self, test_pictures: HashIndex, capacity: int) -> None:
        self._test_pictures = test_pictures
        self._files: dict[str, str] = {}
        self._photographs = HashIndex(capacity)

    def admit(self, photo: Candidate, name: str) -> None:
        """Add a photograph.

        Raises:
            Rejection: if it is already in the selection or in a test set, in any size or
                quality, also mirrored.
        """
        if match := self._files.get(photo.sha256):
            raise Rejection("duplicate", f"File must be new. Received: the same bytes as {match}.")
        if match := self._test_pictures.find(photo.hash):
            raise Rejection(
                "in a test set", f"Image must be in no test set. Received: one that shows {match}."
            )
        if match := self._photographs.find(photo.hash):
            raise Rejection(
                "near-duplicate", f"Image must be new. Received: one that shows {match}."
            )
        self._files[photo.sha256] = name
        self._photographs.add(name, photo.hash)
