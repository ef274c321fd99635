"""Whether two files show the same picture: a perceptual hash, and the search for it.

The hash is the 64-bit DCT hash that ImageHash calls `phash` (0.4 of its 64 bits
differ on average), in a few lines of NumPy, since ImageHash brings 150 MB of SciPy and
PyWavelets with it; and the hash of the mirrored picture comes for nothing.

Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions", sec. 3.2.1; https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html

What can be said of a photograph in numbers: size, sharpness, colour.

Whether a single file is a photograph to train on.

Whether a photograph is new: not the same as another one, nor as a test picture.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from core.errors import SuperResolutionError
from core.images import Limits, decode_rgb, resize_bicubic
from training.data.photos import Origin, Photo
from training.errors import CommandFailed
from training.evaluation.metrics import LUMA


class PhotoMeasures(NamedTuple):
    """Figures of one photograph; levels are those of 8 bits, [0, 255].

    Attributes:
        height, width: px.
        sharpness: variance of the Laplacian of luma, squared levels.
        red, green, blue: means of the channels, levels.
        luma: mean, levels.
        saturation: mean of (greatest - least channel) / greatest channel, in [0, 1].
    """

    height: int
    width: int
    sharpness: float
    red: float
    green: float
    blue: float
    luma: float
    saturation: float


def measure_all(photos: Sequence[Photo]) -> list[PhotoMeasures]:
    """Measures of every photograph, in the same order."""
    with ThreadPool() as pool:
        bar = tqdm(pool.imap(measure_file, photos), total=len(photos), unit="photo", disable=None)
        return list(bar)


def measure_file(photo: Photo) -> PhotoMeasures:
    return measure(decode_rgb(photo.path.read_bytes()))


def measure(pixels: np.ndarray) -> PhotoMeasures:
    """Measures of a picture, (H, W, 3) uint8 in [0, 255]; H, W >= 3."""
    luma = pixels.astype(np.float32) @ LUMA.astype(np.float32)
    red, green, blue = (float(channel.mean()) for channel in np.moveaxis(pixels, -1, 0))
    return PhotoMeasures(
        *pixels.shape[:2],
        float(laplacian(luma).var()),
        red,
        green,
        blue,
        float(luma.mean()),
        saturation(pixels),
    )


def laplacian(luma: np.ndarray) -> np.ndarray:
    """Four neighbours less four times the pixel: (H, W) -> (H - 2, W - 2) levels.

    Its variance tells sharp pictures from blurred ones, noisy ones from both.

    Source: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548, sec. 3.
    """
    neighbours = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return neighbours - 4 * luma[1:-1, 1:-1]


def saturation(pixels: np.ndarray) -> float:
    """Mean saturation of HSV, in [0, 1]; black has none."""
    least, greatest = channel_range(pixels)
    return float(((greatest - least) / np.maximum(greatest, 1).astype(np.float32)).mean())


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


class PictureHash(NamedTuple):
    """What is compared of a picture.

    Attributes:
        bits: the hash, and the hash of the mirrored picture, (2,) uint64.
        thumbnail: the whole picture, (32, 32, 3) uint8 in [0, 255].
        is_featureless: True if the hash is mere noise (a clear sky, a wall).
    """

    bits: np.ndarray
    thumbnail: np.ndarray
    is_featureless: bool


def likeness_of(pixels: np.ndarray) -> PictureHash:
    """What to compare of a picture, (H, W, 3) uint8 in [0, 255], H, W >= 1."""
    thumbnail = resize_bicubic(pixels, THUMBNAIL_PX, THUMBNAIL_PX)
    low = low_frequencies(thumbnail @ LUMA)
    decisive = np.abs(low - np.median(low)) > DECISIVE_LEVELS
    bits = np.array([hash_bits(low), hash_bits(low * MIRROR)], np.uint64)
    return PictureHash(bits, thumbnail, bool(decisive.sum() < FEWEST_DECISIVE))


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


class HashIndex:
    """Pictures to look others up in; a look-up takes time linear in their number."""

    def __init__(self, capacity: int) -> None:
        self._names: list[str] = []
        self._hashes = np.zeros(capacity, np.uint64)
        self._featureless: dict[str, np.ndarray] = {}

    def add(self, name: str, likeness: PictureHash) -> None:
        if likeness.is_featureless:
            self._featureless[name] = likeness.thumbnail
        else:
            self._hashes[len(self._names)] = likeness.bits[0]
            self._names.append(name)

    def find(self, likeness: PictureHash) -> str | None:
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
    likeness: PictureHash


class Rejection(Exception):
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
        raise Rejection(
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
    try:
        return decode_rgb(data, LIMITS)
    except SuperResolutionError as error:
        raise Rejection("unreadable", str(error)) from error


def check_size(height: int, width: int, min_side: int) -> None:
    if min(height, width) < min_side:
        raise Rejection(
            "too small",
            f"Image must be at least {min_side} pixels wide and high. "
            f"Received: {width} x {height} pixels.",
        )


def check_colours(pixels: np.ndarray) -> None:
    """Refuse grey pictures: a network for colour learns nothing about it from them."""
    least, greatest = channel_range(pixels)
    coloured = float((greatest - least > GREY_LEVELS).mean())
    if coloured < COLOURED_SHARE:
        raise Rejection(
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


def read_test_pictures(folder: Path | None) -> HashIndex:
    """Every `<set>/HR/*.png` in a folder; nothing without a folder.

    Raises:
        CommandFailed: if the folder holds none, or one cannot be decoded.
    """
    paths = sorted(folder.glob("*/HR/*.png")) if folder else []
    if folder and not paths:
        raise CommandFailed(
            f"--test-sets must be a folder that holds <set>/HR/*.png. Received: {folder}."
        )
    gallery = HashIndex(len(paths))
    for path in paths:
        try:
            pixels = decode_rgb(path.read_bytes())
        except (SuperResolutionError, OSError) as error:
            raise CommandFailed(f"{path} must be a picture. {error}") from error
        gallery.add(path.relative_to(folder).as_posix(), likeness_of(pixels))
    return gallery


class Selection:
    """Photographs of which no two show the same, and none a test picture."""

    def __init__(self, test_pictures: HashIndex, capacity: int) -> None:
        self._test_pictures = test_pictures
        self._files: dict[str, str] = {}
        self._photographs = HashIndex(capacity)

    def admit(self, photo: Candidate, name: str) -> None:
        """Add a photograph.

        Raises:
            Refusal: if it is in already, in whatever size, quality or direction.
        """
        if twin := self._files.get(photo.sha256):
            raise Rejection("duplicate", f"File must be new. Received: the same bytes as {twin}.")
        if twin := self._test_pictures.find(photo.likeness):
            raise Rejection(
                "in a test set", f"Image must be in no test set. Received: one that shows {twin}."
            )
        if twin := self._photographs.find(photo.likeness):
            raise Rejection(
                "near-duplicate", f"Image must be new. Received: one that shows {twin}."
            )
        self._files[photo.sha256] = name
        self._photographs.add(name, photo.likeness)
