"""Probe a clip: its properties, and the time of every frame.

Frames are identified by their times. A container holds the times of all packets, so frames
can be counted and divided into segments without being decoded. Only the first frame is
decoded. If the packets have no times, the whole clip is decoded once to find them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import ClipTooLarge, UnreadableClip
from core.media.medium import ClipHeader, ClipLimits
from core.video.colour import MATRICES, Colour, Orientation, colour_of, orientation_of
from core.video.container import (
    CONTAINERS,
    decoded_frames,
    missing_bytes,
    open_clip,
    sniff,
    timed_frames,
)

DEFAULT_RATE = Fraction(25)
"""Frames per second of clips that declare no frame rate."""

MIN_RATE, MAX_RATE = Fraction(1), Fraction(240)
MAX_RATE_DENOMINATOR = 1001

COPIED_TYPES = ("audio", "subtitle")
"""Types of streams that are copied to the output."""


@dataclass(frozen=True)
class Probe:
    """Properties of a clip.

    Attributes:
        format: container format, one of `core.video.container.FORMATS`.
        codec: FFmpeg's name of the video codec.
        height: height of a decoded frame, px.
        width: width of a decoded frame, px.
        orientation: how decoded frames are turned upright.
        aspect: width of a pixel divided by its height, in upright frames.
        colour: meaning of the colours.
        time_base: seconds per time unit.
        rate: average frames per second.
        starts: start of each frame, ascending, in time units.
        end: end of the last frame, in time units.
        keys: starts of the key frames, where decoding may begin.
        is_counted: whether the starts were found by decoding, because packets have no times.
            Decoding then always begins at the start of the file.
        copied: type and codec of each stream that is copied to the output.
        damage: description of the damage to the file; None if there is none.
    """

    format: str
    codec: str
    height: int
    width: int
    orientation: Orientation
    aspect: Fraction
    colour: Colour
    time_base: Fraction
    rate: Fraction
    starts: tuple[int, ...]
    end: int
    keys: tuple[int, ...]
    is_counted: bool
    copied: tuple[tuple[str, str], ...]
    damage: str | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.starts)

    @property
    def step(self) -> int:
        """Average time between two frames, in time units."""
        return frame_step(self.rate, self.time_base)

    def duration(self, number: int) -> int:
        """Return the duration of a frame, in time units."""
        after = self.starts[number + 1] if number + 1 < self.frames else self.end
        return after - self.starts[number]

    @property
    def header(self) -> ClipHeader:
        """Header of the clip, with the size of upright frames."""
        height, width = self.height, self.width
        if self.orientation.is_transposed:
            height, width = width, height
        return ClipHeader(
            format=CONTAINERS[self.format].name,
            height=height,
            width=width,
            frames=self.frames,
            time_base=self.time_base,
            seconds=float((self.end - self.starts[0]) * self.time_base),
            damage=self.damage,
        )


@dataclass(frozen=True)
class FrameIndex:
    """Times of a clip's frames; `Probe` describes the attributes."""

    starts: tuple[int, ...]
    end: int
    keys: tuple[int, ...]
    is_counted: bool
    damage: str | None


def probe_clip(path: Path, limits: ClipLimits) -> Iterator[Probe]:
    """Yield the properties of a clip, once.

    Raises:
        UnreadableClip: if the file is damaged from the start, or no clip.
        UnsupportedClip: if its kind is not supported.
        ClipTooLarge: if it exceeds a limit.
    """
    with open_clip(path) as (container, stream):
        check_pixels(stream.codec_context.height, stream.codec_context.width, limits)
        copied = tuple((s.type, codec_of(s)) for s in copied_streams(container))
        index = read_index(container, stream, limits)
    if index is None:
        index = count_frames(path, limits)
    index = replace(index, damage=index.damage or find_shortage(path))
    with open_clip(path) as (container, stream):
        frame = first_frame(container, stream)
        check_pixels(frame.height, frame.width, limits)
        yield make_probe(path, stream, frame, index, copied)


