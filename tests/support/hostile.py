"""Stand-ins for decoders that crash, hang or eat memory, to be run in worker processes.

Each takes a file and limits, as the functions of `core.images` do.
"""

import ctypes
import io
import itertools
import os
import pickle
import struct
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from core.errors import ImageTooLarge, Overloaded
from core.images import decode_image
from core.picture import Extras, Header, Picture, PictureRows, PixelRows
from core.sandbox.messages import LENGTH, ExpectedAnswer, send_end, send_value
from core.sandbox.pool import SandboxPool, SandboxTask

FOREVER_S = 600
KEPT: list[SandboxPool] = []
LITTER: list[np.ndarray] = []
PNG_END = b"IEND\xaeB`\x82"


def sleep(_file, _limits=None):
    time.sleep(FOREVER_S)


def compute(_file, _limits=None):
    deadline = time.monotonic() + FOREVER_S
    while time.monotonic() < deadline:
        try:
            sum(range(1000))
        except Exception:
            continue


def compute_in_native_code(_file, _limits=None):
    """Return to Python, where signals are handled, only after hours."""
    sum(itertools.repeat(1, 10**13))


def segfault(_file, _limits=None):
    ctypes.string_at(0)


def segfault_if_told_so(file, limits=None):
    """Decode a file, but crash if it ends with BOOM."""
    if file.read().endswith(b"BOOM"):
        ctypes.string_at(0)
    file.seek(0)
    return decode_image(file, limits)


def wait_to_be_killed_once(file, _limits=None):
    """Append the process id to the file whose path `file` holds, then hang; answer next time."""
    path = Path(file.read().decode())
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}{os.getpid()}\n")
    if not before:
        time.sleep(FOREVER_S)
    return "answered"


def decode_after_being_killed(file, limits=None):
    """Hang at the first attempt and decode at the second.

    The path of the file that counts attempts follows the PNG.
    """
    data = file.read()
    wait_to_be_killed_once(io.BytesIO(data.partition(PNG_END)[2]))
    return decode_image(data, limits)


def end_quietly(_file, _limits=None):
    os._exit(0)


def eat_memory(_file, _limits=None):
    eaten = []
    while True:
        eaten.append(np.ones(10_000_000, np.uint8))


def decode_with_failing_rows(_file, _limits=None):
    """Return a picture whose second block of rows cannot be computed."""

    def read(top, bottom):
        if top:
            raise ValueError("no more rows")
        return np.zeros((bottom, 2000, 3), np.uint8)

    rows = PixelRows((2000, 2000, 3), np.dtype(np.uint8), read)
    return PictureRows(rows, None, False, Extras())


def too_large(_file, _limits=None):
    raise ImageTooLarge("Image must be small.")


def overloaded(_file, _limits=None):
    raise Overloaded("Too many.", retry_after_s=7)


def fault(_file, _limits=None):
    raise KeyError("unexpected")


def process(_file, _limits=None):
    return os.getpid()


def work_and_leave():
    """Start workers and leave without closing them."""
    KEPT.append(SandboxPool(1, 100_000_000))
    KEPT[0].run(SandboxTask(contents, (), ExpectedAnswer(bytes, 100), 10, 20), io.BytesIO())


def first_to_go(_file, _limits=None):
    return Path("/proc/self/oom_score_adj").read_text().strip()


def modules(_file, _limits=None):
    return tuple(sorted(sys.modules))


def megabytes(_file, count):
    return np.ones(count * 1_000_000, np.uint8).nbytes


def litter(_file, _limits=None):
    """Free large arrays, but keep a small one allocated after them."""
    for _ in range(2):  # the first round teaches the C library their size
        arrays = [np.ones(8_000_000, np.uint8) for _ in range(10)]
        LITTER.append(np.ones(10_000, np.uint8))
        del arrays
    return b"littered"


def chatter(_file, _limits=None):
    warnings.warn("of a library", stacklevel=1)
    os.write(2, b"of native code")
    return "said"


def contents(file, _limits=None):
    return file.read()


def contents_of(file, _limits=None):
    """Return what is in the file whose path is in this file."""
    return Path(file.read().decode()).read_bytes()


class WritesWhenUnpickled:
    """Writes a file in the process that unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "unpickled")


def answers_socket():
    """Return the socket of this process, as code that has taken over a decoder would find it."""
    frame = sys._getframe()
    while "answers" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["answers"]


def send_pickle(file, _limits=None):
    """Send a pickle as `multiprocessing.connection.Connection.send` does."""
    message = pickle.dumps(WritesWhenUnpickled(Path(file.read().decode())))
    answers_socket().sendall(struct.pack("!i", len(message)) + message)
    time.sleep(FOREVER_S)


def send_pickle_as_text(file, _limits=None):
    """Send a pickle where a text is expected."""
    message = pickle.dumps(WritesWhenUnpickled(Path(file.read().decode())))
    answers_socket().sendall(LENGTH.pack(len(message)) + message)
    time.sleep(FOREVER_S)


def send_true(_file, _limits=None):
    send_value(answers_socket(), bool, True)
    time.sleep(FOREVER_S)


def send_half_a_message(_file, _limits=None):
    answers_socket().sendall(LENGTH.pack(100) + b"[")
    time.sleep(FOREVER_S)


def send_end_of_items(_file, _limits=None):
    send_end(answers_socket())
    time.sleep(FOREVER_S)


def answer_twice(_file, _limits=None):
    """Leave an answer for whoever runs the next task, and return another."""
    send_value(answers_socket(), bytes, b"first")
    return b"second"


def end_by_a_real_time_signal(_file, _limits=None):
    os.kill(os.getpid(), 35)
    time.sleep(FOREVER_S)


def leave_a_process_behind(file, _limits=None):
    """Write the id of a forked process, which keeps the socket open, and exit."""
    path = Path(file.read().decode())
    process = os.fork()
    if process:
        path.write_text(f"{process}\n")
        os._exit(0)
    time.sleep(FOREVER_S)


def answer_once_and_stop_reading(_file, _limits=None):
    send_value(answers_socket(), bytes, b"well")
    time.sleep(FOREVER_S)


def decode_without_channels(_file, _limits):
    return Picture(np.zeros((2, 3), np.uint8))


def decode_more_than_allowed(_file, limits):
    return Picture(np.zeros((1, limits.max_side + 1, 3), np.uint8))


def decode_alpha_of_another_size(_file, _limits):
    return Picture(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.uint8))


def decode_to_six_rows_of_16_bits(_file, _limits):
    return Picture(np.zeros((6, 3, 3), np.uint16))


def decode_with_negative_resolution(_file, _limits):
    return Picture(np.zeros((2, 3, 3), np.uint8), extras=Extras(dpi=(72.0, -5.0)))


def decode_with_huge_resolution(_file, _limits):
    return Picture(np.zeros((2, 3, 3), np.uint8), extras=Extras(dpi=(1e300, 72.0)))


def decode_with_quality_beyond_100(_file, _limits):
    return Picture(np.zeros((2, 3, 3), np.uint8), extras=Extras(jpeg_quality=100.5))


def read_header_without_pixels(_file, _limits):
    return Header(0, 3, 3)


def read_header_of_nine_channels(_file, _limits):
    return Header(2, 3, 9)


def read_header_of_twelve_bits(_file, _limits):
    return Header(2, 3, 3, bits=12)
