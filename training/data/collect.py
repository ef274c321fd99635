"""Prepare a collection to train on: check photographs, select them, store them.

A collection is what `training.data.photos` reads: photographs under unique names, with
`manifest.csv` beside them. `refused.csv` gives the reason for every file that was not
accepted. A run that is stopped leaves the manifest that was there before.
"""

import csv
import os
import re
import shutil
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tqdm import tqdm

from core.images import SUFFIXES
from training import CommandFailed
from training.data.photos import (
    MANIFEST,
    Origin,
    Photo,
    Row,
    read_origins,
    split_photos,
    write_table,
)
from training.data.selection import (
    Candidate,
    HashIndex,
    Rejection,
    Selection,
    check_file,
    read_test_pictures,
)

REFUSED = "refused.csv"
COLUMNS = ("file", "width", "height", "licence", "source", "author", "sha256", "split")
STEM_CHARACTERS = 40  # length to which the original name is cut

Refusals = dict[Path, Rejection]


@dataclass(frozen=True)
class PhotoRequirements:
    """What a photograph must fulfil, and how many are checked at the same time.

    Attributes:
        licence: licence of all files that no table names; None if every file must be named.
        test_sets: folder with `<set>/HR/*.png`, which must not be trained on, or None.
        min_side: least width and height, px.
        workers: files checked at the same time; None for one per core.
    """

    licence: str | None = None
    test_sets: Path | None = None
    min_side: int = 192  # a patch of 48 LR px
    workers: int | None = None


def prepare(source: Path, target: Path, requirements: PhotoRequirements) -> str:
    """Store the photographs that fulfil the requirements in a collection.

    The result depends on the files alone, not on the workers or on earlier runs.

    Args:
        source: folder of photographs with subfolders; links to folders are not followed.
        target: folder to write; it is created if it does not exist.
        requirements: what a photograph must fulfil.

    Returns:
        Numbers of accepted and refused files, as lines of text.

    Raises:
        CommandFailed: if the folders cannot be used, or no file is accepted.
    """
    check_folders(source, target)
    paths = list_photographs(source)
    test_pictures = read_test_pictures(requirements.test_sets)
    origins = find_origins(source, paths, requirements.licence)
    candidates, refusals = check_files(paths, origins, requirements)
    photos, repeated = select(source, candidates, test_pictures)
    rows, vanished = store_all(photos, target)
    refusals |= repeated | vanished
    write_refusals(source, target, refusals)
    if not rows:
        raise CommandFailed(
            "SOURCE must hold a photograph that passes every check. "
            f"Received: {len(paths)} that do not, see {target / REFUSED}."
        )
    rows = assign_splits(rows)
    write_manifest(target, rows)
    return summarise(rows, refusals)


def check_folders(source: Path, target: Path) -> None:
    """Check both folders, and create the target.

    Raises:
        CommandFailed: if the source is not a folder, or the target must not be overwritten.
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
    """Raise CommandFailed if there is a manifest that `prepare` did not write."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        columns = next(csv.reader(file), [])
    if tuple(columns) != COLUMNS:
        raise CommandFailed(
            "TARGET must be new, or a collection that was prepared before. "
            f"Received: {path}, with the columns {', '.join(columns)}."
        )


