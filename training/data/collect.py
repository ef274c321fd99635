"""A folder of photographs becomes a collection to train on, whole or not at all.

A collection is what `training.data.photos` reads: photographs, and `manifest.csv` beside
them. `refused.csv` says of every other file why it was not taken.

The folder that is trained on: photographs under names of their own, and the manifest.
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

from core.files import atomic_write
from core.images import SUFFIXES
from training.data.photos import Origin, Photo, Row, read_origins, split_photos, write_table
from training.data.selection import (
    Candidate,
    HashIndex,
    Rejection,
    Selection,
    check_file,
    read_test_pictures,
)
from training.errors import CommandFailed

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
    with atomic_write(target) as partial:
        try:
            partial.hardlink_to(source)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, partial)


def write_manifest(target: Path, rows: Iterable[Row]) -> None:
    """Write the manifest, in the order of the names."""
    write_table(target / MANIFEST, COLUMNS, sorted(rows, key=lambda row: row["file"]))


REFUSED = "refused.csv"

Refusals = dict[Path, Rejection]


@dataclass(frozen=True)
class PhotoRequirements:
    """What is asked of a photograph.

    Attributes:
        licence: of all files that no table names; None if every file must be named.
        test_sets: folder with `<set>/HR/*.png`, which may not be trained on, or None.
        min_side: least width and height, px.
        workers: files checked at once; None for one a core.
    """

    licence: str | None = None
    test_sets: Path | None = None
    min_side: int = 192  # a patch of 48 LR px
    workers: int | None = None


def prepare(source: Path, target: Path, checks: PhotoRequirements) -> str:
    """Put the photographs that are fit to train on into a collection.

    The result depends on the files alone, not on the workers or on earlier runs.

    Args:
        source: folder of photographs, searched throughout; links to folders are not followed.
        target: folder to write; made if it is not there.
        checks: what is asked of a photograph.

    Returns:
        How many were accepted, and how many refused for what, as lines of text.

    Raises:
        CommandFailed: if the folders cannot be used, or no file is accepted.
    """
    check_folders(source, target)
    paths = list_photographs(source)
    test_pictures = read_test_pictures(checks.test_sets)
    candidates, refusals = check_files(paths, find_origins(source, paths, checks.licence), checks)
    photos, repeated = select(source, candidates, test_pictures)
    rows, vanished = store_all(photos, target)
    refusals |= repeated | vanished
    write_refusals(source, target, refusals)
    if not rows:
        raise CommandFailed(
            "SOURCE must hold a photograph that passes every check. "
            f"Received: {len(paths)} that do not, see {target / REFUSED}."
        )
    rows = split(rows)
    write_manifest(target, rows)
    return summarise(rows, refusals)


def list_photographs(source: Path) -> list[Path]:
    """Every file of a folder that has the suffix of a picture, in order of its path.

    Raises:
        CommandFailed: if there is none, or a folder cannot be searched.
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
    """Origin of every file: from a table, else from the licence given for the others."""
    stated = read_origins(source)
    others = Origin(licence.strip()) if licence and licence.strip() else None
    return {path: stated.get(path, others) for path in paths}


def check_files(
    paths: Sequence[Path], origins: dict[Path, Origin | None], checks: PhotoRequirements
) -> tuple[list[Candidate], Refusals]:
    """Judge all files, several at once.

    Threads, because decoding, resizing and hashing release the interpreter; nothing has
    to be copied between processes, and none is forked under a running library.
    """

    def check(path: Path) -> Candidate | Rejection:
        try:
            return check_file(path, origins[path], checks.min_side)
        except Rejection as refusal:
            return Rejection(refusal.kind, refusal.reason)  # its traceback would hold the pixels

    with ThreadPool(checks.workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about metadata; not of what is judged
        bar = tqdm(pool.imap(check, paths), total=len(paths), unit="photo", disable=None)
        verdicts = list(bar)
    refusals = {p: v for p, v in zip(paths, verdicts, strict=True) if isinstance(v, Rejection)}
    return [verdict for verdict in verdicts if isinstance(verdict, Candidate)], refusals


def select(
    source: Path, candidates: Sequence[Candidate], test_pictures: HashIndex
) -> tuple[list[Candidate], Refusals]:
    """Photographs that are new; of several that show the same, the one with most pixels."""
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
    """Put photographs into the collection, except those that have vanished meanwhile."""
    rows, refusals = [], {}
    for photo in tqdm(photos, unit="photo", disable=None):
        try:
            rows.append(store(photo, target))
        except FileNotFoundError as error:
            text = f"File must stay until it is stored. Received: {error.strerror}."
            refusals[photo.path] = Rejection("unreadable", text)
    return rows, refusals


def write_refusals(source: Path, target: Path, refusals: Refusals) -> None:
    rows = (
        {"file": path.relative_to(source).as_posix(), "reason": refusals[path].reason}
        for path in sorted(refusals)
    )
    write_table(target / REFUSED, ("file", "reason"), rows)


def summarise(rows: Sequence[Row], refusals: Refusals) -> str:
    splits = Counter(row["split"] for row in rows)
    kinds = Counter(refusal.kind for refusal in refusals.values())
    lines = [f"{len(rows)} accepted"]
    lines += [f"  {splits[split]} {split}" for split in ("training", "validation")]
    lines += [f"{len(refusals)} refused"]
    lines += [f"  {count} {kind}" for kind, count in sorted(kinds.items())]
    return "\n".join(lines) + "\n"
