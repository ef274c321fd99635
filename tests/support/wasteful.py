"""Functions to call in a process of their own."""

import math


def take_bytes(count):
    return len(bytearray(count))


def take_root(of):
    return math.sqrt(of)
