"""Upscale a video segment by segment, and join the segments to a file.

The functions with `_in_sandbox` in their names read files in separate processes, which a
hostile file may crash without harm. See `core.sandbox.decoder`.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from core.errors import InvalidOptions
from core.files import atomic_write
from core.media.medium import (
    JUDGED,
    WARM_UP,
    CheckCancelled,
    ClipHeader,
    ClipLimits,
    Frame,
    Report,
    Segment,
    UpscalePicture,
    never_cancelled,
    pick_judged,
    plan_segments,
)
from core.model.grid import output_grid
from core.options import OutputOptions, check_supported
from core.picture import Header, Picture
from core.sandbox.decoder import read, read_numbered, read_one, trouble_reported
from core.sandbox.process import WorkerDied
from core.temporal.coherence import upscale_frames, with_cache
from core.video.container import CONTAINERS, FORMATS, MKV, MOV, MP4, WEBM
from core.video.encoder import DEFAULT_QUALITY, EncoderSettings, check_encodable
from core.video.frames import read_frames
from core.video.parts import VideoOutput, join_parts, max_updates, write_part
from core.video.probe import Probe, check_probe, damage_text, probe_clip

MP4_AUDIO = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac", "dts", "vorbis", "truehd")
COPYABLE = {
    (MP4, "audio"): MP4_AUDIO,
    (MOV, "audio"): ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm_"),
    (WEBM, "audio"): ("opus", "vorbis"),
    (MP4, "subtitle"): ("mov_text", "dvd_subtitle"),
    (MOV, "subtitle"): ("mov_text", "eia_608"),
    (WEBM, "subtitle"): ("webvtt",),
}
"""Beginnings of the codec names that a container holds without conversion, by format and
stream type."""

FRAME_TIMES_BYTES = 24
"""Size of what a probe holds of a frame, at most: its start, and once more if it is a key frame."""

NOT_IN_MKV = ("mov_text", "eia_608", "unknown")
"""Codecs that MKV does not hold; it holds all others."""


class Video:
    """An MP4, MOV, WebM or MKV file as a `core.media.medium.Medium`.

    The file is read in separate processes, so a hostile one harms only those.

    Attributes:
        header: header of the clip.
        damage: description of the damage to the file; after `join` it also tells how many
            frames could be decoded, if some could not.

    Args:
        path: file to read.
        limits: largest size, frame count and length, and largest size of the SR frames.
        options: the caller's output options.
        scale: factor of one pass of the network.

    Raises:
        UnsupportedClip: if the kind of clip is not supported, or its SR frames are too small.
        InvalidOptions: if the clip cannot be written with these options.
        ImageTooLarge: if the SR frames exceed the limit.
        UnreadableClip, ClipTooLarge, TooMuchMemory: as `read_video_header`. ClipTooLarge also if
            the SR frames are too large for the encoder.
    """

    kind = "video"

    def __init__(self, path: Path, limits: ClipLimits, options: OutputOptions, scale: int) -> None:
        self._path, self._options = path, options
        self._find_grid = partial(output_grid, options, scale=scale)
        self._max_pixels = limits.frame.max_pixels
        self._probe = probe_in_sandbox(path, limits)
        self._output = choose_output(options, self._probe)
        self.header = self._probe.header
        self.height, self.width = self.header.height, self.header.width
        self.frames = self.header.frames
        self.headers: Mapping[Header, int] = {Header(self.height, self.width, 4): self.frames}
        self.damage = self.header.damage
        self._check_output(limits)
        container = CONTAINERS[self._output.format]
        self.suffix, self.mimetype = container.suffix, container.mimetype

    def _check_output(self, limits: ClipLimits) -> None:
        """Raise an error if frames cannot get the wanted size, or cannot be encoded at it."""
        grid = self._find_grid(self.height, self.width)
        limits.frame.check_output(grid.height, grid.width, (self.height, self.width))
        check_encodable(grid.height, grid.width, self._output.codec)

    @property
    def encoder_settings(self) -> EncoderSettings:
        """Settings that SR frames are encoded with."""
        return EncoderSettings(
            codec=self._output.codec,
            quality=self._options.quality or DEFAULT_QUALITY,
            rate=self._probe.rate,
            aspect=self._probe.aspect,
            colour=self._probe.colour.of_pictures,
        )

    def segments(self) -> list[Segment]:
        """Return the segments that make up the video, in order."""
        return plan_segments(self.frames)

    def judged_frames(self, _segment: Segment | None = None) -> Iterator[Picture]:
        """Yield the frames that decide how strongly all are restored."""
        stop = min(JUDGED[-1] + 1, self.frames)
        frames = read_frames_in_sandbox(self._path, self._probe, 0, stop, self._max_pixels)
        with closing(frames):
            yield from pick_judged(frames)

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Upscale the frames of a segment into a part file that begins with a key frame.

        Frames that are too damaged to be decoded are left out.

        Raises:
            ClipTooLarge, UnsupportedClip: if the encoder does not accept the SR frames.
            TooMuchMemory: if decoding needs too much memory.
        """
        is_coherent = self._options.is_coherent
        first = max(0, segment.start - WARM_UP) if is_coherent else segment.start
        lr = read_frames_in_sandbox(self._path, self._probe, first, segment.stop, self._max_pixels)
        with closing(lr):
            sr = upscale_frames(
                lr,
                with_cache(upscale),
                self._find_grid,
                is_coherent=is_coherent,
                warm_up=segment.start - first,
            )
            write_part(target, sr, self.encoder_settings, report)

    def join(
        self, parts: Sequence[Path], target: Path, check_cancelled: CheckCancelled = never_cancelled
    ) -> None:
        """Write the video with the sound, subtitles, chapters and metadata of the source.

        Raises:
            UnreadableClip: if no frame could be decoded.
        """
        with atomic_write(target) as unfinished:
            arguments = parts, unfinished, self._output, self._path
            written = join_in_sandbox(*arguments, self.frames, self._max_pixels, check_cancelled)
        if self.damage is None and written < self.frames:
            self.damage = damage_text(f"{written} of {self.frames} frames could be decoded")


