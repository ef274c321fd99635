"""Encode SR frames to video packets: encoders, their settings, pixel conversion.

The presets were chosen on 48 frames of 1280 x 720, a pan over a photograph, at the default
quality, on one busy core of Zen 3. Processor time per frame, conversion from RGB included:

    libx264    ultrafast 12, superfast 20, veryfast 16 to 20, medium 34 ms;
               veryfast needs a third of the bits of superfast
    libx265    superfast 34, veryfast 45 ms
    libvpx-vp9 realtime/8 26, good/5 73 ms
    libsvtav1  8 30, 10 17 ms

The network needs several hundred milliseconds for such a frame.
"""

import contextlib
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from core.errors import ClipTooLarge, UnsupportedClip
from core.picture import Picture
from core.pixels import Uint8Array
from core.video.colour import ACCURATE, MATRICES, THREADS, Colour, over_white, to_8_bits
from core.video.container import AV1, H264, HEVC, VP9

DEFAULT_QUALITY = 75
MAX_QUALITY = 100

LEAST_SIDE = 2
"""Smallest height and width of a frame, px: chroma has one sample for 2 x 2 pixels."""

MAX_SIDE = 16_384
"""Largest height and width that the encoders accept, px."""

THREADS_FOLDER = Path("/proc/self/task")
"""Threads of this process on Linux; elsewhere encoders do not change priorities."""


class Codec(NamedTuple):
    """Encoder of a codec, and how it is configured.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        worst: constant rate factor at quality 1.
        best: constant rate factor at quality 100.
        options: encoder options. They use one thread and nothing that depends on the
            machine, so the same frames make the same packets.
        min_side: smallest height and width, px.
        tag: codec tag by which players recognise the codec in MP4; "" for FFmpeg's choice.
    """

    encoder: str
    worst: float
    best: float
    options: dict[str, str]
    min_side: int = LEAST_SIDE
    tag: str = ""

    def rate_factor(self, quality: int) -> float:
        """Return the constant rate factor for a quality from 1 to 100."""
        share = (quality - 1) / (MAX_QUALITY - 1)
        return round(self.worst + share * (self.best - self.worst), 1)


REPRODUCIBLE_X264 = {"x264-params": "asm=avx"} if platform.machine() in ("x86_64", "AMD64") else {}
"""Options that make x264 deterministic. With the AVX-512 instructions of its own choice, it
makes different packets of the same frames from run to run. AVX gives the same packets as AVX2
and SSSE3, and every x86 processor that TensorFlow runs on has it."""

CODEC_SETTINGS = {
    H264: Codec("libx264", 48, 8, {"preset": "veryfast", "profile": "high"} | REPRODUCIBLE_X264),
    HEVC: Codec(
        "libx265",
        48,
        10,
        {
            "preset": "superfast",
            "x265-params": "pools=none:frame-threads=1:open-gop=0:info=0:log-level=none",
        },
        min_side=64,  # x265 4.1 writes beyond its memory for frames of less than one block
        tag="hvc1",  # the only tag that Apple's players accept
    ),
    VP9: Codec("libvpx-vp9", 60, 12, {"deadline": "realtime", "cpu-used": "8", "b": "0"}),
    AV1: Codec(
        "libsvtav1", 60, 12, {"preset": "9", "svtav1-params": "lp=1:irefresh-type=2"}, min_side=4
    ),
}


@dataclass(frozen=True)
class EncoderSettings:
    """How frames are encoded.

    Attributes:
        codec: a key of `CODEC_SETTINGS`.
        quality: quality from 1 to 100.
        rate: average frames per second; the times of frames are given separately.
        aspect: width of a pixel divided by its height.
        colour: meaning of the colours, to convert to and to declare.
    """

    codec: str
    quality: int
    rate: Fraction
    aspect: Fraction
    colour: Colour


class EncodedPacket(NamedTuple):
    """A packet, and the number of the frame in it; packets come in decoding order."""

    packet: "Packet[VideoStream]"
    number: int


def encode(
    container: OutputContainer, pictures: Iterable[Picture], settings: EncoderSettings
) -> Iterator[EncodedPacket]:
    """Encode pictures as an independent stream, which refers to no frame outside it.

    Args:
        container: the stream is added to it, but no packet is written.
        pictures: SR pictures of one size, converted by `PictureToFrame`.
        settings: how to encode them.

    Raises:
        ClipTooLarge: if the frames are too large for the encoder.
        UnsupportedClip: if the encoder refuses them for another reason.
    """
    stream, to_frame = None, PictureToFrame(settings.colour)
    for number, picture in enumerate(pictures):
        if stream is None:
            stream = add_stream(container, picture.height, picture.width, settings)
        frame = to_frame.convert(picture)
        frame.pts, frame.time_base = number, 1 / settings.rate
        yield from _with_numbers(stream.encode(frame), settings.rate)
    if stream is not None:
        yield from _with_numbers(stream.encode(None), settings.rate)


