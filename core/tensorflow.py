"""TensorFlow, imported without its chatter and without what serving has no use for."""

import contextlib
import os
import sys
from collections.abc import Iterator

from core.quiet import native_stderr_held_back

COMPANIONS = ("keras", "jax")
"""What TensorFlow imports with itself where it is installed: 70 and more MB, and a second.

A frozen graph needs none of it, and training imports what it needs.
"""


@contextlib.contextmanager
def as_if_not_installed(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of packages fail that nobody has imported yet."""
    hidden = [name for name in names if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say so
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read at import: errors only
with native_stderr_held_back(), as_if_not_installed(COMPANIONS):  # before it has read that
    import tensorflow as tf

__all__ = ["tf"]
