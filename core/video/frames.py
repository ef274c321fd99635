"""Read a range of a clip's frames, and read and write raw frames in pipes.

The frames of a range do not depend on where it starts. Decoding starts at a key frame before the
range. The first frame that comes out shows whether that was early enough. If it is not the
expected one, or is damaged, the previous key frame is tried. This happens with streams that
refresh the picture over several frames.

Pipes carry YUV4MPEG2 (Y4M), which FFmpeg and other programs read and write. PyAV reads the
format. It has one frame rate and does not declare the matrix, so the output uses the matrix of
the input.

Source: yuv4mpeg(5) of MJPEG Tools.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, dropwhile, takewhile
from pathlib import Path
from typing import IO, Protocol

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import UnreadableClip
from core.media.medium import ClipLimits, Frame
from core.picture import Picture
from core.video.colour import Colour, FrameToPicture, Orientation, colour_of
from core.video.container import (
    TimedFrame,
    damage_reported,
    decoded_frames,
    decoded_packets,
    open_clip,
    readable_packets,
    timed_frames,
)
from core.video.encoder import PictureToFrame
from core.video.probe import Probe, check_pixels, rate_of


def read_frames(path: Path, probe: Probe, first: int, stop: int) -> Iterator[Frame]:
    """Yield frames [first, stop), with one in memory at a time.

    Frames that are too damaged to be decoded are left out.

    Raises:
        UnreadableClip: if the file has become unreadable since it was probed.
    """
    to_picture = FrameToPicture(probe.height, probe.width, probe.colour, probe.orientation)
    numbers = {probe.starts[number]: number for number in range(first, stop)}
    for timed in decode_range(path, probe, first, stop):
        number = numbers.pop(timed.start, None)
        if number is not None:
            yield Frame(to_picture.convert(timed.frame), timed.start, probe.duration(number))


def decode_range(path: Path, probe: Probe, first: int, stop: int) -> Iterator[TimedFrame]:
    """Yield the decoded frames whose times lie between those of `first` and `stop` - 1."""
    begin, last = probe.starts[first], probe.starts[stop - 1]
    for key in key_frames_before(probe, begin):
        with open_clip(path) as (container, stream):
            frames = decode_from(container, stream, probe, key)
            wanted = dropwhile(lambda timed: timed.start < begin, frames)
            head = next(wanted, None)
            if key is not None and (head is None or not is_sound(head, begin)):
                continue
            if head is not None:
                yield from takewhile(lambda timed: timed.start <= last, chain([head], wanted))
            return


def key_frames_before(probe: Probe, start: int) -> Iterator[int | None]:
    """Yield the times where decoding may start, nearest first; finally None, the beginning."""
    keys = probe.keys[: bisect_right(probe.keys, start)]
    yield from (key for key in reversed(keys) if key > probe.starts[0])
    yield None


def decode_from(
    container: InputContainer, stream: VideoStream, probe: Probe, key: int | None
) -> Iterator[TimedFrame]:
    """Yield the decoded frames from a key frame on; None starts at the beginning."""
    if probe.is_counted:
        yield from timed_frames(container, stream, probe.step)
        return
    if key is not None:
        container.seek(key, stream=stream)
    for frame in decoded_frames(container, stream):
        if frame.pts is not None:
            yield TimedFrame(frame, frame.pts)


def is_sound(timed: TimedFrame, begin: int) -> bool:
    """Return whether a frame is undamaged and starts at the expected time."""
    return timed.start == begin and not timed.frame.is_corrupt


DEMUXER = "yuv4mpegpipe"

RAW_MAGIC = b"YUV4MPEG2"
"""First bytes of raw frames."""


class Readable(Protocol):
    """What raw frames are read from."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes; fewer only at the end."""


