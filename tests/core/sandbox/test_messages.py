import json
import socket
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from core import errors
from core.picture import Extras, Header, Picture
from core.pixels import PixelArray
from core.sandbox.codecs import MAX_CHARACTERS
from core.sandbox.messages import (
    LENGTH,
    MAX_TEXT_BYTES,
    EndOfItems,
    ExpectedAnswer,
    InvalidMessage,
    OutOfTime,
    WorkerFault,
    receive,
    send_end,
    send_error,
    send_value,
)
from tests.support.stand_ins import noise

PIXELS = noise(5, 7)
MAX_BYTES = 10_000


class Point(NamedTuple):
    x: int
    y: float


@dataclass(frozen=True)
class Everything:
    flag: bool
    count: int
    share: float
    text: str
    data: bytes
    ratio: Fraction
    point: Point
    starts: tuple[int, ...]
    streams: tuple[tuple[str, str], ...]
    pair: tuple[float, float] | None
    note: str | None


EVERYTHING = Everything(
    True,
    -(2**62),
    0.1,
    "\N{SNOWMAN}\0",
    bytes(range(256)),
    Fraction(30_000, 1001),
    Point(1, 2.5),
    (0, 512, 1024),
    (("audio", "aac"), ("subtitle", "srt")),
    (72.0, 300.0),
    None,
)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def transfer(ends):
    """Send in a thread, as a message may not fit into the socket, and receive."""

    def transfer(send, *arguments, returns=int, max_bytes=MAX_BYTES, **options):
        thread = threading.Thread(target=send, args=(ends[1], *arguments))
        thread.start()
        try:
            expected = ExpectedAnswer(returns, max_bytes, **options)
            return receive(ends[0], expected, time.monotonic() + 10)
        finally:
            ends[0].shutdown(socket.SHUT_RDWR)  # of a refused message not all is received
            thread.join()

    return transfer


def send_parts(connection, text, *buffers):
    """Send a message whose text is given, as a hostile process may."""
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    connection.sendall(LENGTH.pack(len(data)) + data + b"".join(buffers))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_arrives_as_it_was(transfer, dtype):
    alpha = noise(5, 7, 1, seed=1)[..., 0].astype(dtype)
    extras = Extras(icc_profile=b"p" * 1001, dpi=(72.0, 96.5), jpeg_quality=87.5)
    picture = Picture(PIXELS.astype(dtype), alpha, extras=extras)
    arrived = transfer(send_value, Picture, picture, returns=Picture)
    np.testing.assert_array_equal(arrived.pixels, picture.pixels)
    np.testing.assert_array_equal(arrived.alpha, alpha)
    assert arrived.pixels.dtype == dtype
    assert arrived.pixels.flags.aligned
    assert arrived.pixels.flags.writeable
    assert arrived.extras == extras


def test_a_header_arrives_as_it_was(transfer):
    header = Header(3, 5, 4, 16, 7)
    assert transfer(send_value, Header, header, returns=Header) == header


def test_values_of_all_types_arrive_as_they_were(transfer):
    assert transfer(send_value, Everything, EVERYTHING, returns=Everything) == EVERYTHING


@pytest.mark.parametrize("array", [PIXELS[::2, 1:3], PIXELS[:0], np.uint8(7)])
def test_arrays_of_any_shape_arrive(transfer, array):
    arrived = transfer(send_value, PixelArray, array, returns=PixelArray)
    np.testing.assert_array_equal(arrived, array)


def test_arrays_of_other_types_are_not_sent(ends):
    with pytest.raises(TypeError, match="float64"):
        send_value(ends[1], PixelArray, np.ones(3))


def test_a_large_picture_arrives(transfer):
    pixels = noise(700, 900)
    arrived = transfer(send_value, PixelArray, pixels, returns=PixelArray, max_bytes=pixels.nbytes)
    np.testing.assert_array_equal(arrived, pixels)


def test_the_end_arrives(transfer):
    assert isinstance(transfer(send_end), EndOfItems)


@pytest.mark.parametrize(
    ("sent", "arrived"),
    [
        (errors.ImageTooLarge("Image must be small."), errors.ImageTooLarge),
        (errors.UnreadableClip("Clip must be whole."), errors.UnreadableClip),
        (MemoryError("too much"), MemoryError),
        (OutOfTime(), TimeoutError),
    ],
)
def test_errors_of_the_list_arrive_with_their_message(transfer, sent, arrived):
    error = transfer(send_error, sent)
    assert type(error) is arrived
    assert str(error) == str(sent)


@pytest.mark.parametrize("sent", [KeyError("x"), errors.Overloaded("full", retry_after_s=1)])
def test_other_errors_arrive_as_faults(transfer, sent):
    error = transfer(send_error, sent)
    assert type(error) is WorkerFault
    assert type(sent).__name__ in str(error)


LONG = "\ud800" * 3 + "a" * (MAX_CHARACTERS - 1)


