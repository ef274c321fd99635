"""Polling for the effects of other threads and processes."""

import time


def wait_until(condition, timeout_s=10):
    """Return as soon as the condition holds; fail after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
