"""Waiting for what other threads and processes do."""

import time


def wait_until(condition, patience_s=10):
    """Return once the condition holds; fail after so many seconds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