@pytest.mark.parametrize(
    ("send", "arguments"),
    [(send_value, (str, LONG)), (send_error, (errors.UnreadableImage(LONG),))],
)
def test_the_end_of_a_long_text_arrives_with_question_marks_for_surrogates(
    transfer, send, arguments
):
    arrived = transfer(send, *arguments, returns=str)
    assert str(arrived) == "?" + LONG[3:]


def test_a_memory_error_of_a_library_arrives_as_the_usual_one(transfer):
    class LibraryMemoryError(MemoryError):
        pass

    assert type(transfer(send_error, LibraryMemoryError("full"))) is MemoryError


@pytest.mark.parametrize(
    ("returns", "text", "buffers"),
    [
        (int, b"\x80\x04N.", ()),
        (int, b"[" * 100_000, ()),
        (int, b"", ()),
        (int, ["value", 1], ()),
        (int, ["other", 1, []], ()),
        (int, ["value", True, []], ()),
        (int, ["value", 1.0, []], ()),
        (int, ["value", 2**63, []], ()),
        (float, b'["value", NaN, []]', ()),
        (float, b'["value", 1e999, []]', ()),
        (int, ["value", 1, [1]], (b"x",)),
        (int, ["value", 1, [-1]], ()),
        (int, ["value", 1, ["1"]], ()),
        (int, ["value", 1, [MAX_BYTES, 1]], ()),
        (str, ["value", None, []], ()),
        (str, ["value", "\ud800", []], ()),
        (str, ["value", "a" * (MAX_CHARACTERS + 1), []], ()),
        (int, ["error", ["ImageTooLarge", "\ud800"], []], ()),
        (int, ["error", ["ImageTooLarge", "a" * (MAX_CHARACTERS + 1)], []], ()),
        (bytes, ["value", True, []], ()),
        (Fraction, ["value", [1, 0], []], ()),
        (Fraction, ["value", [1, 2, 3], []], ()),
        (tuple[int, ...], ["value", True, [7]], (bytes(7),)),
        (tuple[str, ...], ["value", "text", []], ()),
        (Point, ["value", [1], []], ()),
        (Point, ["value", {"x": 1, "y": 2.0}, []], ()),
        (PixelArray, ["value", ["uint8", 2, 2], [3]], (bytes(3),)),
        (PixelArray, ["value", ["uint8", -1, -3], [3]], (bytes(3),)),
        (PixelArray, ["value", ["object", 1], [8]], (bytes(8),)),
        (PixelArray, ["value", ["uint16", 2**62, 4], [0]], ()),
        (PixelArray, ["value", [["uint8"], 1], [1]], (b"x",)),
        (PixelArray, ["value", ["uint8", 1, 1, 1, 1], [1]], (b"x",)),
        (int, ["error", ["ImageTooLarge", "text"], [1]], (b"x",)),
        (int, ["end", None, [1]], (b"x",)),
        (int, ["error", "SystemExit", "text"], ()),
        (int, ["error", "Overloaded", "text"], ()),
        (int, ["error", ["ImageTooLarge"], "text"], ()),
        (int, ["error", "ImageTooLarge", 7], ()),
    ],
)
def test_messages_that_are_not_as_expected_are_refused(transfer, returns, text, buffers):
    with pytest.raises(InvalidMessage):
        transfer(send_parts, text, *buffers, returns=returns)


def test_a_shape_of_very_many_sides_is_refused_before_they_are_multiplied(transfer):
    text = ["value", ["uint8", *[2**62] * 45_000], [1]]
    began = time.process_time()
    with pytest.raises(InvalidMessage, match="not of pixels"):
        transfer(send_parts, text, b"x", returns=PixelArray)
    assert time.process_time() - began < 1


def test_a_text_that_is_too_long_is_refused_before_it_is_received(ends):
    ends[1].sendall(LENGTH.pack(MAX_TEXT_BYTES + 1))
    with pytest.raises(InvalidMessage, match="1000001 bytes"):
        receive(ends[0], ExpectedAnswer(int, 0), time.monotonic() + 10)


def test_a_value_that_the_check_refuses_is_refused(transfer):
    def check(value):
        raise errors.ImageTooLarge(f"Image must be small. Received: {value}")

    with pytest.raises(InvalidMessage, match="must be small. Received: 7"):
        transfer(send_value, int, 7, check=check)


def test_an_incomplete_message_times_out_at_the_deadline(ends):
    ends[1].sendall(LENGTH.pack(100) + b"[")
    with pytest.raises(TimeoutError):
        receive(ends[0], ExpectedAnswer(int, 0), time.monotonic() + 0.1)


def test_a_message_that_breaks_off_raises_an_end_of_file(ends):
    ends[1].sendall(LENGTH.pack(100) + b"[")
    ends[1].shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        receive(ends[0], ExpectedAnswer(int, 0), time.monotonic() + 10)