def read_video_header(path: Path, limits: ClipLimits) -> ClipHeader:
    """Return the header of a clip, from its packets and its first frame.

    Raises:
        UnreadableClip: if the file is damaged from the start, or no clip.
        UnsupportedClip: if the kind of clip is not supported.
        ClipTooLarge: if it exceeds a limit.
        TooMuchMemory: if the file needs too much memory.
    """
    return probe_in_sandbox(path, limits).header


def probe_in_sandbox(path: Path, limits: ClipLimits) -> Probe:
    """Return what `probe_clip` yields.

    Raises:
        UnreadableClip: also if the file crashes its processes or takes too long.
        TooMuchMemory: if the file needs too much memory.
    """
    check = partial(check_probe, limits=limits)
    max_pixels, max_frames = limits.frame.max_pixels, limits.frame.max_frames
    max_bytes = None if max_frames is None else FRAME_TIMES_BYTES * (max_frames + 1)
    return read_one(probe_clip, (path, limits), max_pixels, Probe, check, max_bytes)


def read_frames_in_sandbox(
    path: Path, probe: Probe, first: int, stop: int, max_pixels: int
) -> Generator[Frame]:
    """Yield what `read_frames` does; end early at a frame that crashes the process twice.

    Raises:
        TooMuchMemory: if a frame needs too much memory.
    """

    def number_of(frame: Frame, minimum: int) -> int:
        return bisect_left(probe.starts, frame.start, minimum)

    return read_numbered(read_frames, (path, probe), range(first, stop), max_pixels, number_of)


def join_in_sandbox(
    parts: Sequence[Path],
    target: Path,
    output: VideoOutput,
    source: Path,
    frames: int,
    max_pixels: int,
    check_cancelled: CheckCancelled = never_cancelled,
) -> int:
    """Run `join_parts`, and return the number of frames.

    `check_cancelled` is called regularly; an exception that it raises ends the work. `frames` is
    the number of frames that the parts have at most.

    Raises:
        UnreadableClip: if there are no frames, or the file crashes its process, takes too long,
            or sends counts that `join_parts` never yields.
    """
    arguments = (list(parts), target, output, source)
    max_counts = max_updates(frames, source.stat().st_size)
    with (
        trouble_reported(max_pixels),
        closing(read(join_parts, arguments, max_pixels, int, max_bytes=0)) as counts,
    ):
        written = 0
        for number, count in enumerate(counts):
            if number >= max_counts or not written <= count <= frames:
                raise WorkerDied(f"invalid answer: {count} frames after {written} of {frames}")
            written = count
            check_cancelled()
    return written


def choose_output(options: OutputOptions, probe: Probe) -> VideoOutput:
    """Return the file to write.

    Raises:
        InvalidOptions: if there is no such format or codec, or the format cannot hold a
            stream of the source.
    """
    file_format = options.format or probe.format
    check_format(file_format)
    check_supported(options, ("codec",), "videos")
    for stream_type, codec in probe.copied:
        check_copyable(file_format, stream_type, codec)
    codec = choose_codec(file_format, options.codec)
    return VideoOutput(file_format, codec, probe.time_base, options.has_note)


def check_format(file_format: str) -> None:
    """Raise InvalidOptions if videos cannot be written in this format."""
    if file_format not in FORMATS:
        raise InvalidOptions(
            f"`format` must be one of {', '.join(FORMATS)}, for videos. Received: {file_format}"
        )


def choose_codec(file_format: str, codec: str | None) -> str:
    """Return the requested codec, or the default of a format; raise InvalidOptions if unfit."""
    container = CONTAINERS[file_format]
    if codec is None:
        return container.codecs[0]
    if codec not in container.codecs:
        raise InvalidOptions(
            f"`codec` of {container.name} must be one of {', '.join(container.codecs)}. "
            f"Received: {codec}"
        )
    return codec


def check_copyable(file_format: str, stream_type: str, codec: str) -> None:
    """Raise InvalidOptions if a format cannot hold a stream without conversion."""
    if file_format == MKV:
        is_copyable = codec not in NOT_IN_MKV
    else:
        is_copyable = codec.startswith(COPYABLE[file_format, stream_type])
    if not is_copyable:
        raise InvalidOptions(
            f"Clip must have {stream_type} that {CONTAINERS[file_format].name} can hold as it is. "
            f"Received: {stream_type} of the codec {codec}. Choose another format: mkv "
            "holds nearly all codecs."
        )
