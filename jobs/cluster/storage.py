"""Files that all machines see: a folder, or S3 and what speaks its language (the only importer
of fsspec)."""

import glob
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

FRESH = {"use_listings_cache": False, "skip_instance_cache": True}
"""What another machine has just written must be seen."""


class StorageUnavailable(OSError):
    """The storage does not answer, or not as it should."""


class Storage:
    """Files under one address, by names such as "k3Jd/parts/7".

    Args:
        url: a folder, or an address such as "s3://bucket/folder"; there, endpoint and keys
            are in the usual variables of AWS.

    All methods raise OSError if the storage does not answer, or not as it should.
    """

    def __init__(self, url: str) -> None:
        self._files, root = url_to_fs(url, **FRESH)
        self._root = str(root).rstrip("/")
        self._is_folder = isinstance(self._files, LocalFileSystem)

    def put(self, source: Path, name: str) -> None:
        """Store a file; it is there whole, or not at all."""
        target = self._path(name)
        if not self._is_folder:
            with system_errors():
                self._files.put_file(str(source), target)
            return
        folder, _, last = target.rpartition("/")
        self._files.makedirs(folder, exist_ok=True)
        unfinished = f"{folder}/.{last}.{secrets.token_hex(8)}"
        try:
            self._files.put_file(str(source), unfinished)
            Path(unfinished).replace(target)
        finally:
            Path(unfinished).unlink(missing_ok=True)

    def fetch(self, name: str, target: Path) -> None:
        """Write a copy to a file of this machine."""
        with system_errors():
            self._files.get_file(self._path(name), str(target))

    def open(self, name: str) -> IO[bytes]:
        """For reading, also from the middle."""
        with system_errors():
            file: IO[bytes] = self._files.open(self._path(name), "rb")
        return file

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all that is in it; nothing if it is not there."""
        with suppress(FileNotFoundError), system_errors():
            self._files.rm(glob.escape(self._path(name)), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def system_errors() -> Iterator[None]:
    """Raise what libraries of storages raise as what a disk would."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise StorageUnavailable(f"Storage must answer. Received: {error}") from error
