"""The packets of all parts behind each other, and beside them what went with the video.

Videos of frames that come from no video: of an animation, or out of a pipe.
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
from core.files import atomic_write
from core.media.medium import Frame, Report
from core.video.container import CONTAINERS, MKV, MOV, MP4, decoding_times, open_clip, video_stream
from core.video.encoder import CODECS, EncoderSettings, open_part, packets_of, write_part
from core.video.probe import copied_streams

NOTE = "Upscaled by a neural network: fine detail is synthetic (algorithmically enhanced)."
COMMENT = "comment"

OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
"""Metadata that would be wrong of another file."""

OF_THE_VIDEO = ("language", "title", "handler_name")
"""Metadata of the video stream that stay right; others tell its size, its encoder."""

FINEST_TIMESCALE = 2**31 - 1

HEARTBEAT = 256
"""Packets after which it is told that all is well."""


@dataclass(frozen=True)
class VideoOutput:
    """The file that is written.

    Attributes:
        kind: one of `core.video.container.FORMATS`.
        codec: of the video, a key of `CODECS`.
        time_base: seconds of a unit of the frames' times.
        has_note: whether it says that its detail is synthetic.
    """

    kind: str
    codec: str
    time_base: Fraction
    has_note: bool


def join_parts(
    parts: Sequence[Path], target: Path, output: VideoOutput, source: Path | None = None
) -> Iterator[int]:
    """Write a clip; yields now and then, and at last, how many frames there are so far.

    Args:
        parts: files of `write_part`, in order; empty ones hold no frames.
        target: the file to write.
        output: of what kind.
        source: the clip whose sound, subtitles, chapters and metadata are taken over.

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
                format=CONTAINERS[output.kind].muxer,
                container_options=muxer_options(output, original),
            )
        )
        describe(container, original, output)
        video = add_video(container, parts[0], original, output)
        others = [] if original is None else add_copies(container, original, output)
        yield from mux(container, video_packets(parts, video, output), others)


def muxer_options(output: VideoOutput, original: InputContainer | None) -> dict[str, str]:
    """Times as they are, and nothing in the file that differs from run to run."""
    options = {"fflags": "bitexact"}
    if output.kind in (MP4, MOV):
        options["movflags"] = "faststart"
        options["video_track_timescale"] = str(output.time_base.denominator)
        options["movie_timescale"] = str(common_timescale(output, original))
    return options


def common_timescale(output: VideoOutput, original: InputContainer | None) -> int:
    """In which the beginnings of all streams can be told: the usual 1000 would round them."""
    bases = [output.time_base]
    if original is not None:
        bases += [s.time_base for s in copied_streams(original) if s.time_base]
    common = math.lcm(*(base.denominator for base in bases))
    return common if common <= FINEST_TIMESCALE else output.time_base.denominator


def describe(
    container: OutputContainer, original: InputContainer | None, output: VideoOutput
) -> None:
    """What the file says of itself."""
    if original is not None:
        kept = {k: v for k, v in original.metadata.items() if k.lower() not in OF_THE_FILE}
        container.metadata.update(kept)
        container.set_chapters(original.chapters())
    if output.has_note:
        said = container.metadata.get(COMMENT)
        container.metadata[COMMENT] = f"{said}\n{NOTE}" if said else NOTE


def add_video(
    container: OutputContainer, part: Path, original: InputContainer | None, output: VideoOutput
) -> VideoStream:
    """The stream of the video; all parts are encoded as the first is."""
    with open_part(part) as first:
        stream = container.add_stream_from_template(first.stream, opaque=True)
    stream.time_base = output.time_base
    if output.kind in (MP4, MOV) and CODECS[output.codec].tag:
        stream.codec_context.codec_tag = CODECS[output.codec].tag
    if original is not None:
        template = video_stream(original)
        metadata = template.metadata
        stream.metadata.update({k: metadata[k] for k in OF_THE_VIDEO if k in metadata})
        stream.disposition = template.disposition
    return stream


def add_copies(
    container: OutputContainer, original: InputContainer, output: VideoOutput
) -> "Iterator[Packet[Stream]]":
    """Streams that go with the video; their packets, as they are and when they are."""
    streams = {}
    for template in copied_streams(original):
        stream = container.add_stream_from_template(template, opaque=True)
        stream.metadata.update(template.metadata)
        stream.disposition = template.disposition
        streams[template.index] = stream
    if output.kind == MKV:
        for attachment in original.streams.attachments:
            container.add_stream_from_template(attachment)
    return copied_packets(original, streams)


def copied_packets(
    original: InputContainer, streams: dict[int, Stream]
) -> "Iterator[Packet[Stream]]":
    """Up to where the file cannot be read any more."""
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
    """Of all parts, with the times of the clip."""
    decoded = iter(decoding_times(list(chain.from_iterable(map(starts_of, parts)))))
    for path in parts:
        with open_part(path) as part:
            check_alike(part.stream, stream)
            for packet, start, duration in packets_of(part):
                packet.stream, packet.time_base = stream, output.time_base
                packet.pts, packet.dts, packet.duration = start, next(decoded), duration
                yield packet


def starts_of(path: Path) -> list[int]:
    with open_part(path) as part:
        return [start for start, _ in part.times]


def check_alike(part: VideoStream, stream: VideoStream) -> None:
    """Raise RuntimeError if a decoder of the one could not go on with the other."""
    ours, first = part.codec_context, stream.codec_context
    if (ours.height, ours.width, ours.extradata) != (first.height, first.width, first.extradata):
        raise RuntimeError("Parts must be encoded alike. Received: some of another encoder.")


def mux(
    container: OutputContainer,
    video: "Iterable[Packet[Any]]",
    others: "Iterable[Packet[Any]]",
) -> Iterator[int]:
    """Write all packets in order of time; frames so far."""
    frames = 0
    for count, packet in enumerate(heapq.merge(video, others, key=decoded_s)):
        frames += packet.stream.type == "video"
        container.mux(packet)
        if count % HEARTBEAT == 0:
            yield frames
    yield frames


def decoded_s(packet: "Packet[Stream]") -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    return (time or 0) * packet.time_base


def encode_alone(
    frames: Iterable[Frame],
    target: Path,
    encoding: EncoderSettings,
    output: VideoOutput,
    report: Report,
) -> None:
    """Write SR frames as a video without sound.

    Args:
        frames: each later than the last, in units of `output.time_base`; alpha is laid
            over white, as in JPEG.
        target: the file, there as a whole or not at all.
        encoding: how.
        output: what kind of file.
        report: told after each frame how many are done.

    Raises:
        ClipTooLarge, UnsupportedClip: if the encoder does not take them.
        UnreadableClip: if there are none.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        write_part(part, frames, encoding, report)
        join_alone([part], target, output)
    finally:
        part.unlink(missing_ok=True)


def join_alone(parts: Sequence[Path], target: Path, output: VideoOutput) -> None:
    """Write the video that the files of `write_part` make, in order.

    Raises:
        UnreadableClip: if there is no frame in any.
    """
    with atomic_write(target) as unfinished:
        for _ in join_parts(parts, unfinished, output):
            pass
