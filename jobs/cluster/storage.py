"""Files that all machines see: a folder, or S3 and what speaks its language (the only importer
of fsspec).

Files of jobs, copied to this machine while pieces of them are computed here.
"""

import glob
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from core.files import atomic_write
from core.media.medium import Medium

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
        with atomic_write(Path(target)) as unfinished:
            self._files.put_file(str(source), str(unfinished))

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


MOST = 4
"""Jobs whose files are kept here: a worker goes from one job to the next and back."""

Look = Callable[[Path], Medium]
"""Opens the file of a job."""


class SourceCache:
    """The files that were used last.

    Args:
        storage: where they come from.
        folder: for the copies.
    """

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._media: OrderedDict[str, Medium] = OrderedDict()

    def medium(self, job_id: str, look: Look) -> Medium:
        """The medium of a job, as `look` has opened it.

        Raises:
            OSError: if the file is not to be had.
            SuperResolutionError: of the file, as `look` does.
        """
        if job_id not in self._media:
            path = self._folder / job_id
            self._storage.fetch(source_name(job_id), path)
            self._media[job_id] = look(path)
        self._media.move_to_end(job_id)
        while len(self._media) > MOST:
            self.drop(next(iter(self._media)))
        return self._media[job_id]

    def drop(self, job_id: str) -> None:
        """Keep the file of a job no longer: it is done, or one does not know what is wrong."""
        self._media.pop(job_id, None)
        (self._folder / job_id).unlink(missing_ok=True)


def source_name(job_id: str) -> str:
    """Of the file of a job, in the storage."""
    return f"{job_id}/source"


def part_name(job_id: str, piece: int, holder: str) -> str:
    """Of a segment: two workers that compute the same one do not write one file."""
    return f"{job_id}/parts/{piece}-{holder}"


def parts_name(job_id: str) -> str:
    """Of the folder of all segments."""
    return f"{job_id}/parts"


def result_file_name(job_id: str, holder: str) -> str:
    """Of the result, in the storage."""
    return f"{job_id}/result-{holder}"
