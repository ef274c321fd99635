"""Container files: detect the format, check the file, open it safely, decode its frames.

The format is detected from the content, never from the file name. FFmpeg is restricted so
that a file cannot make it open anything else.

Source: ISO/IEC 14496-12, sec. 4.2 and 8.7.2; RFC 8794, sec. 4 to 6; RFC 9559, sec. 5.1.
"""

import io
import re
from collections.abc import Iterable, Iterator
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
CODECS = (H264, HEVC, VP9, AV1)

MP4, MOV, WEBM, MKV = "mp4", "mov", "webm", "mkv"


class Container(NamedTuple):
    """A container format.

    Attributes:
        name: name for people.
        suffix: file name suffix.
        mimetype: media type.
        demuxer: FFmpeg's demuxer; no other may read the file.
        muxer: FFmpeg's muxer.
        codecs: video codecs that are written, the default first.
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
"""Output formats of videos, as values of `OutputOptions.format`."""

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv")
"""Suffixes of files that are probably videos, in lower case."""

SNIFFED_BYTES = 64
FIRST_BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}
"""Boxes that a QuickTime or MP4 file may begin with."""

PICTURE_BRANDS = {
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
"""Brands of files that look like MP4 but hold pictures."""

QUICKTIME_BRAND = b"qt  "
EBML_ID = b"\x1a\x45\xdf\xa3"
DOC_TYPE = re.compile(rb"\x42\x82[\x81-\xff](webm|matroska)", re.DOTALL)

SEGMENT_ID = b"\x18\x53\x80\x67"
ID_BYTES = 4

MAX_MOOV_BYTES = 64_000_000
"""Bytes of a `moov` box that are searched."""

DATA_REFERENCE = re.compile(rb"dref.{4}\0{3}.{5}(?:url |urn |alis).{3}(.)", re.DOTALL)
"""Matches a data reference up to the last byte of its flags. The lowest bit of that byte says
that the data is in the same file."""

RESTRICTIONS = {"protocol_whitelist": "", "enable_drefs": "0", "use_absolute_path": "0"}
"""FFmpeg options that prevent a file from opening other files. No protocol is allowed, neither
for playlists, which have no demuxer here, nor for data references of QuickTime."""

MAX_REASON_LENGTH = 200
"""Characters of FFmpeg's message that are passed on; it may quote the file."""

QUOTED_BYTES = 8

DECODER_THREADS = 1
"""The network uses the cores, and each thread would hold frames of its own."""


def sniff(path: Path) -> str | None:
    """Detect the container format from the first bytes; None if it is none of `FORMATS`."""
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    if head.startswith(EBML_ID):
        doc_type = DOC_TYPE.search(head)
        return MKV if doc_type is None or doc_type[1] == b"matroska" else WEBM
    if head[4:8] not in FIRST_BOXES or head[8:12] in PICTURE_BRANDS:
        return None
    is_quicktime = head[4:8] != b"ftyp" or head[8:12] == QUICKTIME_BRAND
    return MOV if is_quicktime else MP4


class Mp4Box(NamedTuple):
    """Type and byte range of a box in an MP4 or QuickTime file."""

    type: bytes
    start: int
    end: int


def missing_bytes(path: Path, file_format: str) -> int:
    """Return how many bytes a file is shorter than it declares; 0 if it declares no length.

    Args:
        path: file to check.
        file_format: its format, one of `FORMATS`.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if CONTAINERS[file_format].demuxer == "mov":
            end = max((box.end for box in top_level_boxes(file, size)), default=0)
        else:
            end = matroska_end(file)
    return max(0, end - size)


def top_level_boxes(file: IO[bytes], size: int) -> Iterator[Mp4Box]:
    """Yield the boxes of an MP4 file that are not inside another box."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        length, name = int.from_bytes(file.read(4)), file.read(4)
        if length == 1:
            length = int.from_bytes(file.read(8))
        if length == 0:  # the box extends to the end of the file
            length = size - start
        if length < 8:  # not a box
            return
        yield Mp4Box(name, start, start + length)
        start += length


def matroska_end(file: IO[bytes]) -> int:
    """Return where the segment of a Matroska file ends; 0 if the file leaves that open."""
    file.seek(ID_BYTES)
    file.seek(read_ebml_size(file) or 0, io.SEEK_CUR)
    if file.read(ID_BYTES) != SEGMENT_ID:
        return 0
    length = read_ebml_size(file)
    return 0 if length is None else file.tell() + length


