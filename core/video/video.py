"""A video as it is wished for: what is to be computed, segment by segment, and joined.

Videos read in processes of their own, which a hostile file may end, see `core.sandbox.decoder`.

What these do is in `header`, `frames` and `joining`.

Which file is written: what the caller wishes for, if the clip can become that.
"""

from bisect import bisect_left
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from core.errors import InvalidOptions
from core.files import atomic_write
from core.media.medium import (
    WARM_UP,
    ClipHeader,
    ClipLimits,
    Frame,
    GoOn,
    Report,
    Segment,
    UpscalePicture,
    always,
    plan_segments,
)
from core.options import OutputOptions, check_format, check_supported
from core.sandbox.decoder import read, read_numbered, read_one, trouble_reported
from core.temporal.coherence import upscale_frames, upscale_once
from core.video.container import CONTAINERS, FORMATS, MKV, MOV, MP4, WEBM
from core.video.encoder import USUAL_QUALITY, EncoderSettings, write_part
from core.video.frames import read_frames
from core.video.join import VideoOutput, join_parts
from core.video.probe import Probe, check_probe, damage_text, probe_clip


def probe_apart(path: Path, limits: ClipLimits) -> Probe:
    """As `probe_clip`; also UnreadableClip if the file ends its processes or takes too long."""
    check = partial(check_probe, limits=limits)
    return read_one(probe_clip, (path, limits), limits.frame.max_pixels, Probe, check)


def read_frames_apart(
    path: Path, probe: Probe, first: int, stop: int, max_pixels: int
) -> Generator[Frame]:
    """As `read_frames`; a frame that ends the process twice is left out, with those after it.

    Raises:
        TooMuchMemory: if a frame takes too much.
    """

    def number_of(frame: Frame, least: int) -> int:
        return bisect_left(probe.starts, frame.start, least)

    return read_numbered(read_frames, (path, probe), range(first, stop), max_pixels, number_of)


def join_apart(
    parts: Sequence[Path],
    target: Path,
    output: VideoOutput,
    source: Path,
    max_pixels: int,
    go_on: GoOn = always,
) -> int:
    """As `join_parts`; how many frames there are. What `go_on` raises now and then ends it.

    Raises:
        UnreadableClip: if there are none, or the file ends its process or takes too long.
    """
    arguments = (list(parts), target, output, source)
    with (
        trouble_reported(max_pixels),
        closing(read(join_parts, arguments, max_pixels, int)) as counts,
    ):
        written = 0
        for count in counts:
            written = count
            go_on()
    return written


MP4_SOUND = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac", "dts", "vorbis", "truehd")
COPIED = {
    (MP4, "audio"): MP4_SOUND,
    (MOV, "audio"): ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm_"),
    (WEBM, "audio"): ("opus", "vorbis"),
    (MP4, "subtitle"): ("mov_text", "dvd_subtitle"),
    (MOV, "subtitle"): ("mov_text", "eia_608"),
    (WEBM, "subtitle"): ("webvtt",),
}
"""What goes into a file as it is, by the beginnings of codecs' names."""

NOT_MKV = ("mov_text", "eia_608", "unknown")
"""What does not go into MKV; everything else does."""


def choose_output(wish: OutputOptions, probe: Probe) -> VideoOutput:
    """The file to be written.

    Raises:
        InvalidWish: if there is no such format or codec, or it cannot hold what goes
            with the video.
    """
    kind = wish.format or probe.kind
    check_format(kind, FORMATS, "videos")
    check_supported(wish, ("codec",), "videos")
    for stream, codec in probe.copied:
        check_copied(kind, stream, codec)
    return VideoOutput(kind, choose_codec(kind, wish.codec), probe.time_base, wish.has_note)


def choose_codec(kind: str, codec: str | None) -> str:
    """The codec wished for, or the usual one of a kind of file."""
    container = CONTAINERS[kind]
    if codec is None:
        return container.codecs[0]
    if codec not in container.codecs:
        raise InvalidOptions(
            f"`codec` of {container.name} must be one of {', '.join(container.codecs)}. "
            f"Received: {codec}"
        )
    return codec


