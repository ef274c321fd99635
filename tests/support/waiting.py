"""Polling for the effects of other threads and processes."""

import time

SOONEST_S, LATEST_S = 0.001, 0.02

SHARE = 0.1
"""Share of the time waited so far after which the condition is looked at again: a pause that does
not grow takes the processor from those that are waited for."""


def wait_until(condition, timeout_s=10):
    """Return as soon as the condition holds; fail after `timeout_s` seconds."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < timeout_s
        time.sleep(min(max(SOONEST_S, SHARE * waited), LATEST_S))
