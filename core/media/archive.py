"""Read ZIP archives from untrusted sources.

No file is unpacked to the path that its name gives. An archive with a name that leads outside of
it is refused as a whole: such a name is no accident. All sizes are checked before anything is
unpacked.
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
"""First bytes of an archive; the second ones are those of an empty archive."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Allowed compression methods. Others are rare, and one of them can need gigabytes of memory."""

ENCRYPTED = 0x1
"""Flag of an encrypted entry."""

MAX_EXPANSION = 100
"""Factor between the archive's size and the unpacked size of all files at most. Deflate can reach
1032."""

UNCHECKED_BYTES = 64_000_000
"""Unpacked size of all files up to which their expansion does not matter."""

DIRECTORY_BYTES = 1000
"""Bytes of the table of contents for each entry: names of 900 characters fit."""

MIN_DIRECTORY_BYTES = 2**16
"""Bytes that the table of contents may have in any case: `zipfile` reads as much to find it."""

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""Exceptions that `zipfile` raises at damaged archives."""

SYSTEM_FILES = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
"""Names of files that operating systems put into folders and that nobody means to send."""

UNSAFE_NAMES = re.compile(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)|[\x00-\x1f\x7f]")
"""Names that lead outside of the archive, or that have control characters."""

LONGEST_NAME = 60
"""Number of characters of a name that a message repeats."""


class ArchiveLimits(NamedTuple):
    """Limits on the content of an archive.

    Attributes:
        files: number of files.
        file_bytes: unpacked size of one file.
    """

    files: int
    file_bytes: int


class ArchiveEntry(NamedTuple):
    """A file in an archive.

    Attributes:
        name: name with its folders, separated by `/`; a path within the archive.
        info: entry of `zipfile`.
    """

    name: str
    info: zipfile.ZipInfo


class _LimitedReader(io.BufferedReader):
    """A file that refuses long reads. `zipfile` reads the table of contents in one piece."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__(io.FileIO(path))
        self._max_bytes = max_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._max_bytes:
            raise UnreadableArchive(
                f"Archive must have a table of contents of at most {self._max_bytes} bytes. "
                f"Received: {size} bytes."
            )
        return super().read(size)


def is_archive(path: Path) -> bool:
    """Return whether a file begins like a ZIP archive."""
    with path.open("rb") as file:
        return file.read(4) in SIGNATURES


@contextmanager
def open_archive(path: Path, limits: ArchiveLimits) -> Iterator[zipfile.ZipFile]:
    """Open an archive and read its table of contents.

    Raises:
        UnreadableArchive: if the table of contents is damaged or too long.
    """
    # Two entries are allowed for each file, since folders have entries, too.
    max_bytes = max(2 * DIRECTORY_BYTES * limits.files, MIN_DIRECTORY_BYTES)
    with _LimitedReader(path, max_bytes) as file:
        try:
            archive = zipfile.ZipFile(file)
        except ZIP_ERRORS as error:
            raise UnreadableArchive(
                f"Archive must be a whole, undamaged ZIP file. Received: {error}."
            ) from error
        with archive:
            yield archive


def list_entries(archive: zipfile.ZipFile, limits: ArchiveLimits) -> list[ArchiveEntry]:
    """Return the files of an archive in its order, without those of operating systems.

    Raises:
        UnreadableArchive: if there are too many files, or too many bytes; or if files are
            encrypted, overlap, share a name, or have a name that leads outside.
    """
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    entries = [ArchiveEntry(_safe_name(info), info) for info in infos]
    _check_overlaps(infos)
    _check_sizes(infos, Path(str(archive.filename)).stat().st_size)
    wanted = [entry for entry in entries if not SYSTEM_FILES.search(entry.name)]
    _check_names(wanted)
    for entry in wanted:
        _check_encoding(entry)
    if len(wanted) > limits.files:
        raise UnreadableArchive(
            f"Archive must hold at most {limits.files} files. Received: {len(wanted)}."
        )
    return wanted


def _safe_name(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename.replace("\\", "/")
    inner = "/".join(part for part in name.split("/") if part not in ("", "."))
    if UNSAFE_NAMES.search(name) or not inner:
        raise UnreadableArchive(
            "Archive must hold files whose names are paths within it. "
            f"Received: {_quote(info.orig_filename)}."
        )
    return inner


def _check_names(entries: Sequence[ArchiveEntry]) -> None:
    for name, times in Counter(entry.name for entry in entries).most_common(1):
        if times > 1:
            raise UnreadableArchive(
                "Archive must hold files of different names. "
                f"Received: {_quote(name)}, {times} times."
            )


def _check_encoding(entry: ArchiveEntry) -> None:
    if entry.info.flag_bits & ENCRYPTED:
        raise UnreadableArchive(
            f"Archive must not be encrypted. Received: {_quote(entry.name)}, which is."
        )
    if entry.info.compress_type not in METHODS:
        raise UnreadableArchive(
            "Archive must hold files that are stored or deflated. "
            f"Received: {_quote(entry.name)}, of method {entry.info.compress_type}."
        )


def _check_overlaps(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Raise UnreadableArchive if files share bytes: a few bytes could unpack to very many."""
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
    max_bytes = max(MAX_EXPANSION * archive_bytes, UNCHECKED_BYTES)
    if total > max_bytes:
        raise UnreadableArchive(
            f"Archive must hold at most {max_bytes} bytes, unpacked. Received: {total} bytes."
        )


def is_plain_file(entry: ArchiveEntry) -> bool:
    """Return whether an entry is a plain file, and not a link or a device."""
    mode = entry.info.external_attr >> 16
    return stat.S_IFMT(mode) in (0, stat.S_IFREG)


@contextmanager
def unpack(
    archive: zipfile.ZipFile, entry: ArchiveEntry, limits: ArchiveLimits
) -> Iterator[IO[bytes]]:
    """Unpack one file to a temporary file, which is deleted when the block ends.

    Raises:
        UnreadableImage: if the file is damaged, too large, or no plain file.
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
        except ZIP_ERRORS as error:
            raise UnreadableImage(
                f"Image must be a whole, undamaged file. Received: {error}."
            ) from error
        file.seek(0)
        yield file


def _quote(name: str) -> str:
    return repr(name[:LONGEST_NAME])
