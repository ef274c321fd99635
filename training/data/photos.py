"""A collection of photographs: its tables, the validation split, and the pixels.

A collection is a folder with `manifest.csv`: one row per photograph, with at least the
columns `file` (path inside the folder), `licence` and `sha256`. Tables are CSV in UTF-8 with
a row of column names.
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
from training import CommandFailed
from training.models.networks import SCALE

MANIFEST = "manifest.csv"
LICENCES = "licences.csv"
ORIGIN_TABLES = (MANIFEST, LICENCES)
"""Names of the tables that state origins; in the same folder the later one prevails."""

ORIGIN_COLUMNS = ("file", "licence")
"""Columns that such a table must have; `source` and `author` are optional."""

VALIDATION_SHARE = 20  # one photograph in this many is kept for validation

Row = Mapping[str, str | int]


@dataclass(frozen=True)
class Origin:
    """The licence of a photograph, where it is from, and its author."""

    licence: str
    source: str = ""
    author: str = ""


@dataclass(frozen=True)
class Photo:
    """One row of the manifest."""

    path: Path
    licence: str
    sha256: str

    @property
    def is_validation(self) -> bool:
        """Whether it is kept for validation; its content decides."""
        return int(self.sha256[:8], 16) % VALIDATION_SHARE == 0


class Pair(NamedTuple):
    """HR (4H, 4W, 3) and LR (H, W, 3) of the same picture, both uint8 sRGB."""

    hr: np.ndarray
    lr: np.ndarray


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table; missing cells are empty.

    Raises:
        CommandFailed: if it is not CSV in UTF-8, or lacks one of `columns`.
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
    r"""Write a table, whole or not at all.

    Characters that UTF-8 cannot hold (file names in another encoding) are written as `\udc..`.
    """
    with (
        atomic_write(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_origins(folder: Path) -> dict[Path, Origin]:
    """Return the origin of every file that a table in the folder or below names.

    Paths in a table are relative to its own folder. If two tables name the same file, the
    table nearer to the file prevails. A row without a licence is ignored.

    Raises:
        CommandFailed: if a table cannot be read.
    """
    tables = [table for name in ORIGIN_TABLES for table in folder.rglob(name)]
    origins = {}
    for table in sorted(tables, key=lambda table: len(table.parts)):
        for row in read_table(table, ORIGIN_COLUMNS):
            if row["licence"].strip():
                origins[table.parent / row["file"]] = parse_origin(row)
    return origins


def parse_origin(row: dict[str, str]) -> Origin:
    """Return the origin that a row of a table states."""
    return Origin(row["licence"].strip(), row.get("source", ""), row.get("author", ""))


def read_manifest(folder: Path) -> list[Photo]:
    """Return all photographs of a collection, in the order of the manifest."""
    with (folder / MANIFEST).open(newline="", encoding="utf-8") as file:
        return [
            Photo(folder / row["file"], row["licence"], row["sha256"])
            for row in csv.DictReader(file)
        ]


def manifest_sha256(folder: Path) -> str:
    """Return the sha256 of the manifest, which identifies the collection in a card."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def count_licences(photos: Sequence[Photo]) -> dict[str, int]:
    """Return the number of photographs under each licence, most frequent first."""
    return dict(Counter(photo.licence for photo in photos).most_common())


def split_photos(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Return the photographs to train on, and those to validate on.

    A photograph stays on its side when others are added or removed. Only if chance leaves
    one side of a small collection empty, one photograph is moved there.

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


def load_pairs(photos: Sequence[Photo], sizes: Sequence[float] = (1.0,)) -> list[Pair]:
    """Decode every photograph and downscale it by bicubic interpolation.

    All pairs stay in memory: 3.2 bytes per HR pixel, 0.9 GB for 282 megapixels.

    Args:
        photos: photographs to load.
        sizes: sizes of HR, as shares of the photograph's sides in (0, 1]; each gives a pair.
    """
    pictures = (decode_rgb(photo.path.read_bytes()) for photo in tqdm(photos, unit="photo"))
    return [pair for picture in pictures for pair in make_pairs(picture, sizes)]


def make_pairs(photo: np.ndarray, sizes: Sequence[float]) -> list[Pair]:
    """Return a pair of (H, W, 3) uint8 at each size, a share of its sides."""
    return [make_pair(shrink(photo, size)) for size in sizes]


def shrink(photo: np.ndarray, size: float) -> np.ndarray:
    """Return (H, W, 3) uint8 with its sides multiplied by `size`, rounded."""
    if size == 1:
        return photo
    height, width = (round(size * side) for side in photo.shape[:2])
    return resize_bicubic(photo, height, width)


def make_pair(photo: np.ndarray) -> Pair:
    """Crop (H, W, 3) uint8 to a multiple of the scale, and downscale it."""
    height, width = (side // SCALE * SCALE for side in photo.shape[:2])
    hr = photo[:height, :width]
    return Pair(hr, resize_bicubic(hr, height // SCALE, width // SCALE))