def read_ebml_size(file: IO[bytes]) -> int | None:
    """Read a size of 1 to 8 bytes; its leading zero bits tell how many. None if unknown."""
    first = int.from_bytes(file.read(1))
    length = 9 - first.bit_length()
    if length > 8:
        return None
    bits = 7 * length
    size = int.from_bytes(bytes([first]) + file.read(length - 1)) & (2**bits - 1)
    return None if size == 2**bits - 1 else size


def has_external_data(path: Path) -> bool:
    """Return whether an MP4 or QuickTime file refers to samples in other files."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        for box in list(top_level_boxes(file, size)):
            if box.type == b"moov":
                file.seek(box.start)
                moov = file.read(min(box.end - box.start, MAX_MOOV_BYTES))
                return any(not flags[0] & 1 for flags in DATA_REFERENCE.findall(moov))
    return False


@contextmanager
def open_clip(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file; provide the container and its video stream, not yet decoded.

    Raises:
        UnreadableClip: if the file is damaged, or no clip. FFmpeg errors in the body of the
            `with` statement raise it too.
        UnsupportedClip: if there is no video stream that can be decoded, or its data is in
            other files.
    """
    file_format = sniff(path)
    if file_format is None:
        raise UnreadableClip(
            f"Clip must be an MP4, MOV, WebM or MKV file. Received: {_quote_head(path)}."
        )
    demuxer = CONTAINERS[file_format].demuxer
    if demuxer == "mov" and has_external_data(path):
        raise UnsupportedClip(
            "Clip must have its frames in it. Received: one that refers to other files."
        )
    options = {
        name: value
        for name, value in RESTRICTIONS.items()
        if demuxer == "mov" or name == "protocol_whitelist"
    }
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
    """Turn FFmpeg errors in the body into UnreadableClip; MemoryError passes through."""
    try:
        yield
    except MemoryError:
        raise
    except FFmpegError as error:
        reason = (error.strerror or type(error).__name__)[:MAX_REASON_LENGTH]  # names no path
        raise UnreadableClip(f"Clip must be an undamaged file. Received: {reason}.") from error


def video_stream(container: InputContainer) -> VideoStream:
    """Return the video stream of a file, ignoring cover pictures.

    Raises:
        UnsupportedClip: if there is none, or none that can be decoded.
    """
    videos = [stream for stream in container.streams.video if not is_cover(stream)]
    if not videos:
        raise UnsupportedClip("Clip must have a video stream. Received: a file without any.")
    decodable = [stream for stream in videos if stream.codec_context is not None]
    if not decodable:
        raise UnsupportedClip("Clip must be of a known codec. Received: one of an unknown codec.")
    return next((s for s in decodable if s.disposition & s.disposition.default), decodable[0])


def is_cover(stream: VideoStream) -> bool:
    """Return whether a stream is a cover picture or a thumbnail."""
    disposition = stream.disposition
    return bool(disposition & (disposition.attached_pic | disposition.timed_thumbnails))


def _quote_head(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        return f"{size} bytes that begin with {file.read(QUOTED_BYTES)!r}" if size else "0 bytes"


class TimedFrame(NamedTuple):
    """A decoded frame, and its start in units of its stream's time base."""

    frame: VideoFrame
    start: int


def decoded_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield the frames from the current position on, in display order.

    Frames that are too damaged to be decoded are left out.
    """
    yield from decoded_packets(stream, readable_packets(container, stream))


def decoded_packets(
    stream: VideoStream, packets: "Iterable[Packet[VideoStream]]"
) -> Iterator[VideoFrame]:
    """Yield the frames of packets; see `decoded_frames`."""
    if not stream.codec_context.is_open:
        stream.codec_context.thread_count = DECODER_THREADS
    for packet in packets:
        if packet.size and not packet.is_corrupt:
            yield from _decode(stream, packet)
    yield from _decode(stream, None)


def timed_frames(container: InputContainer, stream: VideoStream, step: int) -> Iterator[TimedFrame]:
    """Yield all frames of a stream whose packets have no times; starts always ascend.

    Args:
        container: container at its beginning.
        stream: its video stream.
        step: time units between two frames without timestamps.
    """
    last = -step
    for frame in decoded_frames(container, stream):
        last = last + step if frame.pts is None or frame.pts <= last else frame.pts
        yield TimedFrame(frame, last)


def readable_packets(
    container: InputContainer, stream: VideoStream
) -> Iterator["Packet[VideoStream]"]:
    """Yield packets up to the place where the file becomes unreadable."""
    try:
        yield from container.demux(stream)
    except MemoryError:
        raise
    except FFmpegError:
        return


def _decode(stream: VideoStream, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
    """Return the frames that a packet completes; None returns the buffered ones."""
    try:
        return stream.codec_context.decode(packet)
    except MemoryError:
        raise
    except FFmpegError:
        return []
