"""Generators for the processes of `core.sandbox.pool.stream_items`, well-behaved and hostile."""

import ctypes
import io
import os
import time

import numpy as np

from core.errors import ImageTooLarge
from tests.support import hostile

FOREVER_S = 600


def count(stop):
    yield from range(stop)


def arrays(number, shape):
    for value in range(number):
        yield np.full(shape, value, np.uint8)


def process():
    while True:
        yield os.getpid()


def write_progress(path):
    """Write the number of each item to a file before it is yielded."""
    for number in range(100):
        path.write_text(str(number))
        yield np.zeros(1_000_000, np.uint8)


def then(last, *arguments):
    yield "first"
    last(*arguments)


def too_large():
    raise ImageTooLarge("Image must be small")


def fault():
    raise KeyError("unexpected")


def segfault():
    ctypes.string_at(0)


def leave(code):
    os._exit(code)


def sleep():
    time.sleep(FOREVER_S)


def take_memory(size):
    return bytes(bytearray(size))


def call_with_file(function, data):
    """Call a function of `tests.support.hostile` before the first item."""
    function(io.BytesIO(data))
    yield 0


def send_half_a_message():
    hostile.send_half_a_message(None)
