"""The files of jobs: a folder for each, in which every file is there as a whole or not at all.

    FOLDER/jobs-1.sqlite    see `jobs.embedded.store`
    FOLDER/ID/lock          held by the process that works on the job, or brings it in
    FOLDER/ID/source        as it came
    FOLDER/ID/part-00000    a finished segment
    FOLDER/ID/result        when all are joined

What is being written has a name that begins with `.`; who finds one without its writer may
delete it.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from core.files import MEGABYTE, atomic_write, flush_to_disk
from core.media.medium import Segment
from jobs.errors import OutOfSpace

LOCK, SOURCE, RESULT = "lock", "source", "result"
UNFINISHED = "."
COPY_BYTES = 1 << 20
BLOCK = 512  # bytes, as st_blocks counts them

RETRY_AFTER_S = 60
"""Until there may be room again: when results expire, or jobs end."""


class FileLock:
    """Held by one at a time, of all processes; it ends with the process, whatever ends that."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        os.close(self._descriptor)


class JobFiles:
    """All files of jobs below a folder.

    Args:
        folder: it is made when it is first needed, for its owner only.
        budget_bytes: that all files may take.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            PermissionError: if it belongs to somebody else, who could read the jobs.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.folder.stat()
        if self.folder.is_symlink() or found.st_uid != os.geteuid():
            raise PermissionError(
                "Folder of jobs must belong to the user that serves, and be no link. "
                f"Received: {self.folder}, of user {found.st_uid}."
            )

    def source(self, job_id: str) -> Path:
        return self.folder / job_id / SOURCE

    def result(self, job_id: str) -> Path:
        return self.folder / job_id / RESULT

    def part(self, job_id: str, segment: Segment) -> Path:
        return self.folder / job_id / f"part-{segment.index:05d}"

    def bring_in(self, job_id: str, upload: IO[bytes]) -> tuple[FileLock, str]:
        """Copy a file to a job's new folder, durably.

        Returns:
            The lock of the folder, and the SHA-256 of the bytes, hexadecimal.
        """
        folder = self.folder / job_id
        folder.mkdir(mode=0o700)
        lock = _new_lock(folder)
        try:
            with full_disk_reported():
                return lock, self._copy(upload, self.source(job_id))
        except BaseException:
            self.remove(job_id)
            lock.release()
            raise

    def _copy(self, upload: IO[bytes], target: Path) -> str:
        """Write a file durably; the SHA-256 of its bytes."""
        digest = hashlib.sha256()
        with self.written(target) as path, path.open("wb") as file:
            while block := upload.read(COPY_BYTES):
                digest.update(block)
                file.write(block)
        flush_to_disk(self.folder)
        return digest.hexdigest()

    @contextmanager
    def written(self, target: Path) -> Iterator[Path]:
        """A path to write to, which becomes `target` when the block ends well.

        Then the file is on the disk, whatever happens to the machine.
        """
        with atomic_write(target, durable=True) as path:
            yield path

    def lock(self, job_id: str) -> FileLock | None:
        """The lock of a job; None if somebody has it, or the job has no folder."""
        try:
            return _lock(os.open(self.folder / job_id / LOCK, os.O_RDWR))
        except FileNotFoundError:
            return None

    def remove(self, job_id: str) -> None:
        """Delete a job's folder; who is reading its result can read on."""
        removed = self.folder / f"{UNFINISHED}{job_id}"  # else half of it might be left
        with suppress(FileNotFoundError):
            self.folder.joinpath(job_id).rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def remove_parts(self, job_id: str) -> None:
        """Delete the finished segments."""
        for path in self.folder.joinpath(job_id).glob("part-*"):
            path.unlink(missing_ok=True)

    def remove_all_but_result(self, job_id: str) -> None:
        """Delete what a finished job does not need."""
        for path in self.folder.joinpath(job_id).glob("*"):
            if path.name not in (RESULT, LOCK):
                path.unlink(missing_ok=True)

    def remove_unfinished(self, job_id: str) -> None:
        """Delete what a dead process was writing."""
        for path in self.folder.joinpath(job_id).glob(f"{UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def job_ids(self) -> list[str]:
        """Of all jobs that have a folder."""
        names = (path.name for path in self.folder.iterdir() if path.joinpath(LOCK).exists())
        return sorted(name for name in names if not name.startswith(UNFINISHED))

    def used_bytes(self) -> int:
        """Of the disk, that all files take."""
        return sum(
            _disk_bytes(Path(folder, name))
            for folder, _, names in os.walk(self.folder)  # which lets folders vanish
            for name in names
        )

    def check_room(self, more_bytes: int) -> None:
        """Raise OutOfSpace unless there is room for some more bytes."""
        used = self.used_bytes()
        if used + more_bytes > self.budget_bytes:
            raise OutOfSpace(
                f"Files of jobs must take at most {self.budget_bytes // MEGABYTE} MB. "
                f"Received: {more_bytes} bytes more than the {used} bytes that are taken.",
                retry_after_s=RETRY_AFTER_S,
            )
        free = shutil.disk_usage(self.folder).free
        if more_bytes > free:
            raise OutOfSpace(
                f"Files of jobs must fit on their disk, which has {free} bytes left. "
                f"Received: {more_bytes} bytes.",
                retry_after_s=RETRY_AFTER_S,
            )

    def remove_removed(self) -> None:
        """Delete what a process died of deleting."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def full_disk_reported() -> Iterator[None]:
    """What the system raises where the disk is full is OutOfSpace."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfSpace(
            "Files of jobs must fit on their disk. Received: one more, and it is full.",
            retry_after_s=RETRY_AFTER_S,
        ) from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _new_lock(folder: Path) -> FileLock:
    """Hold the lock of a new folder before anybody else can see it."""
    unseen = folder / f"{UNFINISHED}{LOCK}"
    lock = _lock(os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if lock is None:
        raise BlockingIOError(f"Nobody else may hold the new folder {folder}.")
    unseen.rename(folder / LOCK)
    return lock


def _lock(descriptor: int) -> FileLock | None:
    """The lock on an open file; None, and the file is closed, if somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return FileLock(descriptor)


def _disk_bytes(path: Path) -> int:
    """Of a plain file; 0 if it has just been deleted."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return BLOCK * found.st_blocks if stat.S_ISREG(found.st_mode) else 0
