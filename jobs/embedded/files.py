"""The files of jobs in a folder: one subfolder for each job, and only complete files in it.

    FOLDER/jobs-1.sqlite    see `jobs.embedded.store`
    FOLDER/ID/lock          locked by the process that receives or computes the job
    FOLDER/ID/source        the uploaded file
    FOLDER/ID/part-00000    a finished segment
    FOLDER/ID/result        all segments joined

The name of an unfinished file begins with `.`. If its writer is gone, anybody may delete it.
"""

import fcntl
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from core.files import atomic_write, flush_to_disk
from core.media.medium import Segment
from jobs.engine import ReceivedUpload, copy_upload
from jobs.errors import RETRY_AFTER_S, OutOfSpace, disk_full_reported, over_budget

LOCK, SOURCE, RESULT = "lock", "source", "result"

UNFINISHED = "."
"""Prefix of the names of unfinished files and folders."""

BLOCK_BYTES = 512
"""Unit of `st_blocks`."""


class FileLock:
    """A lock that one process holds at a time; it ends with the process, however that ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; call this once."""
        os.close(self._descriptor)


class JobFiles:
    """All files of jobs below a folder.

    Args:
        folder: path; `create` creates it for its owner only.
        budget_bytes: upper limit for the size of all files.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes

    def create(self) -> None:
        """Create the folder if it does not exist.

        Raises:
            PermissionError: if it belongs to another user, who could read the jobs.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check_owner()

    def check_owner(self) -> None:
        """Check the folder, which exists.

        Raises:
            PermissionError: if it belongs to another user, who could read the jobs.
        """
        found = self.folder.stat()
        if self.folder.is_symlink() or found.st_uid != os.geteuid():
            raise PermissionError(
                "Folder of jobs must belong to the user that serves, and be no link. "
                f"Received: {self.folder}, of user {found.st_uid}."
            )

    # Paths

    def source(self, job_id: str) -> Path:
        """Return the path of the uploaded file."""
        return self.folder / job_id / SOURCE

    def result(self, job_id: str) -> Path:
        """Return the path of the result."""
        return self.folder / job_id / RESULT

    def part(self, job_id: str, segment: Segment) -> Path:
        """Return the path of a finished segment."""
        return self.folder / job_id / f"part-{segment.index:05d}"

    def job_ids(self) -> list[str]:
        """Return the ids of all jobs that have a folder."""
        names = (path.name for path in self.folder.iterdir() if path.joinpath(LOCK).exists())
        return sorted(name for name in names if not name.startswith(UNFINISHED))

    # Locks

    def lock(self, job_id: str) -> FileLock | None:
        """Lock a job; None if another process holds the lock, or the job has no folder."""
        try:
            return _lock(os.open(self.folder / job_id / LOCK, os.O_RDWR))
        except FileNotFoundError:
            return None

    # Writing

    def receive(self, job_id: str, upload: IO[bytes]) -> tuple[FileLock, ReceivedUpload]:
        """Copy an upload durably to the new folder of a job, and lock that folder.

        Raises:
            OutOfSpace: if the disk is full.
        """
        folder = self.folder / job_id
        folder.mkdir(mode=0o700)
        lock = _new_lock(folder)
        try:
            with disk_full_reported():
                return lock, self._copy(upload, self.source(job_id))
        except BaseException:
            self.remove(job_id)
            lock.release()
            raise

    def _copy(self, upload: IO[bytes], target: Path) -> ReceivedUpload:
        with atomic_write(target, durable=True) as path:
            copied = copy_upload(upload, path)
        flush_to_disk(self.folder)
        return copied._replace(path=target)

    # Space

    def used_bytes(self) -> int:
        """Return the disk space of all files, in bytes."""
        return sum(
            _disk_bytes(Path(folder, name))
            for folder, _, names in os.walk(self.folder)  # tolerates folders that vanish
            for name in names
        )

    def check_space(self, more_bytes: int) -> None:
        """Check that the budget and the disk have space for some more bytes.

        Raises:
            OutOfSpace: if they do not.
        """
        used = self.used_bytes()
        if used + more_bytes > self.budget_bytes:
            raise over_budget(self.budget_bytes, used, more_bytes)
        free = shutil.disk_usage(self.folder).free
        if more_bytes > free:
            raise OutOfSpace(
                f"Files of jobs must fit on their disk, which has {free} bytes left. "
                f"Received: {more_bytes} bytes.",
                retry_after_s=RETRY_AFTER_S,
            )

    # Deleting

    def remove(self, job_id: str) -> None:
        """Delete the folder of a job; a reader that has the result open can go on reading."""
        removed = self.folder / f"{UNFINISHED}{job_id}"  # a crash must not leave half a folder
        with suppress(FileNotFoundError):
            self.folder.joinpath(job_id).rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def remove_parts(self, job_id: str) -> None:
        """Delete the finished segments."""
        for path in self.folder.joinpath(job_id).glob("part-*"):
            path.unlink(missing_ok=True)

    def remove_all_but_result(self, job_id: str) -> None:
        """Delete what a finished job does not need any more."""
        for path in self.folder.joinpath(job_id).glob("*"):
            if path.name not in (RESULT, LOCK):
                path.unlink(missing_ok=True)

    def remove_unfinished(self, job_id: str) -> None:
        """Delete the unfinished files of a process that died."""
        for path in self.folder.joinpath(job_id).glob(f"{UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def remove_half_removed(self) -> None:
        """Delete the folders that a process was deleting when it died."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)


def _new_lock(folder: Path) -> FileLock:
    """Create the lock of a new folder and hold it before any other process can see it."""
    hidden = folder / f"{UNFINISHED}{LOCK}"
    lock = _lock(os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if lock is None:
        raise BlockingIOError(f"Nobody else may hold the new folder {folder}.")
    hidden.rename(folder / LOCK)
    return lock


def _lock(descriptor: int) -> FileLock | None:
    """Lock an open file; if another process holds the lock, close the file and return None."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return FileLock(descriptor)


def _disk_bytes(path: Path) -> int:
    """Return the disk space of a regular file; 0 if it has just been deleted."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return BLOCK_BYTES * found.st_blocks if stat.S_ISREG(found.st_mode) else 0
