"""Pictures to packets: which encoder, how good, and how fast.

Presets were chosen on 48 frames of 1280 x 720, a pan over a photograph, on one core of
Zen 3 that was busy besides: milliseconds of processor time a frame, the conversion from RGB
included, and what came of it at the usual quality.

    libx264    ultrafast 12, superfast 20, veryfast 16 to 20, medium 34 ms;
               veryfast needs a third of the bits of superfast
    libx265    superfast 34, veryfast 45 ms
    libvpx-vp9 realtime/8 26, good/5 73 ms
    libsvtav1  8 30, 10 17 ms

The network takes several hundred for such a frame.

Keeps encoders from taking the processor away from everything else.

SVT-AV1 gives its threads, and the one that opens it, the highest real-time priority when it
runs as root. What such a thread starts inherits that, and on a machine of two cores nothing
else gets a turn while they work: neither the network nor answers to other requests.

Segments as files: packets of video, and which frames they show.

The file is an MP4 in which frames are numbered instead of timed. Their times stand beside
them, as text, because MP4 would round some.
"""

import contextlib
import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from core.errors import ClipTooLarge, UnsupportedClip
from core.files import atomic_write
from core.media.medium import Frame, Report
from core.picture import Picture
from core.pixels import Uint8Array, flatten_on_white, to_uint8
from core.video.colour import EXACT, MATRICES, THREADS, Colour
from core.video.container import AV1, H264, HEVC, VP9, decoding_times

TASKS = Path("/proc/self/task")
"""Threads of this process, where the system is Linux; elsewhere nothing takes a priority."""


@contextlib.contextmanager
def priority_kept() -> Iterator[None]:
    """Give threads that became real-time ones meanwhile the caller's scheduling back."""
    if not TASKS.exists():
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in TASKS.iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(int(thread.name), policy, parameters)


USUAL_QUALITY = 75

LARGEST_SIDE = 16_384
"""Pixels, of what the encoders take."""

LAST_QUALITY = 100
"""The best; 1 is the worst."""


class Codec(NamedTuple):
    """How a codec is used.

    Attributes:
        encoder: as FFmpeg calls it.
        worst: its constant rate factor at quality 1.
        best: at quality 100.
        options: of the encoder. One thread, and nothing that depends on the machine: the
            same frames make the same packets.
        least_side: of a frame, px, that it takes.
        tag: by which players know it in MP4; "" for FFmpeg's own choice.
    """

    encoder: str
    worst: float
    best: float
    options: dict[str, str]
    least_side: int = 1
    tag: str = ""

    def rate_factor(self, quality: int) -> float:
        share = (quality - 1) / (LAST_QUALITY - 1)
        return round(self.worst + share * (self.best - self.worst), 1)


STEADY = {"x264-params": "asm=avx"} if platform.machine() in ("x86_64", "AMD64") else {}
"""x264 with the AVX-512 instructions that it would choose by itself makes other packets of the
same frames from run to run. These give the same ones as AVX2, and as SSSE3, and every x86
processor that TensorFlow runs on has them."""

CODECS = {
    H264: Codec("libx264", 48, 8, {"preset": "veryfast", "profile": "high"} | STEADY),
    HEVC: Codec(
        "libx265",
        48,
        10,
        {
            "preset": "superfast",
            "x265-params": "pools=none:frame-threads=1:open-gop=0:info=0:log-level=none",
        },
        least_side=64,  # x265 4.1 writes beyond its memory for frames of less than one block
        tag="hvc1",  # the only one that Apple's players take
    ),
    VP9: Codec("libvpx-vp9", 60, 12, {"deadline": "realtime", "cpu-used": "8", "b": "0"}),
    AV1: Codec("libsvtav1", 60, 12, {"preset": "9", "svtav1-params": "lp=1:irefresh-type=2"}),
}


@dataclass(frozen=True)
class EncoderSettings:
    """How frames are encoded.

    Attributes:
        codec: a key of `CODECS`.
        quality: from 1 to 100.
        rate: frames a second, on the average; when each is shown is told apart from that.
        aspect: width of a pixel by its height.
        colour: what is to be said of the colours, and done to them.
    """

    codec: str
    quality: int
    rate: Fraction
    aspect: Fraction
    colour: Colour


class EncodedPacket(NamedTuple):
    """A packet, and the number of the frame that it shows, in order of decoding."""

    packet: "Packet[VideoStream]"
    number: int


