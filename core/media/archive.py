"""ZIP archives of strangers: what is in them, read without trusting a word of it.

Nothing is unpacked to where its name says. An archive with a name that leads elsewhere is
refused as a whole: it was not made by mistake.
"""

import io
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from core.errors import UnreadableArchive, UnreadableImage
from core.sandbox.pool import COPIED_BYTES

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""That an archive begins with; the second is that of an empty one."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others are rare, and one of them may ask for gigabytes to unpack anything."""

MOST_EXPANSION = 100
"""Times the archive's size that all files in it may have. Deflate can reach 1032."""

ALWAYS_FINE_BYTES = 64_000_000
"""Of all files, however well they were compressed."""

DIRECTORY_BYTES = 1000
"""Of the table of contents, for each file that there may be: names may have 900 letters."""

LEAST_DIRECTORY_BYTES = 2**16
"""That the table may have in any case: the library reads as much to find it."""

FAILURES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the library raises at damaged archives."""

LEFT_BEHIND = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
"""What systems put into folders and nobody means to send."""

LEADS_ELSEWHERE = re.compile(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)|[\x00-\x1f\x7f]")

LONGEST_QUOTE = 60  # characters of a name in a message

ENCRYPTED = 0x1  # flag of an entry


class ArchiveLimits(NamedTuple):
    """What an archive may hold.

    Attributes:
        files: how many.
        file_bytes: of each of them, unpacked.
    """

    files: int
    file_bytes: int


class ArchiveEntry(NamedTuple):
    """A file in an archive.

    Attributes:
        name: with its folders, separated by `/`; it leads nowhere else.
        info: of the standard library.
    """

    name: str
    info: zipfile.ZipInfo


class _Contents(io.BufferedReader):
    """A file of which nothing long is read at once: the table of contents would be."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise UnreadableArchive(
                f"Archive must have a table of contents of at most {self._most} bytes. "
                f"Received: {size} bytes."
            )
        return super().read(size)


def is_archive(path: Path) -> bool:
    """Whether a file begins as a ZIP archive does."""
    with path.open("rb") as file:
        return file.read(4) in SIGNATURES


@contextmanager
def open_archive(path: Path, limits: ArchiveLimits) -> Iterator[zipfile.ZipFile]:
    """The archive in a file, of which the table of contents is read.

    Raises:
        UnreadableArchive: if that is damaged, or too long.
    """
    # Two table entries for each file: folders have theirs.
    most = max(2 * DIRECTORY_BYTES * limits.files, LEAST_DIRECTORY_BYTES)
    with _Contents(path, most) as file:
        try:
            archive = zipfile.ZipFile(file)
        except FAILURES as error:
            raise UnreadableArchive(
                f"Archive must be a whole, undamaged ZIP file. Received: {error}."
            ) from error
        with archive:
            yield archive


def list_entries(archive: zipfile.ZipFile, limits: ArchiveLimits) -> list[ArchiveEntry]:
    """The files that were meant to be sent, in the archive's order.

    Raises:
        UnreadableArchive: if there are too many, or too much, or some are encrypted, of
            the same name or place, or named so that they lead elsewhere.
    """
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    entries = [ArchiveEntry(_safe_name(info), info) for info in infos]
    _check_places(infos)
    _check_sizes(infos, Path(str(archive.filename)).stat().st_size)
    meant = [entry for entry in entries if not LEFT_BEHIND.search(entry.name)]
    _check_names(meant)
    for entry in meant:
        _check_kind(entry)
    if len(meant) > limits.files:
        raise UnreadableArchive(
            f"Archive must hold at most {limits.files} files. Received: {len(meant)}."
        )
    return meant


def _safe_name(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename.replace("\\", "/")
    inner = "/".join(part for part in name.split("/") if part not in ("", "."))
    if LEADS_ELSEWHERE.search(name) or not inner:
        raise UnreadableArchive(
            "Archive must hold files whose names are paths within it. "
            f"Received: {_quote(info.orig_filename)}."
        )
    return inner


def _check_names(entries: Sequence[ArchiveEntry]) -> None:
    ((name, times),) = Counter(entry.name for entry in entries).most_common(1) or (("", 0),)
    if times > 1:
        raise UnreadableArchive(
            f"Archive must hold files of different names. Received: {_quote(name)}, {times} times."
        )


def _check_kind(entry: ArchiveEntry) -> None:
    if entry.info.flag_bits & ENCRYPTED:
        raise UnreadableArchive(
            f"Archive must not be encrypted. Received: {_quote(entry.name)}, which is."
        )
    if entry.info.compress_type not in METHODS:
        raise UnreadableArchive(
            "Archive must hold files that are stored or deflated. "
            f"Received: {_quote(entry.name)}, of method {entry.info.compress_type}."
        )


def _check_places(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Files that share their bytes are a bomb: a few of them are unpacked to very many."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise UnreadableArchive(
                "Archive must hold files that do not overlap. "
                f"Received: {_quote(info.orig_filename)} within another one."
            )
        end = info.header_offset + info.compress_size


def _check_sizes(infos: Sequence[zipfile.ZipInfo], archive_bytes: int) -> None:
    total = sum(info.file_size for info in infos)
    most = max(MOST_EXPANSION * archive_bytes, ALWAYS_FINE_BYTES)
    if total > most:
        raise UnreadableArchive(
            f"Archive must hold at most {most} bytes, unpacked. Received: {total} bytes."
        )


def is_plain_file(entry: ArchiveEntry) -> bool:
    """Whether it is no link, device, or anything else that file systems have."""
    mode = entry.info.external_attr >> 16
    return stat.S_IFMT(mode) in (0, stat.S_IFREG)


@contextmanager
def unpacked(
    archive: zipfile.ZipFile, entry: ArchiveEntry, limits: ArchiveLimits
) -> Iterator[IO[bytes]]:
    """One file, in a temporary one.

    Raises:
        UnreadableImage: if it is damaged, too large, or no plain file.
    """
    size = entry.info.file_size
    if size > limits.file_bytes or not is_plain_file(entry):
        received = f"{size} bytes" if is_plain_file(entry) else "a link"
        raise UnreadableImage(
            f"Image must be a file of at most {limits.file_bytes} bytes. Received: {received}."
        )
    with tempfile.SpooledTemporaryFile(max_size=COPIED_BYTES) as file:
        try:
            with archive.open(entry.info) as packed:
                shutil.copyfileobj(packed, file)
        except FAILURES as error:
            raise UnreadableImage(
                f"Image must be a whole, undamaged file. Received: {error}."
            ) from error
        file.seek(0)
        yield file


def _quote(name: str) -> str:
    return repr(name[:LONGEST_QUOTE])
