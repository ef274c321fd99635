"""Files to FFmpeg's containers, with every door closed but that of the file itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from core.errors import UnreadableClip, UnsupportedClip
from core.video.containers import CONTAINERS, sniff
from core.video.structure import refers_elsewhere

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
