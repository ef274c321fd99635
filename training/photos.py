"""Photographs to train on: the manifest, the split, and the pixels.

A collection is a folder with `manifest.csv` in it: one line a photograph, with at
least the columns `file` (path inside the folder), `licence` and `sha256`.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from core.images import decode_rgb, resize_bicubic
from training.errors import CommandFailed
from training.networks import SCALE

VALIDATION_SHARE = 20  # one photograph in this many is kept for validation


@dataclass(frozen=True)
class Photo:
    """One line of the manifest."""

    path: Path
    licence: str
    sha256: str

    @property
    def is_validation(self) -> bool:
        """True for the photographs that are never trained on: decided by content."""
        return int(self.sha256[:8], 16) % VALIDATION_SHARE == 0


class Pair(NamedTuple):
    """A photograph and its quarter: HR (4H, 4W, 3) and LR (H, W, 3), both uint8 sRGB."""

    hr: np.ndarray
    lr: np.ndarray


def read_manifest(folder: Path) -> list[Photo]:
    """All photographs of a collection, in the order of the manifest."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [
            Photo(folder / row["file"], row["licence"], row["sha256"])
            for row in csv.DictReader(file)
        ]


def split_photos(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Those to train on, and those to validate with.

    A photograph stays on its side whatever comes and goes beside it. Only where chance
    leaves a side of a small collection empty is one photograph moved there.

    Raises:
        CommandFailed: if there are fewer than two photographs.
    """
    if len(photos) < 2:
        raise CommandFailed(
            "There must be at least two photographs, one to train on and one to validate with. "
            f"Received: {len(photos)}"
        )
    training = [photo for photo in photos if not photo.is_validation]
    validation = [photo for photo in photos if photo.is_validation]
    for one, other in ((training, validation), (validation, training)):
        if not one:
            moved = min(other, key=lambda photo: photo.sha256)
            one.append(moved)
            other.remove(moved)
    return training, validation


def manifest_sha256(folder: Path) -> str:
    """Names the collection: a card quotes it."""
    return hashlib.sha256((folder / "manifest.csv").read_bytes()).hexdigest()


def count_licences(photos: Sequence[Photo]) -> dict[str, int]:
    """Number of photographs under each licence, most frequent first."""
    return dict(Counter(photo.licence for photo in photos).most_common())


def load_pairs(photos: Sequence[Photo], sizes: Sequence[float] = (1.0,)) -> list[Pair]:
    """Decode every photograph and downscale it by bicubic interpolation.

    Everything stays in memory: 3.2 bytes a HR pixel, 0.9 GB for 282 megapixels.

    Args:
        photos: to load.
        sizes: of HR, as shares of the photograph's sides in (0, 1]; each gives a pair.
    """
    pictures = (decode_rgb(photo.path.read_bytes()) for photo in tqdm(photos, unit="photo"))
    return [pair for picture in pictures for pair in make_pairs(picture, sizes)]


def make_pairs(photo: np.ndarray, sizes: Sequence[float]) -> list[Pair]:
    """A pair of (H, W, 3) uint8 at each of the sizes, shares of its sides."""
    return [make_pair(shrink(photo, size)) for size in sizes]


def shrink(photo: np.ndarray, size: float) -> np.ndarray:
    """(H, W, 3) uint8 with sides that are this share of what they were, rounded."""
    if size == 1:
        return photo
    height, width = (round(size * side) for side in photo.shape[:2])
    return resize_bicubic(photo, height, width)


def make_pair(photo: np.ndarray) -> Pair:
    """Crop (H, W, 3) uint8 to a multiple of the scale and downscale it."""
    height, width = (side // SCALE * SCALE for side in photo.shape[:2])
    hr = photo[:height, :width]
    return Pair(hr, resize_bicubic(hr, height // SCALE, width // SCALE))
