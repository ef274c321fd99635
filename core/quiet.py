"""Keeping native libraries from talking over a command line's own output."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Hold back what the block writes to file descriptor 2; show it if the block fails.

    TensorFlow logs a few lines while it is imported, whatever level is asked for.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(kept, held_back.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