def list_photographs(source: Path) -> list[Path]:
    """Return every file of a folder that has the suffix of a picture, sorted by path.

    Raises:
        CommandFailed: if there is none, or a subfolder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise CommandFailed(f"SOURCE must be readable throughout. Received: {error}.") from error

    files = (Path(top, name) for top, _, names in os.walk(source, onerror=fail) for name in names)
    paths = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise CommandFailed(
            f"SOURCE must hold pictures ({', '.join(SUFFIXES)}). Received: {source}, without any."
        )
    return paths


def find_origins(
    source: Path, paths: Sequence[Path], licence: str | None
) -> dict[Path, Origin | None]:
    """Return the origin of every file: from a table, else from the given licence, else None."""
    stated = read_origins(source)
    others = Origin(licence.strip()) if licence and licence.strip() else None
    return {path: stated.get(path, others) for path in paths}


def check_files(
    paths: Sequence[Path], origins: dict[Path, Origin | None], requirements: PhotoRequirements
) -> tuple[list[Candidate], Refusals]:
    """Check all files, several at the same time.

    Threads suffice, because decoding, resizing and hashing release the interpreter. Nothing
    has to be copied between processes, and no process is forked under a running library.
    """

    def check(path: Path) -> Candidate | Rejection:
        try:
            return check_file(path, origins[path], requirements.min_side)
        except Rejection as refusal:
            return Rejection(refusal.kind, refusal.reason)  # its traceback would hold the pixels

    with ThreadPool(requirements.workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of metadata, which does not matter here
        bar = tqdm(pool.imap(check, paths), total=len(paths), unit="photo", disable=None)
        verdicts = list(bar)
    refusals = {p: v for p, v in zip(paths, verdicts, strict=True) if isinstance(v, Rejection)}
    return [verdict for verdict in verdicts if isinstance(verdict, Candidate)], refusals


def select(
    source: Path, candidates: Sequence[Candidate], test_pictures: HashIndex
) -> tuple[list[Candidate], Refusals]:
    """Reject duplicates and test pictures; of duplicates, keep the one with most pixels."""
    selection = Selection(test_pictures, len(candidates))
    chosen, refusals = [], {}
    for photo in sorted(candidates, key=lambda photo: (-photo.height * photo.width, photo.path)):
        try:
            selection.admit(photo, photo.path.relative_to(source).as_posix())
            chosen.append(photo)
        except Rejection as refusal:
            refusals[photo.path] = refusal
    return chosen, refusals


def store_all(photos: Sequence[Candidate], target: Path) -> tuple[list[Row], Refusals]:
    """Store photographs in the collection, except those that were deleted meanwhile."""
    rows, refusals = [], {}
    for photo in tqdm(photos, unit="photo", disable=None):
        try:
            rows.append(store(photo, target))
        except FileNotFoundError as error:
            text = f"File must stay until it is stored. Received: {error.strerror}."
            refusals[photo.path] = Rejection("unreadable", text)
    return rows, refusals


def store(photo: Candidate, target: Path) -> Row:
    """Store a photograph in the collection, and return its row without the split.

    Raises:
        OSError: if it can no longer be read, or cannot be written.
    """
    name = make_file_name(photo)
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


def make_file_name(photo: Candidate) -> str:
    """Return a unique name: the original name in ASCII, then the start of the sha256."""
    ascii_only = unicodedata.normalize("NFKD", photo.path.stem).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9]+", "-", ascii_only)[:STEM_CHARACTERS].strip("-")
    return f"{stem}-{photo.sha256[:16]}{photo.path.suffix.lower()}".lstrip("-")


def link_or_copy(source: Path, target: Path) -> None:
    """Create a hard link to a file, or a copy where hard links are not possible."""
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


def assign_splits(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a manifest with their split, `training` or `validation`."""
    photos = [Photo(Path(row["file"]), row["licence"], row["sha256"]) for row in rows]
    validation = split_photos(photos)[1] if len(photos) > 1 else []
    kept = {photo.sha256 for photo in validation}
    return [row | {"split": "validation" if row["sha256"] in kept else "training"} for row in rows]


def write_manifest(target: Path, rows: Iterable[Row]) -> None:
    """Write the manifest, sorted by file name."""
    write_table(target / MANIFEST, COLUMNS, sorted(rows, key=lambda row: row["file"]))


def write_refusals(source: Path, target: Path, refusals: Refusals) -> None:
    """Write `refused.csv`, sorted by path."""
    rows = (
        {"file": path.relative_to(source).as_posix(), "reason": refusals[path].reason}
        for path in sorted(refusals)
    )
    write_table(target / REFUSED, ("file", "reason"), rows)


def summarise(rows: Sequence[Row], refusals: Refusals) -> str:
    """Return the numbers of accepted files per split, and of refused files per kind."""
    splits = Counter(row["split"] for row in rows)
    kinds = Counter(refusal.kind for refusal in refusals.values())
    lines = [f"{len(rows)} accepted"]
    lines += [f"  {splits[split]} {split}" for split in ("training", "validation")]
    lines += [f"{len(refusals)} refused"]
    lines += [f"  {count} {kind}" for kind, count in sorted(kinds.items())]
    return "\n".join(lines) + "\n"
