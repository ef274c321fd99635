"""Segments as files: packets of video, and which frames they show.

The file is an MP4 in which frames are numbered instead of timed. Their times stand beside
them, as text, because MP4 would round some.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from core.clips import Frame
from core.files import whole_file
from core.media import Report
from core.picture import Picture
from core.video.encoding import Encoded, Encoding, encode
from core.video.times import decoding_times

TIMES = "comment"
"""In the metadata of a part: start and duration of each frame, in the clip's units."""

EXACTLY = {"fflags": "bitexact", "use_editlist": "0"}
"""No name of a library, no date, and no time but those that are given."""


class Part(NamedTuple):
    """A part that has been opened.

    Attributes:
        container: the file.
        stream: of video.
        times: start and duration of the frame of each packet.
    """

    container: InputContainer
    stream: VideoStream
    times: list[tuple[int, int]]


def write_part(target: Path, frames: Iterable[Frame], encoding: Encoding, report: Report) -> None:
    """Encode frames into a file, which is there as a whole or not at all.

    Without any frame the file is empty.

    Args:
        target: where.
        frames: SR frames, each later than the last.
        encoding: how.
        report: told after each frame how many are done.

    Raises:
        ClipTooLarge, UnsupportedClip: if the encoder does not take them.
    """
    with whole_file(target) as unfinished:
        times: list[tuple[int, int]] = []
        with av.open(unfinished, "w", format="mp4", container_options=EXACTLY) as container:
            packets = list(encode(container, _told(frames, times, report), encoding))
            if packets:
                _mux(container, packets, times, encoding)
        if not packets:
            unfinished.write_bytes(b"")


def _told(
    frames: Iterable[Frame], times: list[tuple[int, int]], report: Report
) -> Iterator[Picture]:
    for frame in frames:
        times.append((frame.start, frame.duration))
        yield frame.picture
        report(len(times))


def _mux(
    container: OutputContainer,
    packets: list[Encoded],
    times: list[tuple[int, int]],
    encoding: Encoding,
) -> None:
    """Write packets whose times are the numbers of their frames."""
    numbers = [encoded.number for encoded in packets]
    container.metadata[TIMES] = json.dumps([times[number] for number in numbers])
    for encoded, decoded in zip(packets, decoding_times(numbers), strict=True):
        packet = encoded.packet
        packet.time_base = 1 / encoding.rate
        packet.pts, packet.dts, packet.duration = encoded.number, decoded, 1
        container.mux(packet)


@contextmanager
def open_part(path: Path) -> Iterator[Part]:
    """A part as `write_part` has written it, one that is not empty."""
    with av.open(path, "r", format="mov") as container:
        times = [(start, duration) for start, duration in json.loads(container.metadata[TIMES])]
        yield Part(container, container.streams.video[0], times)


def packets_of(part: Part) -> "Iterator[tuple[Packet[VideoStream], int, int]]":
    """Each packet with start and duration of its frame, in order of decoding."""
    packets = (packet for packet in part.container.demux(part.stream) if packet.size)
    for packet, (start, duration) in zip(packets, part.times, strict=True):
        yield packet, start, duration
