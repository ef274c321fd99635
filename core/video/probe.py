"""What a clip is, from its packets and its first frame; no other frame is decoded for it.

A frame is known by its time. A container tells the times of all packets, so the frames can
be counted, and divided into segments, without decoding them. Where it does not, all of it
is decoded once to find out.
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

USUAL_RATE = Fraction(25)
"""Frames a second, of clips that tell none."""

RATES = (Fraction(1), Fraction(240))
LARGEST_DENOMINATOR = 1001

COPIED = ("audio", "subtitle")
"""Kinds of streams that go with the video."""


@dataclass(frozen=True)
class Probe:
    """What is known of a clip.

    Attributes:
        kind: of the file, one of `core.video.container.FORMATS`.
        codec: of the video, as FFmpeg calls it.
        height: of a frame as it is decoded, px.
        width: likewise.
        orientation: how that is held upright.
        aspect: width of a pixel by its height, of upright frames.
        colour: what colours mean.
        time_base: seconds of a unit of time.
        rate: frames a second, on the average.
        starts: when each frame is shown, ascending, in units of time.
        end: when the last is not shown any more.
        keys: of those, where decoding may begin.
        is_counted: whether packets do not tell the times: then decoding begins at the start.
        copied: kind and codec of the streams that go with the video.
        damage: what is wrong with the file; None if nothing is.
    """

    kind: str
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
        return len(self.starts)

    @property
    def step(self) -> int:
        """Units of time from a frame to the next, on the average."""
        return step_of(self.rate, self.time_base)

    def duration(self, number: int) -> int:
        """For how long a frame is shown, in units of time."""
        after = self.starts[number + 1] if number + 1 < self.frames else self.end
        return after - self.starts[number]

    @property
    def header(self) -> ClipHeader:
        height, width = self.height, self.width
        if self.orientation.is_transposed:
            height, width = width, height
        return ClipHeader(
            format=CONTAINERS[self.kind].name,
            height=height,
            width=width,
            frames=self.frames,
            time_base=self.time_base,
            seconds=float((self.end - self.starts[0]) * self.time_base),
            damage=self.damage,
        )


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a clip, as `Probe` has them."""

    starts: tuple[int, ...]
    end: int
    keys: tuple[int, ...]
    is_counted: bool
    damage: str | None


def probe_clip(path: Path, limits: ClipLimits) -> Iterator[Probe]:
    """Yield what is known of a clip.

    Raises:
        UnreadableClip: if it is damaged from the start, or no clip.
        UnsupportedClip: if it is of a kind that is not taken.
        ClipTooLarge: if it passes a limit.
    """
    with open_clip(path) as (container, stream):
        check_size(stream, limits)
        copied = tuple((s.type, codec_of(s)) for s in copied_streams(container))
        index = read_index(container, stream, limits)
    if index is None:
        index = count_frames(path, limits)
    index = replace(index, damage=index.damage or shortage(path))
    with open_clip(path) as (container, stream):
        frame = first_frame(container, stream)
        check_pixels(frame.height, frame.width, limits)
        yield describe(path, stream, frame, index, copied)


def check_probe(probe: Probe, limits: ClipLimits) -> None:
    """Raise ValueError or ClipTooLarge for a probe that `probe_clip` never yields."""
    is_ascending = all(before < after for before, after in pairwise(probe.starts))
    if not (probe.starts and is_ascending and set(probe.keys) <= set(probe.starts)):
        raise ValueError("a clip without frames, or with frames out of order")
    if probe.kind not in CONTAINERS or probe.colour.matrix not in MATRICES:
        raise ValueError("a clip of an unknown kind or matrix")
    if min(probe.height, probe.width) < 1 or min(probe.time_base, probe.rate, probe.aspect) <= 0:
        raise ValueError("a clip without size, time or aspect")
    check_pixels(probe.height, probe.width, limits)
    seconds = float((probe.starts[-1] - probe.starts[0]) * probe.time_base)
    check_length(probe.frames, seconds, limits)


