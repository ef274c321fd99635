"""Files to FFmpeg's containers, with every door closed but that of the file itself.

Which files are taken and written, known by what is in them and never by their names.

The outermost structure of a file: how long it should be, and whether all of it is in it.

Source: ISO/IEC 14496-12, sec. 4.2 and 8.7.2; RFC 8794, sec. 4 to 6; RFC 9559, sec. 5.1.

When packets are decoded, so that their frames can be shown when they should.

Packets to decoded frames, in the order in which they are shown.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import UnreadableClip, UnsupportedClip

H264, HEVC, VP9, AV1 = "h264", "hevc", "vp9", "av1"

MP4, MOV, WEBM, MKV = "mp4", "mov", "webm", "mkv"


class Container(NamedTuple):
    """A kind of file.

    Attributes:
        name: as people write it.
        suffix: of its files.
        mimetype: likewise.
        demuxer: what reads it, as FFmpeg calls it; nothing else is asked to.
        muxer: what writes it.
        codecs: of video that it holds, the usual one first.
    """

    name: str
    suffix: str
    mimetype: str
    demuxer: str
    muxer: str
    codecs: tuple[str, ...]


CONTAINERS = {
    MP4: Container("MP4", ".mp4", "video/mp4", "mov", "mp4", (H264, HEVC, VP9, AV1)),
    MOV: Container("MOV", ".mov", "video/quicktime", "mov", "mov", (H264, HEVC)),
    WEBM: Container("WebM", ".webm", "video/webm", "matroska", "webm", (VP9, AV1)),
    MKV: Container(
        "MKV", ".mkv", "video/x-matroska", "matroska", "matroska", (H264, HEVC, VP9, AV1)
    ),
}
FORMATS = tuple(CONTAINERS)
"""That a clip may be written in, as `ClipWish.format` has them."""

CODECS = (H264, HEVC, VP9, AV1)

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv")
"""Of files that are likely to be clips, in lower case."""

SNIFFED_BYTES = 64
BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}
"""With which files of QuickTime and MP4 begin."""

PICTURES = {
    b"avif",
    b"avis",
    b"mif1",
    b"msf1",
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
}
"""Brands of files that look like MP4 and hold pictures."""

QUICKTIME = b"qt  "
EBML = b"\x1a\x45\xdf\xa3"
DOCUMENT = re.compile(rb"\x42\x82[\x81-\xff](webm|matroska)", re.DOTALL)


def sniff(path: Path) -> str | None:
    """Which of `FORMATS` a file is by its first bytes; None if it is none of them."""
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    if head.startswith(EBML):
        document = DOCUMENT.search(head)
        return MKV if document is None or document[1] == b"matroska" else WEBM
    if head[4:8] not in BOXES or head[8:12] in PICTURES:
        return None
    is_quicktime = head[4:8] != b"ftyp" or head[8:12] == QUICKTIME
    return MOV if is_quicktime else MP4


SEGMENT = b"\x18\x53\x80\x67"
ID_BYTES = 4

LARGEST_INDEX = 64_000_000
"""Bytes of a `moov` box that are searched."""

REFERENCE = re.compile(rb"dref.{4}\0{3}.{5}(?:url |urn |alis).{3}(.)", re.DOTALL)
"""The last byte of a data reference's flags; its lowest bit says that the data is in the file."""


class Mp4Box(NamedTuple):
    """A box of MP4 or QuickTime, by its type and where it begins and ends in the file."""

    type: bytes
    begin: int
    end: int


def missing_bytes(path: Path, kind: str) -> int:
    """By how many bytes a file is shorter than it says; 0 if it is not, or does not say.

    Args:
        path: the file.
        kind: of it, one of `core.video.container.FORMATS`.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if CONTAINERS[kind].demuxer == "mov":
            end = max((box.end for box in boxes(file, size)), default=0)
        else:
            end = end_of_segment(file)
    return max(0, end - size)


def boxes(file: IO[bytes], size: int) -> Iterator[Mp4Box]:
    """Those that are in no other."""
    begin = 0
    while begin + 8 <= size:
        file.seek(begin)
        length, name = int.from_bytes(file.read(4)), file.read(4)
        if length == 1:
            length = int.from_bytes(file.read(8))
        if length == 0:  # as far as the file goes
            length = size - begin
        if length < 8:  # no box
            return
        yield Mp4Box(name, begin, begin + length)
        begin += length


def end_of_segment(file: IO[bytes]) -> int:
    """Of Matroska: where the one element after the header ends; 0 if that is left open."""
    file.seek(ID_BYTES)
    file.seek(read_size(file) or 0, io.SEEK_CUR)
    if file.read(ID_BYTES) != SEGMENT:
        return 0
    length = read_size(file)
    return 0 if length is None else file.tell() + length


def read_size(file: IO[bytes]) -> int | None:
    """A size of 1 to 8 bytes, whose number is in its leading zeros; None if all bits are set."""
    first = int.from_bytes(file.read(1))
    length = 9 - first.bit_length()
    if length > 8:
        return None
    bits = 7 * length
    size = int.from_bytes(bytes([first]) + file.read(length - 1)) & (2**bits - 1)
    return None if size == 2**bits - 1 else size


def refers_elsewhere(path: Path) -> bool:
    """Whether a file of MP4 or QuickTime has samples that are in other files."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        for box in list(boxes(file, size)):
            if box.type == b"moov":
                file.seek(box.begin)
                index = file.read(min(box.end - box.begin, LARGEST_INDEX))
                return any(not flags[0] & 1 for flags in REFERENCE.findall(index))
    return False