@dataclass(frozen=True)
class RawClip:
    """Frames read from a pipe; you can iterate over them once.

    Attributes:
        frames: LR frames as they arrive; `start` is the frame number.
        height: height of a frame, LR px.
        width: width of a frame, LR px.
        rate: frames per second.
        aspect: width of a pixel divided by its height.
        colour: meaning of the colours.
        find_damage: after the last frame, returns what is wrong with the data, for its owner; None
            if nothing is.
    """

    frames: Iterator[Frame]
    height: int
    width: int
    rate: Fraction
    aspect: Fraction
    colour: Colour
    find_damage: Callable[[], str | None]


class _RawSource:
    """A pipe of raw frames, and how much of it became frames.

    FFmpeg takes a frame that is cut off, and bytes that are no frame, for the end of the data.

    Args:
        file: the pipe.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._received = self._used = self._frames = 0

    def read(self, size: int) -> bytes:
        """Read from the pipe."""
        block = self._file.read(size)
        self._received += len(block)
        return block

    def watch(self, packets: "Iterable[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
        """Pass packets on, each of which is a whole frame."""
        for packet in packets:
            if packet.size and packet.pos is not None:
                self._used, self._frames = packet.pos + packet.size, self._frames + 1
            yield packet

    def find_damage(self) -> str | None:
        """Return what is wrong, if more was read than whole frames."""
        if self._received <= self._used:
            return None
        return (
            "Raw frames must end with a whole frame. "
            f"Received: {self._frames} whole frames, then bytes that are none."
        )


@contextmanager
def read_raw(file: Readable, limits: ClipLimits) -> Iterator[RawClip]:
    """Read frames from a pipe, in this process: the writing program is trusted.

    Raises:
        UnreadableClip: if the data is not YUV4MPEG2, or has no frames.
        UnsupportedClip: if its colours are not supported.
        ClipTooLarge: if frames exceed the limit.
    """
    source = _RawSource(file)
    with damage_reported(), av.open(source, "r", format=DEMUXER) as container:
        stream = container.streams.video[0]
        check_pixels(stream.codec_context.height, stream.codec_context.width, limits)
        yield _open_stream(container, stream, source)


def _open_stream(container: InputContainer, stream: VideoStream, source: _RawSource) -> RawClip:
    decoded = decoded_packets(stream, source.watch(readable_packets(container, stream)))
    first = next(decoded, None)
    if first is None:
        raise UnreadableClip("Clip must have frames. Received: none.")
    return RawClip(
        frames=_to_frames(first, decoded),
        height=first.height,
        width=first.width,
        rate=rate_of(stream),
        aspect=stream.sample_aspect_ratio or Fraction(1),
        colour=colour_of(first).of_pictures,
        find_damage=source.find_damage,
    )


def _to_frames(first: VideoFrame, others: Iterator[VideoFrame]) -> Iterator[Frame]:
    to_picture = FrameToPicture(first.height, first.width, colour_of(first), Orientation())
    yield Frame(to_picture.convert(first), 0, 1)
    del first  # frees its memory while the others are read
    for number, frame in enumerate(others, start=1):
        yield Frame(to_picture.convert(frame), number, 1)


def write_raw(
    file: IO[bytes], frames: Iterable[Picture], rate: Fraction, aspect: Fraction, colour: Colour
) -> None:
    """Write SR frames to a pipe, each as soon as it is ready, as `PictureToFrame` converts them."""
    to_frame = PictureToFrame(colour)
    for number, picture in enumerate(frames):
        frame = to_frame.convert(picture)
        if number == 0:
            file.write(_encode_header(frame, rate, aspect, colour))
        file.write(b"FRAME\n")
        file.write(frame.to_ndarray().tobytes())
        file.flush()


def _encode_header(frame: VideoFrame, rate: Fraction, aspect: Fraction, colour: Colour) -> bytes:
    color_range = "FULL" if colour.is_full else "LIMITED"
    return (
        f"YUV4MPEG2 W{frame.width} H{frame.height} F{rate.numerator}:{rate.denominator} Ip "
        f"A{aspect.numerator}:{aspect.denominator} C420mpeg2 XCOLORRANGE={color_range}\n"
    ).encode()