def describe(
    path: Path,
    stream: VideoStream,
    frame: VideoFrame,
    index: FrameIndex,
    copied: tuple[tuple[str, str], ...],
) -> Probe:
    orientation = orientation_of(frame)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return Probe(
        kind=sniff(path) or "",
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
    """Those that go with the video as they are."""
    return [stream for stream in container.streams if stream.type in COPIED]


def codec_of(stream: Stream) -> str:
    context = stream.codec_context
    return "unknown" if context is None else context.codec.canonical_name


def check_size(stream: VideoStream, limits: ClipLimits) -> None:
    """Raise ClipTooLarge by what the header says, and let the decoder refuse more."""
    height, width = stream.codec_context.height, stream.codec_context.width
    check_pixels(height, width, limits)


def check_pixels(height: int, width: int, limits: ClipLimits) -> None:
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
    most = limits.frame.max_frames
    if most is not None and frames > most:
        raise ClipTooLarge(f"Clip must have at most {most} frames. Received: more.")
    if seconds > limits.max_seconds:
        raise ClipTooLarge(
            f"Clip must last at most {limits.max_seconds:g} s. Received: {seconds:.1f} s or more."
        )


def time_base_of(stream: Stream) -> Fraction:
    if not stream.time_base:
        raise UnreadableClip("Clip must have a unit of time. Received: none.")
    return stream.time_base


def rate_of(stream: VideoStream) -> Fraction:
    """Frames a second, such as an encoder can be told."""
    rate = stream.average_rate or stream.guessed_rate or USUAL_RATE
    least, most = RATES
    return min(max(Fraction(rate), least), most).limit_denominator(LARGEST_DENOMINATOR)


def first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    for frame in decoded_frames(container, stream):
        return frame
    raise UnreadableClip("Clip must have frames that can be decoded. Received: none.")


def read_index(
    container: InputContainer, stream: VideoStream, limits: ClipLimits
) -> FrameIndex | None:
    """The frames, as the packets tell; None if they do not.

    Raises:
        UnreadableClip: if there is no frame.
        ClipTooLarge: as soon as there are too many.
    """
    scan = PacketScan(stream, limits)
    try:
        for packet in container.demux():
            scan.add(packet)
    except MemoryError:
        raise
    except FFmpegError:
        scan.is_broken = True
    if not scan.shown:
        raise UnreadableClip("Clip must have frames in it. Received: none.")
    return scan.index() if scan.is_timed else None


class PacketScan:
    """What packets tell of the frames in them."""

    def __init__(self, stream: VideoStream, limits: ClipLimits) -> None:
        self._stream, self._limits = stream, limits
        self._time_base = time_base_of(stream)
        self._read = 0
        self.shown: dict[int, tuple[int, bool]] = {}
        self.is_timed, self.is_broken = True, False

    def add(self, packet: "Packet[Stream]") -> None:
        """Note a packet of the video; others, and those cut short, are none of its frames."""
        self.is_broken |= packet.is_corrupt
        is_video = packet.stream.index == self._stream.index
        if is_video and packet.size and not packet.is_corrupt:
            self._add_frame(packet)

    def _add_frame(self, packet: "Packet[Stream]") -> None:
        self._read += 1
        if packet.is_discard or not is_shown(self._stream, packet):
            return
        self.is_timed &= packet.pts is not None and packet.pts not in self.shown
        start = len(self.shown) if packet.pts is None else packet.pts
        self.shown[start] = (packet.duration or 0, packet.is_keyframe)
        check_length(len(self.shown), self._seconds(start), self._limits)

    def _seconds(self, start: int) -> float:
        first = next(iter(self.shown))
        return float((start - first) * self._time_base) if self.is_timed else 0.0

    def index(self) -> FrameIndex:
        starts = sorted(self.shown)
        end = starts[-1] + (self.shown[starts[-1]][0] or usual_duration(starts, self._stream))
        check_length(len(starts), float((end - starts[0]) * self._time_base), self._limits)
        return FrameIndex(
            starts=tuple(starts),
            end=end,
            keys=tuple(start for start in starts if self.shown[start][1]),
            is_counted=False,
            damage=self._damage(),
        )

    def _damage(self) -> str | None:
        announced = len(self._stream.index_entries)
        if announced > self._read:
            return damage_text(f"{self._read} of {announced} frames are there")
        return damage_text("what is before the damage is there") if self.is_broken else None


def shortage(path: Path) -> str | None:
    """What is said of a file that is shorter than it should be; None if it is not."""
    missing = missing_bytes(path, sniff(path) or "")
    return damage_text(f"{missing} bytes are missing") if missing else None


def damage_text(what_is_there: str) -> str:
    return (
        f"Clip must be a whole file. Received: one that ends early or is damaged; {what_is_there}."
    )


def is_shown(stream: VideoStream, packet: "Packet[Stream]") -> bool:
    """Whether a frame comes of a packet: VP8 has some that others only refer to (RFC 6386, 9.1)."""
    return codec_of(stream) != "vp8" or bool(bytes(packet)[0] >> 4 & 1)


def usual_duration(starts: list[int], stream: VideoStream) -> int:
    """Of the last frame, if nothing tells: that of the one before."""
    if len(starts) > 1:
        return starts[-1] - starts[-2]
    return step_of(rate_of(stream), time_base_of(stream))


def step_of(rate: Fraction, time_base: Fraction) -> int:
    return max(1, round(1 / (rate * time_base)))


def count_frames(path: Path, limits: ClipLimits) -> FrameIndex:
    """The frames, by decoding all of them."""
    starts: list[int] = []
    with open_clip(path) as (container, stream):
        time_base = time_base_of(stream)
        step = step_of(rate_of(stream), time_base)
        for timed in timed_frames(container, stream, step):
            starts.append(timed.start)
            check_length(len(starts), float((timed.start - starts[0]) * time_base), limits)
    if not starts:
        raise UnreadableClip("Clip must have frames that can be decoded. Received: none.")
    return FrameIndex(tuple(starts), starts[-1] + step, keys=(), is_counted=True, damage=None)
