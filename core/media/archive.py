"""Read ZIP archives from untrusted sources.

No file is unpacked to the path that its name gives. An archive with a name that leads outside of
it is refused as a whole: such a name is no accident. All sizes are checked before anything is
unpacked.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 to 4.6 and appendix D; Info-ZIP, extra field 0x5455
("UT").
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
from typing import NamedTuple

from core.errors import UnreadableArchive, UnreadableImage

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""First bytes of an archive; the second ones are those of an empty archive."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Allowed compression methods. Others are rare, and one of them can need gigabytes of memory."""

ENCRYPTED, UTF_8 = 0x1, 0x800
"""Flags of an entry that is encrypted, and of one whose name is UTF-8."""

LEGACY_ENCODING = "cp437"
"""Encoding of names that neither are marked as UTF-8 nor are valid UTF-8."""

UNICODE_PATH, TIMES = 0x7075, 0x5455
"""Numbers of extra fields: the name in UTF-8, and times as seconds since 1970."""

UNICODE_PATH_HEAD = struct.Struct("<BL")
"""Version, and checksum of the name that the field replaces."""

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

MAX_NAME_BYTES = 4095
"""Length of a name in UTF-8 up to which a file can be unpacked. Source: Linux, PATH_MAX."""

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

    def dated(self, name: str) -> zipfile.ZipInfo:
        """Return a new entry with another name and the date of this one."""
        info = zipfile.ZipInfo(name, self.info.date_time)
        times = find_extra_field(self.info, TIMES) or b""
        if len(times) >= 5 and times[0] & 1:  # the time of the last change comes first
            info.extra = struct.pack("<HHB", TIMES, 5, 1) + times[1:5]
        return info


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


def read_name(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry.

    Many writers, Info-ZIP and macOS among them, store UTF-8 without marking it. CP437, which the
    specification prescribes then, would garble such names.
    """
    if info.flag_bits & UTF_8:
        return info.orig_filename
    stored = info.orig_filename.encode(LEGACY_ENCODING)
    unicode_path = find_extra_field(info, UNICODE_PATH) or b""
    if len(unicode_path) > UNICODE_PATH_HEAD.size:
        version, checksum = UNICODE_PATH_HEAD.unpack_from(unicode_path)
        if version == 1 and checksum == zlib.crc32(stored):
            stored = unicode_path[UNICODE_PATH_HEAD.size :]
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return info.orig_filename


def find_extra_field(info: zipfile.ZipInfo, number: int) -> bytes | None:
    """Return the content of an extra field of an entry; None if it has none."""
    extra = info.extra
    while len(extra) >= 4:
        found, length = struct.unpack_from("<HH", extra)
        if found == number:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return None


def _safe_name(info: zipfile.ZipInfo) -> str:
    name = read_name(info).replace("\\", "/")
    inner = "/".join(part for part in name.split("/") if part not in ("", "."))
    if UNSAFE_NAMES.search(name) or not inner:
        raise UnreadableArchive(
            "Archive must hold files whose names are paths within it. "
            f"Received: {_quote(read_name(info))}."
        )
    length = len(inner.encode())
    if length > MAX_NAME_BYTES:
        raise UnreadableArchive(
            f"Archive must hold files whose names have at most {MAX_NAME_BYTES} bytes in UTF-8. "
            f"Received: {_quote(inner)}..., {length} bytes."
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
                f"Received: {_quote(read_name(info))} within another one."
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
def unpack(archive: zipfile.ZipFile, entry: ArchiveEntry, limits: ArchiveLimits) -> Iterator[Path]:
    """Unpack one file to a hidden file beside the archive, which is deleted when the block ends.

    What a killed process leaves there is deleted together with the archive.

    Raises:
        UnreadableImage: if the file is damaged, too large, or no plain file.
    """
    size = entry.info.file_size
    if size > limits.file_bytes or not is_plain_file(entry):
        received = f"{size} bytes" if is_plain_file(entry) else "a link"
        raise UnreadableImage(
            f"File must be a plain file of at most {limits.file_bytes} bytes. Received: {received}."
        )
    path = Path(str(archive.filename))
    if entry.info.header_offset >= path.stat().st_size:  # some systems cannot even go there
        raise UnreadableImage("File must be within its archive. Received: a place after the end.")
    with tempfile.NamedTemporaryFile(prefix=".", suffix=".unpacked", dir=path.parent) as file:
        try:
            with archive.open(entry.info) as packed:
                shutil.copyfileobj(packed, file)
        except ZIP_ERRORS as error:
            raise UnreadableImage(
                f"File must be whole and undamaged. Received: {error}."
            ) from error
        file.flush()
        yield Path(file.name)


def _quote(name: str) -> str:
    return repr(name[:LONGEST_NAME])
