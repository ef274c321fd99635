"""Functions to call in a process of their own: one allocates memory, one can fail."""

import math


def allocate(count):
    """Allocate some bytes, and return their number."""
    return len(bytearray(count))


def square_root(of):
    """Return a square root; fail for a negative number."""
    return math.sqrt(of)
