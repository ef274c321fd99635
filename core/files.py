"""Atomic file writes, private folders for unfinished work, and the unit of byte limits."""

import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedReader
from pathlib import Path

MEGABYTE = 1_000_000
"""Number of bytes in a megabyte, in all settings and messages."""

PRIVATE_PREFIX = ".upscale-"
"""Prefix of the names of private folders beside results."""

SCRATCH_PREFIX = "enhancer-scratch-"
"""Prefix of the names of private folders among the temporary files."""

FOLDER_ATTEMPTS = 8
"""Number of times to create a private folder; another process may remove its parent meanwhile."""


@contextmanager
def atomic_write(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path to write to, which replaces `target` if the block succeeds.

    If the block fails or the process dies, `target` stays as it was. Several writers of
    one target do not disturb each other: the last one to finish wins. The temporary file
    lies beside `target`; its name begins with "." and ends with ".partial".

    Args:
        target: file to write; its folder is created if necessary.
        durable: whether the file must survive a power failure. It is then on the disk
            when the block ends.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        if durable:
            flush_to_disk(partial)
        partial.replace(target)
        if durable:
            flush_to_disk(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Block until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading, which is no device and no pipe: those may never answer.

    Raises:
        OSError: if it is not a regular file, or cannot be opened.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        yield file


@contextmanager
def private_folder(parent: Path, prefix: str = PRIVATE_PREFIX) -> Iterator[Path]:
    """Yield a new folder for unfinished files, which goes with the block.

    The folder is locked, so that `sweep_private_folders` removes it only once its process is
    dead. Folders that had to be created for it are removed with it, unless files lie in them.

    Args:
        parent: folder to create it in; created if it does not exist.
        prefix: of its name.
    """
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        folder, lock = create_locked_folder(parent, prefix)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    finally:
        for created in missing:
            with suppress(OSError):  # it holds a result
                created.rmdir()


def sweep_private_folders(parent: Path, prefix: str = PRIVATE_PREFIX) -> None:
    """Remove the private folders that killed processes of this user have left in a folder."""
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):  # it is gone, belongs to another user, or cannot be locked here
            lock = _open_folder(folder)
            try:
                if os.fstat(lock).st_uid == os.geteuid() and _lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def scratch_folder() -> AbstractContextManager[Path]:
    """Return a `private_folder` among the temporary files, for a block."""
    return private_folder(Path(tempfile.gettempdir()), SCRATCH_PREFIX)


def sweep_scratch_folders() -> None:
    """Remove what `scratch_folder` has created for processes that were killed."""
    sweep_private_folders(Path(tempfile.gettempdir()), SCRATCH_PREFIX)


def create_locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Return a new private folder, and the descriptor that keeps it locked until it is closed.

    Args:
        parent: folder to create it in; created if it does not exist.
        prefix: of its name.
    """
    for _ in range(FOLDER_ATTEMPTS):
        with suppress(FileNotFoundError):  # swept, or a process that failed removed the parent
            parent.mkdir(parents=True, exist_ok=True)
            folder = parent / f"{prefix}{secrets.token_hex(4)}"
            folder.mkdir(mode=0o700)
            lock = _open_folder(folder)
            is_ours = True
            with suppress(OSError):  # without locks on this file system, nobody sweeps either
                is_ours = _lock(lock)
            if is_ours and folder.exists():
                return folder, lock
            os.close(lock)
    raise FileNotFoundError(f"{parent} must stay while files are written to it. It did not.")


def lock_file(path: Path) -> int | None:
    """Create a file, if there is none, and lock it.

    Returns:
        The descriptor that keeps it locked until it is closed; None if another one has locked it.

    Raises:
        OSError: if the file cannot be created.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if _lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _lock(descriptor: int) -> bool:
    """Lock what is open until it is closed; False if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
