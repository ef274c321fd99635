"""Part files: write the encoded packets of a segment, and join the parts to a video.

A part file is an MP4 whose timestamps are frame numbers. The real times are stored beside them
as text, because MP4 would round some of them.

Joining copies packets without encoding them again. Sound, subtitles, chapters, attachments and
metadata come from the source file.
"""

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from core.errors import UnreadableClip
from core.files import atomic_write
from core.media.medium import Frame, Report
from core.picture import Picture
from core.video.container import CONTAINERS, MKV, MOV, MP4, open_clip, video_stream
from core.video.encoder import CODEC_SETTINGS, EncodedPacket, EncoderSettings, encode
from core.video.probe import copied_streams

TIMES_KEY = "comment"
"""Metadata key of a part file for the start and duration of each frame, in the clip's units."""

PART_OPTIONS = {"fflags": "bitexact", "use_editlist": "0"}
"""Muxer options that leave out library names and dates, and keep the given timestamps."""

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


class SegmentPart(NamedTuple):
    """An open part file.

    Attributes:
        container: the file.
        stream: its video stream.
        times: start and duration of the frame of each packet.
    """

    container: InputContainer
    stream: VideoStream
    times: list[tuple[int, int]]


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
        with atomic_write(target) as unfinished:
            for _ in join_parts([part], unfinished, output):
                pass
    finally:
        part.unlink(missing_ok=True)


def write_part(
    target: Path, frames: Iterable[Frame], settings: EncoderSettings, report: Report
) -> None:
    """Encode frames to a part file, which appears once it is complete.

    Without any frame the file is empty.

    Args:
        target: file to write.
        frames: SR frames with ascending times.
        settings: how to encode them.
        report: called after each frame with the number of finished frames.

    Raises:
        ClipTooLarge, UnsupportedClip: if the encoder does not accept the frames.
    """
    with atomic_write(target) as unfinished:
        times: list[tuple[int, int]] = []
        with av.open(unfinished, "w", format="mp4", container_options=PART_OPTIONS) as container:
            pictures = _record_times(frames, times, report)
            packets = list(encode(container, pictures, settings))
            if packets:
                _mux_part(container, packets, times, settings)
        if not packets:
            unfinished.write_bytes(b"")


def _record_times(
    frames: Iterable[Frame], times: list[tuple[int, int]], report: Report
) -> Iterator[Picture]:
    """Yield the pictures; append the start and duration of each frame to `times`."""
    for frame in frames:
        times.append((frame.start, frame.duration))
        yield frame.picture
        report(len(times))


def _mux_part(
    container: OutputContainer,
    packets: list[EncodedPacket],
    times: list[tuple[int, int]],
    settings: EncoderSettings,
) -> None:
    """Write the packets with frame numbers as timestamps."""
    numbers = [encoded.number for encoded in packets]
    container.metadata[TIMES_KEY] = json.dumps([times[number] for number in numbers])
    for encoded, dts in zip(packets, decoding_times(numbers), strict=True):
        packet = encoded.packet
        packet.time_base = 1 / settings.rate
        packet.pts, packet.dts, packet.duration = encoded.number, dts, 1
        container.mux(packet)


@contextmanager
def open_part(path: Path) -> Iterator[SegmentPart]:
    """Open a part file that is not empty."""
    with av.open(path, "r", format="mov") as container:
        times = [(start, duration) for start, duration in json.loads(container.metadata[TIMES_KEY])]
        yield SegmentPart(container, container.streams.video[0], times)


def timed_packets(part: SegmentPart) -> "Iterator[tuple[Packet[VideoStream], int, int]]":
    """Yield each packet with the start and duration of its frame, in decoding order."""
    packets = (packet for packet in part.container.demux(part.stream) if packet.size)
    for packet, (start, duration) in zip(packets, part.times, strict=True):
        yield packet, start, duration


def decoding_times(starts: Sequence[int]) -> list[int]:
    """Return ascending decoding times (dts), none later than the frame's start (pts).

    The times that encoders give are valid within one segment only: in joined segments they
    would go backwards.

    Args:
        starts: start of the frame of each packet, in decoding order, all different.

    >>> decoding_times([0, 3, 1, 2, 4])  # the frame at 3 is decoded before those that need it
    [-1, 0, 1, 2, 3]
    """
    if not starts:
        return []
    ordered = sorted(starts)
    position = {start: index for index, start in enumerate(ordered)}
    delay = max(index - position[start] for index, start in enumerate(starts))
    step = ordered[1] - ordered[0] if len(ordered) > 1 else 1
    before = [ordered[0] - step * count for count in range(delay, 0, -1)]
    return (before + ordered)[: len(starts)]


def join_parts(
    parts: Sequence[Path], target: Path, output: VideoOutput, source: Path | None = None
) -> Iterator[int]:
    """Write a video from part files; yield the frame count at intervals and at the end.

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
        keep_aspect(stream, first.stream)
    stream.time_base = output.time_base
    if output.format in (MP4, MOV) and CODEC_SETTINGS[output.codec].tag:
        stream.codec_context.codec_tag = CODEC_SETTINGS[output.codec].tag
    if original is not None:
        template = video_stream(original)
        metadata = template.metadata
        stream.metadata.update({key: metadata[key] for key in VIDEO_KEYS if key in metadata})
        stream.disposition = template.disposition
    return stream


def keep_aspect(stream: VideoStream, part: VideoStream) -> None:
    """Copy the shape of pixels that are not square.

    H.264 and HEVC state it in their packets, but VP9 and AV1 leave it to the file.
    """
    aspect = part.sample_aspect_ratio
    if aspect not in (None, 1):
        stream.codec_context.sample_aspect_ratio = aspect


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


def max_updates(frames: int, source_bytes: int) -> int:
    """Return how many counts `join_parts` yields at most.

    Args:
        frames: number of frames in all parts.
        source_bytes: size of the clip whose other packets are copied; each has at least a byte.
    """
    return (frames + source_bytes) // PACKETS_PER_UPDATE + 2


def packet_seconds(packet: "Packet[Stream]") -> Fraction:
    """Return the time of a packet, in seconds: the decoding time if there is one."""
    time = packet.dts if packet.dts is not None else packet.pts
    return (time or 0) * packet.time_base