def check_probe(probe: Probe, limits: ClipLimits) -> None:
    """Raise ValueError or ClipTooLarge for a probe that `probe_clip` never yields."""
    check_length(probe.frames, 0, limits)  # before anything that takes time for each frame
    if len(probe.keys) > probe.frames:
        raise ValueError("a clip of more key frames than frames")
    is_ascending = all(before < after for before, after in pairwise(probe.starts))
    if not (probe.starts and is_ascending and set(probe.keys) <= set(probe.starts)):
        raise ValueError("a clip without frames, or with frames out of order")
    if probe.format not in CONTAINERS or probe.colour.matrix not in MATRICES:
        raise ValueError("a clip of an unknown kind or matrix")
    if not 0 <= probe.colour.peak_nits < 2**32:
        raise ValueError("a clip of impossible light")
    if not {stream_type for stream_type, _ in probe.copied} <= set(COPIED_TYPES):
        raise ValueError("a clip with other streams than those that are copied")
    if min(probe.height, probe.width) < 1 or min(probe.time_base, probe.rate, probe.aspect) <= 0:
        raise ValueError("a clip without size, time or aspect")
    if not MIN_RATE <= probe.rate <= MAX_RATE or probe.rate.denominator > MAX_RATE_DENOMINATOR:
        raise ValueError("a clip of a rate that no encoder accepts")
    check_pixels(probe.height, probe.width, limits)
    seconds = float((probe.starts[-1] - probe.starts[0]) * probe.time_base)
    check_length(probe.frames, seconds, limits)
    if probe.end < probe.starts[-1]:
        raise ValueError("a clip that ends before its last frame")


def make_probe(
    path: Path,
    stream: VideoStream,
    frame: VideoFrame,
    index: FrameIndex,
    copied: tuple[tuple[str, str], ...],
) -> Probe:
    """Collect the properties from a clip's stream, first frame and index."""
    orientation = orientation_of(frame)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return Probe(
        format=sniff(path) or "",
        codec=codec_of(stream),
        height=frame.height,
        width=frame.width,
        orientation=orientation,
        aspect=1 / aspect if orientation.is_transposed else aspect,
        colour=colour_of(frame),
        time_base=time_base_of(stream),
        rate=rate_of(stream),
        starts=index.starts,
        end=index.end,
        keys=index.keys,
        is_counted=index.is_counted,
        copied=copied,
        damage=index.damage,
    )


def copied_streams(container: InputContainer) -> list[Stream]:
    """Return the streams that are copied to the output."""
    return [stream for stream in container.streams if stream.type in COPIED_TYPES]


def codec_of(stream: Stream) -> str:
    """Return FFmpeg's name of a stream's codec, or "unknown"."""
    context = stream.codec_context
    return "unknown" if context is None else context.codec.canonical_name


def check_pixels(height: int, width: int, limits: ClipLimits) -> None:
    """Raise ClipTooLarge if frames of this size, LR px, exceed the limits."""
    pixels, side = height * width, max(height, width)
    if pixels > limits.frame.max_pixels:
        raise ClipTooLarge(
            f"Frames must have at most {limits.frame.max_pixels} pixels. "
            f"Received: {width} x {height} = {pixels} pixels."
        )
    if side > limits.frame.max_side:
        raise ClipTooLarge(
            f"Frames must be at most {limits.frame.max_side} pixels wide and high. "
            f"Received: {width} x {height} pixels."
        )


def check_length(frames: int, seconds: float, limits: ClipLimits) -> None:
    """Raise ClipTooLarge if there are too many frames, or the clip lasts too long."""
    max_frames = limits.frame.max_frames
    if max_frames is not None and frames > max_frames:
        raise ClipTooLarge(f"Clip must have at most {max_frames} frames. Received: more.")
    if seconds > limits.max_seconds:
        raise ClipTooLarge(
            f"Clip must last at most {limits.max_seconds:g} s. Received: {seconds:.1f} s or more."
        )


def time_base_of(stream: Stream) -> Fraction:
    """Return the time base of a stream; raise UnreadableClip if it has none."""
    if not stream.time_base:
        raise UnreadableClip("Clip must have a unit of time. Received: none.")
    return stream.time_base


def rate_of(stream: VideoStream) -> Fraction:
    """Return the frames per second, in the range and precision that encoders accept."""
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
    return min(max(Fraction(rate), MIN_RATE), MAX_RATE).limit_denominator(MAX_RATE_DENOMINATOR)


def frame_step(rate: Fraction, time_base: Fraction) -> int:
    """Return the time between two frames in time units, at least 1."""
    return max(1, round(1 / (rate * time_base)))


def first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """Decode the first frame; raise UnreadableClip if there is none."""
    for frame in decoded_frames(container, stream):
        return frame
    raise UnreadableClip("Clip must have frames that can be decoded. Received: none.")