def _with_numbers(
    packets: "Iterable[Packet[VideoStream]]", rate: Fraction
) -> Iterator[EncodedPacket]:
    for packet in packets:
        yield EncodedPacket(packet, round((packet.pts or 0) * packet.time_base * rate))


def add_stream(
    container: OutputContainer, height: int, width: int, settings: EncoderSettings
) -> VideoStream:
    """Add a video stream to a container, and open its encoder; raises as `encode` does."""
    check_encodable(height, width, settings.codec)
    codec, (height, width) = CODEC_SETTINGS[settings.codec], even_size(height, width)
    os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no other switch
    options = codec.options | {"crf": f"{codec.rate_factor(settings.quality):g}"}
    stream = cast(
        VideoStream, container.add_stream(codec.encoder, rate=settings.rate, options=options)
    )
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    context, colour = stream.codec_context, settings.colour
    context.thread_count = THREADS
    context.time_base = 1 / settings.rate
    context.sample_aspect_ratio = settings.aspect
    context.colorspace, context.color_range = colour.matrix, colour.range
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer
    try:
        with scheduling_restored():
            context.open()
    except FFmpegError as error:
        raise UnsupportedClip(
            f"Upscaled frames must be accepted by the encoder of {settings.codec}. "
            f"Received: {width} x {height} pixels."
        ) from error
    return stream


def even_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of the video of SR frames: an odd side loses its last pixel."""
    return height - height % 2, width - width % 2


def check_encodable(height: int, width: int, codec: str) -> None:
    """Raise ClipTooLarge or UnsupportedClip for SR frames that an encoder does not accept.

    Args:
        height: height of the SR frames, px.
        width: width of the SR frames, px.
        codec: a key of `CODEC_SETTINGS`.
    """
    min_side = CODEC_SETTINGS[codec].min_side
    if min(even_size(height, width)) < min_side:
        raise UnsupportedClip(
            f"Upscaled frames must be at least {min_side} pixels wide and high for this codec. "
            f"Received: {width} x {height} pixels."
        )
    if max(even_size(height, width)) > MAX_SIDE:
        raise ClipTooLarge(
            f"Upscaled frames must be at most {MAX_SIDE} pixels wide and high. "
            f"Received: {width} x {height} pixels."
        )


@contextlib.contextmanager
def scheduling_restored() -> Iterator[None]:
    """Give threads that become real-time threads in the body the caller's scheduling back.

    When run as root, SVT-AV1 gives its threads, and the thread that opens it, the highest
    real-time priority. Threads started from those inherit it. On a machine of two cores
    nothing else would then run while they work, neither the network nor other requests.
    """
    if not THREADS_FOLDER.exists():
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in THREADS_FOLDER.iterdir():
            with contextlib.suppress(ProcessLookupError):  # the thread has ended meanwhile
                if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(int(thread.name), policy, parameters)


class PictureToFrame:
    """Converts pictures to frames for encoders.

    Args:
        colour: meaning of the frames' colours.
        pixel_format: FFmpeg's name of the pixel format.
    """

    def __init__(self, colour: Colour, pixel_format: str = "yuv420p") -> None:
        self._colour, self._pixel_format = colour, pixel_format
        self._reformatter = VideoReformatter()

    def convert(self, picture: Picture) -> VideoFrame:
        """Return the picture as a frame of an even size; alpha is blended over white."""
        height, width = even_size(picture.height, picture.width)
        pixels = np.ascontiguousarray(opaque_rgb(picture)[:height, :width])
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(pixels, "rgb24"),
            format=self._pixel_format,
            dst_colorspace=MATRICES[self._colour.matrix],
            dst_color_range=self._colour.range,
            interpolation=ACCURATE,
            threads=THREADS,
        )


def opaque_rgb(picture: Picture) -> Uint8Array:
    """Return (H, W, 3) uint8; transparent pixels are blended over white."""
    if picture.alpha is None:
        return to_8_bits(picture.pixels)
    return over_white(to_8_bits(picture.pixels), to_8_bits(picture.alpha))
