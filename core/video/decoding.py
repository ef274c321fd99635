"""Packets to decoded frames, in the order in which they are shown."""

from collections.abc import Iterator
from typing import NamedTuple

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

THREADS = 1
"""To decode: the cores are the network's, and each thread would hold frames of its own."""


class Timed(NamedTuple):
    """A decoded frame, and when it is shown in units of its stream's time."""

    frame: VideoFrame
    start: int


def decoded_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """All frames from here on; those that are too damaged to be decoded are left out."""
    if not stream.codec_context.is_open:
        stream.codec_context.thread_count = THREADS
    for packet in readable_packets(container, stream):
        if packet.size and not packet.is_corrupt:
            yield from _decoded(stream, packet)
    yield from _decoded(stream, None)


def readable_packets(
    container: InputContainer, stream: VideoStream
) -> Iterator["Packet[VideoStream]"]:
    """Packets up to where the file cannot be read any more."""
    try:
        yield from container.demux(stream)
    except MemoryError:
        raise
    except FFmpegError:
        return


def _decoded(stream: VideoStream, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
    """The frames that become ready by a packet, or without any more."""
    try:
        return stream.codec_context.decode(packet)
    except MemoryError:
        raise
    except FFmpegError:
        return []


def timed_frames(container: InputContainer, stream: VideoStream, step: int) -> Iterator[Timed]:
    """All frames of a stream whose packets do not tell their times, each later than the last.

    Args:
        container: at its beginning.
        stream: of it.
        step: units of time from a frame to the next, where nothing is told.
    """
    last = -step
    for frame in decoded_frames(container, stream):
        last = last + step if frame.pts is None or frame.pts <= last else frame.pts
        yield Timed(frame, last)