def check_copied(kind: str, stream: str, codec: str) -> None:
    """Raise InvalidWish if a stream cannot go into a file as it is."""
    is_taken = codec not in NOT_MKV if kind == MKV else codec.startswith(COPIED[kind, stream])
    if not is_taken:
        raise InvalidOptions(
            f"Clip must have {stream} that {CONTAINERS[kind].name} can hold as it is. "
            f"Received: {stream} of the codec {codec}. Other formats may hold it: mkv does "
            "nearly any."
        )


def read_video_header(path: Path, limits: ClipLimits) -> ClipHeader:
    """What is known of a clip by its header, its packets and its first frame.

    Raises:
        UnreadableClip: if it is damaged from the start, or no clip.
        UnsupportedClip: if it is of a kind that is not taken.
        ClipTooLarge: if it passes a limit.
        TooMuchMemory: if it takes too much to be read.
    """
    return probe_apart(path, limits).header


class Video:
    """A `core.media.medium.Medium` of an MP4, MOV, WebM or MKV file.

    The file is read in processes of their own: a hostile one harms none but those.

    Attributes:
        header: what is known of the clip.
        damage: what is wrong with the file; after `join` also, if frames could not be
            decoded, how many.

    Args:
        path: the file.
        limits: what it may measure.
        wish: how the caller wants it.

    Raises:
        UnsupportedClip: if the clip is of a kind that is not taken.
        InvalidWish: if it cannot become what is wished for.
        UnreadableClip, ClipTooLarge, TooMuchMemory: as `read_video_header`.
    """

    kind = "video"

    def __init__(self, path: Path, limits: ClipLimits, wish: OutputOptions) -> None:
        self._path, self._wish = path, wish
        self._max_pixels = limits.frame.max_pixels
        self._probe = probe_apart(path, limits)
        self._output = choose_output(wish, self._probe)
        self.header = self._probe.header
        self.height, self.width = self.header.height, self.header.width
        self.frames = self.header.frames
        self.damage = self.header.damage
        container = CONTAINERS[self._output.kind]
        self.suffix, self.mimetype = container.suffix, container.mimetype

    @property
    def encoding(self) -> EncoderSettings:
        """How SR frames are encoded."""
        return EncoderSettings(
            codec=self._output.codec,
            quality=self._wish.quality or USUAL_QUALITY,
            rate=self._probe.rate,
            aspect=self._probe.aspect,
            colour=self._probe.colour,
        )

    def segments(self) -> list[Segment]:
        """All of it, in order."""
        return plan_segments(self.frames)

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Write a segment as a stream of video that begins with a key frame.

        Frames that are too damaged to be decoded are left out.

        Raises:
            ClipTooLarge, UnsupportedClip: if the encoder does not take the SR frames.
            TooMuchMemory: if decoding takes too much.
        """
        is_coherent = self._wish.is_coherent
        first = max(0, segment.start - WARM_UP) if is_coherent else segment.start
        lr = read_frames_apart(self._path, self._probe, first, segment.stop, self._max_pixels)
        with closing(lr):
            sr = upscale_frames(
                lr,
                upscale_once(upscale),
                is_coherent=is_coherent,
                warm_up=segment.start - first,
            )
            write_part(target, sr, self.encoding, report)

    def join(self, parts: Sequence[Path], target: Path, go_on: GoOn = always) -> None:
        """Write the clip with sound, subtitles, chapters and metadata of the file.

        Raises:
            UnreadableClip: if no frame could be decoded.
        """
        with atomic_write(target) as unfinished:
            arguments = parts, unfinished, self._output, self._path, self._max_pixels
            written = join_apart(*arguments, go_on)
        if self.damage is None and written < self.frames:
            self.damage = damage_text(f"{written} of {self.frames} frames could be decoded")