def encode(
    container: OutputContainer, frames: Iterable[Picture], encoding: EncoderSettings
) -> Iterator[EncodedPacket]:
    """Encode frames as a stream of its own, which refers to nothing before or after it.

    Args:
        container: to which the stream is added; no packet is written to it.
        frames: SR pictures of one size; alpha is laid over white.
        encoding: how.

    Raises:
        ClipTooLarge: if the encoder takes no frames of this size.
        UnsupportedClip: if it does not take them for another reason.
    """
    stream, to_frame = None, PictureToFrame(encoding.colour)
    for number, picture in enumerate(frames):
        if stream is None:
            stream = add_stream(container, picture.height, picture.width, encoding)
        frame = to_frame(picture)
        frame.pts, frame.time_base = number, 1 / encoding.rate
        yield from numbered(stream.encode(frame), encoding.rate)
    if stream is not None:
        yield from numbered(stream.encode(None), encoding.rate)


def numbered(packets: "Iterable[Packet[VideoStream]]", rate: Fraction) -> Iterator[EncodedPacket]:
    for packet in packets:
        yield EncodedPacket(packet, round((packet.pts or 0) * packet.time_base * rate))


def add_stream(
    container: OutputContainer, height: int, width: int, encoding: EncoderSettings
) -> VideoStream:
    codec = CODECS[encoding.codec]
    check_encodable(height, width, codec.least_side)
    os.environ.setdefault("SVT_LOG", "1")  # errors only; it has no other switch
    crf = f"{codec.rate_factor(encoding.quality):g}"
    stream = cast(
        VideoStream,
        container.add_stream(
            codec.encoder, rate=encoding.rate, options=codec.options | {"crf": crf}
        ),
    )
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    context, colour = stream.codec_context, encoding.colour
    context.thread_count = THREADS
    context.time_base = 1 / encoding.rate
    context.sample_aspect_ratio = encoding.aspect
    context.colorspace, context.color_range = colour.matrix, colour.range
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer
    try:
        with priority_kept():
            context.open()
    except FFmpegError as error:
        raise UnsupportedClip(
            f"Frames must be such that the encoder of {encoding.codec} takes them. "
            f"Received: {width} x {height} pixels."
        ) from error
    return stream


def check_encodable(height: int, width: int, least_side: int) -> None:
    """Raise ClipTooLarge or UnsupportedClip for frames, SR px, that an encoder does not take."""
    if min(height, width) < least_side:
        raise UnsupportedClip(
            f"Upscaled frames must be at least {least_side} pixels wide and high for this codec. "
            f"Received: {width} x {height} pixels."
        )
    if max(height, width) > LARGEST_SIDE:
        raise ClipTooLarge(
            f"Upscaled frames must be at most {LARGEST_SIDE} pixels wide and high. "
            f"Received: {width} x {height} pixels."
        )


class PictureToFrame:
    """Makes frames of pictures, as encoders take them.

    Args:
        colour: what they will mean.
        pixel_format: of the frames, as FFmpeg calls it.
    """

    def __init__(self, colour: Colour, pixel_format: str = "yuv420p") -> None:
        self._colour, self._format = colour, pixel_format
        self._reformatter = VideoReformatter()

    def __call__(self, picture: Picture) -> VideoFrame:
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(opaque_rgb(picture), "rgb24"),
            format=self._format,
            dst_colorspace=MATRICES[self._colour.matrix],
            dst_color_range=self._colour.range,
            interpolation=EXACT,
            threads=THREADS,
        )


def opaque_rgb(picture: Picture) -> Uint8Array:
    """(H, W, 3) uint8, what is transparent laid over white."""
    if picture.alpha is None:
        return to_uint8(picture.pixels)
    return flatten_on_white(to_uint8(picture.pixels), to_uint8(picture.alpha))


TIMES = "comment"
"""In the metadata of a part: start and duration of each frame, in the clip's units."""

EXACTLY = {"fflags": "bitexact", "use_editlist": "0"}
"""No name of a library, no date, and no time but those that are given."""


class SegmentPart(NamedTuple):
    """A part that has been opened.

    Attributes:
        container: the file.
        stream: of video.
        times: start and duration of the frame of each packet.
    """

    container: InputContainer
    stream: VideoStream
    times: list[tuple[int, int]]


def write_part(
    target: Path, frames: Iterable[Frame], encoding: EncoderSettings, report: Report
) -> None:
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
    with atomic_write(target) as unfinished:
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
    packets: list[EncodedPacket],
    times: list[tuple[int, int]],
    encoding: EncoderSettings,
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
def open_part(path: Path) -> Iterator[SegmentPart]:
    """A part as `write_part` has written it, one that is not empty."""
    with av.open(path, "r", format="mov") as container:
        times = [(start, duration) for start, duration in json.loads(container.metadata[TIMES])]
        yield SegmentPart(container, container.streams.video[0], times)


def packets_of(part: SegmentPart) -> "Iterator[tuple[Packet[VideoStream], int, int]]":
    """Each packet with start and duration of its frame, in order of decoding."""
    packets = (packet for packet in part.container.demux(part.stream) if packet.size)
    for packet, (start, duration) in zip(packets, part.times, strict=True):
        yield packet, start, duration
