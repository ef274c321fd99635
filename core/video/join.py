"""Join part files to a video, and copy the other streams of the source file.

Video packets are copied without being encoded again. Sound, subtitles, chapters, attachments
and metadata come from the source file.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from core.errors import UnreadableClip
from core.files import whole_file
from core.media.medium import Frame, Report
from core.video.container import CONTAINERS, MKV, MOV, MP4, open_clip, video_stream
from core.video.encoder import (
    CODEC_SETTINGS,
    EncoderSettings,
    decoding_times,
    open_part,
    timed_packets,
    write_part,
)
from core.video.probe import copied_streams

NOTE = "Upscaled by a neural network: fine detail is synthetic (algorithmically enhanced)."
COMMENT_KEY = "comment"

SOURCE_ONLY_KEYS = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
"""Metadata of the source file that would be wrong for the output."""

VIDEO_KEYS = ("language", "title", "handler_name")
"""Metadata of the video stream that is copied; the rest describes its size or encoder."""

MAX_TIMESCALE = 2**31 - 1

PACKETS_PER_UPDATE = 256
"""Packets after which the number of frames so far is yielded."""


@dataclass(frozen=True)
class VideoOutput:
    """The video file to write.

    Attributes:
        format: container format, one of `core.video.container.FORMATS`.
        codec: video codec, a key of `CODEC_SETTINGS`.
        time_base: seconds per unit of the frames' times.
        has_note: whether the file says that its detail is synthetic.
    """

    format: str
    codec: str
    time_base: Fraction
    has_note: bool


def write_silent_video(
    frames: Iterable[Frame],
    target: Path,
    settings: EncoderSettings,
    output: VideoOutput,
    report: Report,
) -> None:
    """Write SR frames as a video without sound.

    Args:
        frames: frames with ascending times, in units of `output.time_base`; alpha is blended
            over white, as in JPEG.
        target: file to write; it appears once it is complete.
        settings: how to encode the frames.
        output: what kind of file to write.
        report: called after each frame with the number of finished frames.

    Raises:
        ClipTooLarge, UnsupportedClip: if the encoder does not accept the frames.
        UnreadableClip: if there are no frames.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        write_part(part, frames, settings, report)
        with whole_file(target) as unfinished:
            for _ in join_parts([part], unfinished, output):
                pass
    finally:
        part.unlink(missing_ok=True)


def join_parts(
    parts: Sequence[Path], target: Path, output: VideoOutput, source: Path | None = None
) -> Iterator[int]:
    """Write a video from part files; yield the number of frames so far, now and at the end.

    Args:
        parts: part files in order; empty ones hold no frames.
        target: file to write.
        output: what kind of file to write.
        source: clip whose sound, subtitles, chapters and metadata are copied; None for none.

    Raises:
        UnreadableClip: if there is no frame in any part.
    """
    parts = [part for part in parts if part.stat().st_size]
    if not parts:
        raise UnreadableClip("Clip must have frames that can be decoded. Received: none.")
    with ExitStack() as stack:
        original = None if source is None else stack.enter_context(open_clip(source))[0]
        container = stack.enter_context(
            av.open(
                target,
                "w",
                format=CONTAINERS[output.format].muxer,
                container_options=muxer_options(output, original),
            )
        )
        write_metadata(container, original, output)
        video = add_video(container, parts[0], original, output)
        others = [] if original is None else copy_streams(container, original, output)
        yield from mux(container, video_packets(parts, video, output), others)


def muxer_options(output: VideoOutput, original: InputContainer | None) -> dict[str, str]:
    """Return options that keep times exact and make the output reproducible."""
    options = {"fflags": "bitexact"}
    if output.format in (MP4, MOV):
        options["movflags"] = "faststart"
        options["video_track_timescale"] = str(output.time_base.denominator)
        options["movie_timescale"] = str(common_timescale(output, original))
    return options


def common_timescale(output: VideoOutput, original: InputContainer | None) -> int:
    """Return a timescale that expresses the start of every stream; the usual 1000 rounds them."""
    bases = [output.time_base]
    if original is not None:
        bases += [s.time_base for s in copied_streams(original) if s.time_base]
    common = math.lcm(*(base.denominator for base in bases))
    return common if common <= MAX_TIMESCALE else output.time_base.denominator