def read_index(
    container: InputContainer, stream: VideoStream, limits: ClipLimits
) -> FrameIndex | None:
    """Return the index from the packets; None if they have no usable times.

    Raises:
        UnreadableClip: if there is no frame.
        ClipTooLarge: as soon as a limit is exceeded.
    """
    scan = PacketScan(stream, limits)
    try:
        for packet in container.demux():
            scan.add(packet)
    except MemoryError:
        raise
    except FFmpegError:
        scan.is_broken = True
    if not scan.frames:
        raise UnreadableClip("Clip must have frames in it. Received: none.")
    return scan.index() if scan.is_timed else None


class PacketScan:
    """Collects the frames of a video stream from its packets.

    Attributes:
        frames: duration of each frame, and whether it is a key frame, by its start.
        is_timed: whether all packets have different times.
        is_broken: whether the file is damaged somewhere.
    """

    def __init__(self, stream: VideoStream, limits: ClipLimits) -> None:
        self._stream, self._limits = stream, limits
        self._time_base = time_base_of(stream)
        self._packets = 0
        self.frames: dict[int, tuple[int, bool]] = {}
        self.is_timed, self.is_broken = True, False

    def add(self, packet: "Packet[Stream]") -> None:
        """Add a packet; those of other streams and truncated ones hold no frame."""
        self.is_broken |= packet.is_corrupt
        is_video = packet.stream.index == self._stream.index
        if is_video and packet.size and not packet.is_corrupt:
            self._add_frame(packet)

    def _add_frame(self, packet: "Packet[Stream]") -> None:
        self._packets += 1
        if packet.is_discard or not is_displayed(self._stream, packet):
            return
        self.is_timed &= packet.pts is not None and packet.pts not in self.frames
        start = len(self.frames) if packet.pts is None else packet.pts
        self.frames[start] = (packet.duration or 0, packet.is_keyframe)
        check_length(len(self.frames), self._seconds(start), self._limits)

    def _seconds(self, start: int) -> float:
        first = next(iter(self.frames))
        return float((start - first) * self._time_base) if self.is_timed else 0.0

    def index(self) -> FrameIndex:
        """Return the index of the frames; raise ClipTooLarge if the clip lasts too long."""
        starts = sorted(self.frames)
        last_duration = self.frames[starts[-1]][0] or guess_last_duration(starts, self._stream)
        end = starts[-1] + last_duration
        check_length(len(starts), float((end - starts[0]) * self._time_base), self._limits)
        return FrameIndex(
            starts=tuple(starts),
            end=end,
            keys=tuple(start for start in starts if self.frames[start][1]),
            is_counted=False,
            damage=self._damage(),
        )

    def _damage(self) -> str | None:
        announced = len(self._stream.index_entries)
        if announced > self._packets:
            return damage_text(f"{self._packets} of {announced} frames are there")
        return damage_text("what is before the damage is there") if self.is_broken else None


def find_shortage(path: Path) -> str | None:
    """Return a description of the bytes that a file lacks; None if it lacks none."""
    missing = missing_bytes(path, sniff(path) or "")
    return damage_text(f"{missing} bytes are missing") if missing else None


def damage_text(extent: str) -> str:
    """Return the message for a damaged clip; `extent` says what is usable or missing."""
    return f"Clip must be a whole file. Received: one that ends early or is damaged; {extent}."


def is_displayed(stream: VideoStream, packet: "Packet[Stream]") -> bool:
    """Return whether a packet's frame is displayed; VP8 has hidden frames (RFC 6386, 9.1)."""
    return codec_of(stream) != "vp8" or bool(bytes(packet)[0] >> 4 & 1)


def guess_last_duration(starts: list[int], stream: VideoStream) -> int:
    """Return the duration of the frame before the last, or of an average frame."""
    if len(starts) > 1:
        return starts[-1] - starts[-2]
    return frame_step(rate_of(stream), time_base_of(stream))


def count_frames(path: Path, limits: ClipLimits) -> FrameIndex:
    """Return the index of a clip by decoding all of its frames."""
    starts: list[int] = []
    with open_clip(path) as (container, stream):
        time_base = time_base_of(stream)
        step = frame_step(rate_of(stream), time_base)
        for timed in timed_frames(container, stream, step):
            starts.append(timed.start)
            check_length(len(starts), float((timed.start - starts[0]) * time_base), limits)
    if not starts:
        raise UnreadableClip("Clip must have frames that can be decoded. Received: none.")
    return FrameIndex(tuple(starts), starts[-1] + step, keys=(), is_counted=True, damage=None)
