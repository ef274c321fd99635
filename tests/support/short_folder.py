"""A folder for temporary files of processes, with a path that leaves room for those of sockets."""

import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_folder():
    """Yield a new folder, which goes with the block. A socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="test-", dir="/tmp") as folder:
        yield Path(folder)