CLOSED = {"protocol_whitelist": "", "enable_drefs": "0", "use_absolute_path": "0"}
"""No protocol is left by which a file could make FFmpeg read another: neither a playlist,
which has no demuxer here, nor the data references of QuickTime."""

LONGEST_REASON = 200
"""Characters of what a demuxer says, which may quote the file."""

HEAD_BYTES = 8


@contextmanager
def open_clip(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its video stream, of which nothing has been decoded yet.

    Raises:
        UnreadableClip: if the file is damaged, or no clip; also by what is done within.
        UnsupportedClip: if nothing in it is a video that can be decoded, or it is in
            other files.
    """
    kind = sniff(path)
    if kind is None:
        raise UnreadableClip(
            f"Clip must be an MP4, MOV, WebM or MKV file. Received: {_head(path)}."
        )
    demuxer = CONTAINERS[kind].demuxer
    if demuxer == "mov" and refers_elsewhere(path):
        raise UnsupportedClip(
            "Clip must have its frames in it. Received: one that refers to other files."
        )
    options = {k: v for k, v in CLOSED.items() if demuxer == "mov" or k == "protocol_whitelist"}
    with (
        path.open("rb") as file,
        damage_reported(),
        av.open(
            file, "r", format=demuxer, container_options=options, metadata_errors="replace"
        ) as container,
    ):
        yield container, video_stream(container)


@contextmanager
def damage_reported() -> Iterator[None]:
    """What FFmpeg raises within is UnreadableClip, but for memory that is not there."""
    try:
        yield
    except MemoryError:
        raise
    except FFmpegError as error:
        raise UnreadableClip(
            f"Clip must be an undamaged file. Received: {str(error)[:LONGEST_REASON]}."
        ) from error


def video_stream(container: InputContainer) -> VideoStream:
    """The video of a file; its cover picture is none.

    Raises:
        UnsupportedClip: if there is none, or none that can be decoded.
    """
    videos = [s for s in container.streams.video if not is_cover(s)]
    if not videos:
        raise UnsupportedClip("Clip must have a video stream. Received: a file without any.")
    decoded = [stream for stream in videos if stream.codec_context is not None]
    if not decoded:
        raise UnsupportedClip("Clip must be of a known codec. Received: one of an unknown codec.")
    return next((s for s in decoded if s.disposition & s.disposition.default), decoded[0])


def is_cover(stream: VideoStream) -> bool:
    disposition = stream.disposition
    return bool(disposition & (disposition.attached_pic | disposition.timed_thumbnails))


def _head(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        return f"{size} bytes that begin with {file.read(HEAD_BYTES)!r}" if size else "0 bytes"


def decoding_times(starts: Sequence[int]) -> list[int]:
    """Times of decoding, ascending and never after the time of showing.

    Encoders know theirs only within what they encoded; behind each other, those of two
    segments would go back in time.

    Args:
        starts: when the frame of each packet is shown, in order of decoding, all different.

    >>> decoding_times([0, 3, 1, 2, 4])  # the frame at 3 is decoded before those it is made of
    [-1, 0, 1, 2, 3]
    """
    if not starts:
        return []
    shown = sorted(starts)
    place = {start: index for index, start in enumerate(shown)}
    delay = max(index - place[start] for index, start in enumerate(starts))
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    before = [shown[0] - step * count for count in range(delay, 0, -1)]
    return (before + shown)[: len(starts)]


THREADS = 1
"""To decode: the cores are the network's, and each thread would hold frames of its own."""


class TimedFrame(NamedTuple):
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


def timed_frames(container: InputContainer, stream: VideoStream, step: int) -> Iterator[TimedFrame]:
    """All frames of a stream whose packets do not tell their times, each later than the last.

    Args:
        container: at its beginning.
        stream: of it.
        step: units of time from a frame to the next, where nothing is told.
    """
    last = -step
    for frame in decoded_frames(container, stream):
        last = last + step if frame.pts is None or frame.pts <= last else frame.pts
        yield TimedFrame(frame, last)
