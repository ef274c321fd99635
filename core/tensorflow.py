"""TensorFlow, imported without its chatter; the only importer."""

import os

from core.quiet import native_stderr_held_back

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read at import: errors only
with native_stderr_held_back():  # what TensorFlow writes before it has read that
    import tensorflow as tf

__all__ = ["tf"]
