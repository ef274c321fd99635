"""Photographs to train on: the manifest, the split, and the pixels.

A collection is a folder with `manifest.csv` in it: one line a photograph, with at
least the columns `file` (path inside the folder), `licence` and `sha256`.

CSV tables: UTF-8, a line of column names, replaced whole or not at all.

Whose a photograph is: its licence, and the tables that state it.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from core.files import atomic_write
from core.images import decode_rgb, resize_bicubic
from training.errors import CommandFailed
from training.models.networks import SCALE

Row = Mapping[str, str | int]


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table; a cell that is not there is empty.

    Raises:
        CommandFailed: if it is no CSV in UTF-8, or lacks one of `columns`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            present = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandFailed(f"{path} must be a CSV table in UTF-8. Received: {error}.") from error
    if not set(columns) <= set(present):
        raise CommandFailed(
            f"{path} must have the columns {', '.join(columns)}. "
            f"Received: {', '.join(present) or 'no columns'}."
        )
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table; interrupted, it leaves what was there before.

    What UTF-8 cannot hold (names of files in another encoding) is written as `\\udc..`.
    """
    with (
        atomic_write(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


TABLES = ("manifest.csv", "licences.csv")
"""Names of tables that are read; in the same folder the later one prevails."""

COLUMNS = ("file", "licence")
"""What such a table must have; `source` and `author` are read if they are there."""


@dataclass(frozen=True)
class Origin:
    """Under which licence a photograph is had, from where, by whom."""

    licence: str
    source: str = ""
    author: str = ""


def read_origins(folder: Path) -> dict[Path, Origin]:
    """Origin of every file that a table in the folder, or deeper in it, names.

    Paths in a table start at its own folder. Where two tables name the same file, the
    one that is nearer to it prevails. A row without a licence says nothing.

    Raises:
        CommandFailed: if a table cannot be read.
    """
    tables = [table for name in TABLES for table in folder.rglob(name)]
    origins = {}
    for table in sorted(tables, key=lambda table: len(table.parts)):
        for row in read_table(table, COLUMNS):
            if row["licence"].strip():
                origins[table.parent / row["file"]] = origin_of(row)
    return origins


def origin_of(row: dict[str, str]) -> Origin:
    return Origin(row["licence"].strip(), row.get("source", ""), row.get("author", ""))


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
