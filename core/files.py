"""Atomic file writes, and the unit of byte limits."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTE = 1_000_000
"""Number of bytes in a megabyte, in all settings and messages."""


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
