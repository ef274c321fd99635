"""Files of jobs on a storage that all machines see: a folder or S3.

Only this module imports fsspec.
"""

import errno
import glob
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from core.files import atomic_write, flush_to_disk
from core.media.medium import CheckCancelled, Medium
from core.runtime.tile_tasks import CALLER_CHECK_S

NO_CACHE = {"use_listings_cache": False, "skip_instance_cache": True}
"""Options of fsspec. Without caches, files that another machine has just written are seen."""

IDENTITY_NAME = ".enhancer-storage"
"""Name of the file whose text identifies a storage; no id of a job begins with a dot."""

CHECK_EVERY_S = 60.0
"""Seconds for which a check of S3 that found the right storage counts. A folder is checked each
time, because it may be unmounted at any time."""

LONGEST_QUOTE = 40
"""Largest number of characters of an identity in a message."""

CACHED_SOURCES = 4
"""Number of jobs whose uploaded files a worker keeps: it goes from one job to another and back."""

RETRY_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Seconds of the first and of the longest pause between two attempts to transfer a file."""

PATIENCE_S = 300.0
"""Seconds for which a transfer is tried again."""

log = logging.getLogger("enhancer.jobs")

OpenSource = Callable[[Path], Medium]
"""Opens the uploaded file of a job."""


class StorageUnavailable(OSError):
    """The storage does not answer, or its answer makes no sense."""


class WrongStorage(OSError):
    """The storage is not that of the cluster: a share is not mounted, or another one is."""


class Storage:
    """Files below one address, by names such as "k3Jd/parts/7".

    All methods raise OSError if the storage does not answer, or its answer makes no sense.

    Args:
        url: a folder, or an address such as "s3://bucket/folder". Endpoint and keys of S3 come
            from the usual AWS environment variables.

    Attributes:
        expected: identity that this storage must have; None if any will do.
    """

    def __init__(self, url: str) -> None:
        self.expected: str | None = None
        self._files, root = url_to_fs(url, **NO_CACHE)
        self._root = str(root).rstrip("/")
        self._is_folder = isinstance(self._files, LocalFileSystem)
        self._checked: tuple[str, float] | None = None  # identity, seconds on the monotonic clock

    @property
    def folder(self) -> Path | None:
        """Folder on this machine; None if the storage is elsewhere."""
        return Path(self._root) if self._is_folder else None

    def identity(self) -> str | None:
        """Return the text that identifies this storage; None if it has none."""
        try:
            with storage_errors():
                content: bytes = self._files.cat_file(self._path(IDENTITY_NAME))
        except FileNotFoundError:
            return None
        return content.decode(errors="replace").strip() or None

    def identify(self) -> str:
        """Give this storage a new random identity, and return it."""
        identity, target = secrets.token_hex(8), self._path(IDENTITY_NAME)
        with storage_errors():
            if self._is_folder:
                with atomic_write(Path(target)) as unfinished:
                    unfinished.write_text(f"{identity}\n")
                    flush_to_disk(unfinished)
            else:
                self._files.pipe_file(target, f"{identity}\n".encode())
        return identity

    def check(self, *, at_once: bool = False) -> None:
        """Check that this is the storage that is expected.

        Args:
            at_once: whether not to rely on a check of a moment ago.

        Raises:
            WrongStorage: if it is not.
        """
        if self.expected is None or (self._is_checked and not at_once):
            return
        found, self._checked = self.identity(), None
        if found != self.expected:
            what = "no such file" if found is None else f"one with {found[:LONGEST_QUOTE]!r}"
            raise WrongStorage(
                f"The storage of this machine must be that of the cluster, whose file "
                f"{IDENTITY_NAME} has the text {self.expected!r}. Received: {what}."
            )
        self._checked = found, time.monotonic()

    @property
    def _is_checked(self) -> bool:
        if self._is_folder or self._checked is None:
            return False
        found, when = self._checked
        return found == self.expected and time.monotonic() < when + CHECK_EVERY_S

    def put(self, source: Path, name: str) -> None:
        """Store a copy of a file; others see the complete file, or none.

        Raises:
            WrongStorage: if this is not the storage that is expected: nobody would see the file.
        """
        self.check()
        target = self._path(name)
        with storage_errors():
            if not self._is_folder:
                self._files.put_file(str(source), target)
                return
            with atomic_write(Path(target)) as unfinished:
                self._files.put_file(str(source), str(unfinished))

    def fetch(self, name: str, target: Path) -> None:
        """Copy a stored file to a file of this machine."""
        with storage_errors():
            self._files.get_file(self._path(name), str(target))

    def open(self, name: str) -> IO[bytes]:
        """Open a stored file for reading; it is seekable."""
        with storage_errors():
            file: IO[bytes] = self._files.open(self._path(name), "rb")
        return file

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with its contents; do nothing if it does not exist.

        Raises:
            WrongStorage: if this is not the storage that is expected.
        """
        self.check()
        with suppress(FileNotFoundError), storage_errors():
            self._files.rm(glob.escape(self._path(name)), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class SourceCache:
    """Copies, on this machine, of the uploaded files that were used last.

    One thread opens them; another one may delete those that are not open.

    Args:
        storage: has the files.
        folder: for the copies.
    """

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._media: OrderedDict[str, Medium] = OrderedDict()
        self._open_job: str | None = None
        self._lock = threading.Lock()  # of both

    @contextmanager
    def opened(
        self, job_id: str, open_source: OpenSource, check_interrupted: CheckCancelled
    ) -> Iterator[Medium]:
        """Yield the medium of a job, fetched and opened if it is not cached.

        Raises:
            OSError: if the file cannot be fetched; see `insist`.
            SuperResolutionError: for the file, as `open_source` does.
        """
        with self._lock:
            self._open_job = job_id
            medium = self._media.get(job_id)
        try:
            if medium is None:
                path = self._folder / job_id
                fetch = partial(self._storage.fetch, source_name(job_id), path)
                insist(fetch, check_interrupted)
                medium = open_source(path)
            self._keep(job_id, medium)
            yield medium
        finally:
            with self._lock:
                self._open_job = None

    def drop(self, job_id: str) -> None:
        """Delete the copy of a job's file, because the job is done or the copy is suspect."""
        with self._lock:
            self._drop(job_id)

    def drop_all_but(self, find_needed: Callable[[], Collection[str]]) -> None:
        """Delete the copies of other jobs than those needed, unless they are open.

        Args:
            find_needed: returns the ids of the needed jobs; called only if there are copies.
        """
        if self._media:
            needed = find_needed()
            with self._lock:
                for job_id in set(self._media).difference(needed, [self._open_job]):
                    self._drop(job_id)

    def _keep(self, job_id: str, medium: Medium) -> None:
        with self._lock:
            self._media[job_id] = medium
            self._media.move_to_end(job_id)
            while len(self._media) > CACHED_SOURCES:
                self._drop(next(iter(self._media)))

    def _drop(self, job_id: str) -> None:
        self._media.pop(job_id, None)
        (self._folder / job_id).unlink(missing_ok=True)


def insist(transfer: Callable[[], None], check_interrupted: CheckCancelled) -> None:
    """Transfer a file, again and again while the storage is full or away.

    Args:
        transfer: raises OSError if that fails.
        check_interrupted: called now and then; what it raises ends the attempts.

    Raises:
        FileNotFoundError: if there is no such file, at once.
        OSError: if it fails for `PATIENCE_S`.
    """
    since, pause_s, has_failed = time.monotonic(), RETRY_S, False
    while True:
        try:
            transfer()
        except OSError as error:
            if isinstance(error, FileNotFoundError) or time.monotonic() - since > PATIENCE_S:
                raise
            if not has_failed:
                log.warning("The storage does not work: %s", error)
            has_failed = True
        else:
            if has_failed:
                log.info("The storage works again, after %.0f s", time.monotonic() - since)
            return
        until = time.monotonic() + pause_s
        while time.monotonic() < until:
            check_interrupted()
            time.sleep(CALLER_CHECK_S)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise an OSError that names no file: a path has the id of a job, which logs must not have.

    Raises:
        FileNotFoundError: if there is no such file.
        StorageUnavailable: for errors of storage libraries that are no OSError.
        OSError: for others.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
    except OSError as error:
        if error.filename is None:
            raise
        raise OSError(error.errno, error.strerror) from None
    except Exception as error:
        raise StorageUnavailable(f"Storage must answer. Received: {error}") from error


def source_name(job_id: str) -> str:
    """Return the name of the uploaded file of a job."""
    return f"{job_id}/source"


def part_name(job_id: str, piece: int, holder: str) -> str:
    """Return the name of a segment's file; two workers never write the same one."""
    return f"{job_id}/parts/{piece}-{holder}"


def parts_name(job_id: str) -> str:
    """Return the name of the folder of all segments."""
    return f"{job_id}/parts"


def result_file_name(job_id: str, holder: str) -> str:
    """Return the name of the result's file; two workers never write the same one."""
    return f"{job_id}/result-{holder}"
