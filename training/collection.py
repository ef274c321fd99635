"""The folder that is trained on: photographs under names of their own, and the manifest."""

import csv
import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.checks import Candidate
from training.errors import CommandFailed
from training.photos import Photo, split_photos
from training.tables import Row, write_table

MANIFEST = "manifest.csv"
COLUMNS = ("file", "width", "height", "licence", "source", "author", "sha256", "split")
STEM_CHARACTERS = 40  # of the original name; the rest is cut


def check_folders(source: Path, target: Path) -> None:
    """Make the target, if it is one that may be written.

    Raises:
        CommandFailed: if the source is no folder, or the target would spoil something.
    """
    if not source.is_dir():
        raise CommandFailed(f"SOURCE must be a folder. Received: {source}.")
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise CommandFailed(f"TARGET must lie outside SOURCE. Received: {target}, in {source}.")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"TARGET must be a folder. Received: {error}.") from error
    check_manifest(target / MANIFEST)


def check_manifest(path: Path) -> None:
    """Refuse to replace a manifest that was not written here."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        columns = next(csv.reader(file), [])
    if tuple(columns) != COLUMNS:
        raise CommandFailed(
            "TARGET must be new, or a collection that was prepared before. "
            f"Received: {path}, with the columns {', '.join(columns)}."
        )


def file_name(photo: Candidate) -> str:
    """A name that is readable anywhere, and that no other photograph has.

    The original name in ASCII, for a person, then the beginning of the sha256.
    """
    ascii_only = unicodedata.normalize("NFKD", photo.path.stem).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9]+", "-", ascii_only)[:STEM_CHARACTERS].strip("-")
    return f"{stem}-{photo.sha256[:16]}{photo.path.suffix.lower()}".lstrip("-")


def store(photo: Candidate, target: Path) -> Row:
    """Put a photograph into the collection, and describe it.

    Raises:
        OSError: if it cannot be read any more, or not be written.
    """
    name = file_name(photo)
    link_or_copy(photo.path.resolve(), target / name)
    return {
        "file": name,
        "width": photo.width,
        "height": photo.height,
        "licence": photo.origin.licence,
        "source": photo.origin.source,
        "author": photo.origin.author,
        "sha256": photo.sha256,
    }


def split(rows: Sequence[Row]) -> list[Row]:
    """Say of every row of a manifest what its photograph will be used for."""
    photos = [Photo(Path(row["file"]), row["licence"], row["sha256"]) for row in rows]
    validation = split_photos(photos)[1] if len(photos) > 1 else []
    kept = {photo.sha256 for photo in validation}
    return [row | {"split": "validation" if row["sha256"] in kept else "training"} for row in rows]


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under another name, without a second copy where that can be had."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        try:
            partial.hardlink_to(source)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_manifest(target: Path, rows: Iterable[Row]) -> None:
    """Write the manifest, in the order of the names."""
    write_table(target / MANIFEST, COLUMNS, sorted(rows, key=lambda row: row["file"]))