def write_metadata(
    container: OutputContainer, original: InputContainer | None, output: VideoOutput
) -> None:
    """Copy metadata and chapters of the source, and add the note about synthetic detail."""
    if original is not None:
        copied = {k: v for k, v in original.metadata.items() if k.lower() not in SOURCE_ONLY_KEYS}
        container.metadata.update(copied)
        container.set_chapters(original.chapters())
    if output.has_note:
        comment = container.metadata.get(COMMENT_KEY)
        container.metadata[COMMENT_KEY] = f"{comment}\n{NOTE}" if comment else NOTE


def add_video(
    container: OutputContainer, part: Path, original: InputContainer | None, output: VideoOutput
) -> VideoStream:
    """Add the video stream, with the encoder parameters of the first part."""
    with open_part(part) as first:
        stream = container.add_stream_from_template(first.stream, opaque=True)
    stream.time_base = output.time_base
    if output.format in (MP4, MOV) and CODEC_SETTINGS[output.codec].tag:
        stream.codec_context.codec_tag = CODEC_SETTINGS[output.codec].tag
    if original is not None:
        template = video_stream(original)
        metadata = template.metadata
        stream.metadata.update({key: metadata[key] for key in VIDEO_KEYS if key in metadata})
        stream.disposition = template.disposition
    return stream


def copy_streams(
    container: OutputContainer, original: InputContainer, output: VideoOutput
) -> "Iterator[Packet[Stream]]":
    """Add the other streams of the source, and return their unchanged packets."""
    streams = {}
    for template in copied_streams(original):
        stream = container.add_stream_from_template(template, opaque=True)
        stream.metadata.update(template.metadata)
        stream.disposition = template.disposition
        streams[template.index] = stream
    if output.format == MKV:
        for attachment in original.streams.attachments:
            container.add_stream_from_template(attachment)
    return copied_packets(original, streams)


def copied_packets(
    original: InputContainer, streams: dict[int, Stream]
) -> "Iterator[Packet[Stream]]":
    """Yield the packets of the copied streams, up to where the file becomes unreadable.

    Args:
        original: the source file.
        streams: output streams by the index of their source stream.
    """
    if not streams:
        return
    try:
        for packet in original.demux():
            if packet.size and not packet.is_corrupt and packet.stream.index in streams:
                packet.stream = streams[packet.stream.index]
                yield packet
    except MemoryError:
        raise
    except FFmpegError:
        return


def video_packets(
    parts: Iterable[Path], stream: VideoStream, output: VideoOutput
) -> "Iterator[Packet[VideoStream]]":
    """Yield the packets of all parts with the times of the clip."""
    dts = iter(decoding_times(list(chain.from_iterable(map(read_starts, parts)))))
    for path in parts:
        with open_part(path) as part:
            check_same_encoding(part.stream, stream)
            for packet, start, duration in timed_packets(part):
                packet.stream, packet.time_base = stream, output.time_base
                packet.pts, packet.dts, packet.duration = start, next(dts), duration
                yield packet


def read_starts(path: Path) -> list[int]:
    """Return the start of the frame of each packet of a part file."""
    with open_part(path) as part:
        return [start for start, _ in part.times]


def check_same_encoding(part: VideoStream, stream: VideoStream) -> None:
    """Raise RuntimeError if one decoder cannot decode both streams in sequence."""
    own, first = part.codec_context, stream.codec_context
    if (own.height, own.width, own.extradata) != (first.height, first.width, first.extradata):
        raise RuntimeError("Parts must be encoded alike. Received: some of another encoder.")


def mux(
    container: OutputContainer,
    video: "Iterable[Packet[Any]]",
    others: "Iterable[Packet[Any]]",
) -> Iterator[int]:
    """Write all packets in order of time; yield the number of video frames so far."""
    frames = 0
    for count, packet in enumerate(heapq.merge(video, others, key=packet_seconds)):
        frames += packet.stream.type == "video"
        container.mux(packet)
        if count % PACKETS_PER_UPDATE == 0:
            yield frames
    yield frames


def packet_seconds(packet: "Packet[Stream]") -> Fraction:
    """Return the time of a packet, in seconds: the decoding time if there is one."""
    time = packet.dts if packet.dts is not None else packet.pts
    return (time or 0) * packet.time_base
