"""A video as it is wished for: what is to be computed, segment by segment, and joined."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from core.clips import ClipHeader, ClipLimits, ClipWish, UpscalePicture
from core.coherence import upscale_frames
from core.files import whole_file
from core.media import WARM_UP, GoOn, Report, Segment, always, plan_segments
from core.recurrence import upscale_once
from core.video.apart import join_apart, probe_apart, read_frames_apart
from core.video.containers import CONTAINERS
from core.video.encoding import USUAL_QUALITY, Encoding
from core.video.header import damage_text
from core.video.parts import write_part
from core.video.wishes import choose_output


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
    """A `core.media.Medium` of an MP4, MOV, WebM or MKV file.

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

    def __init__(self, path: Path, limits: ClipLimits, wish: ClipWish) -> None:
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
    def encoding(self) -> Encoding:
        """How SR frames are encoded."""
        return Encoding(
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
        with whole_file(target) as unfinished:
            arguments = parts, unfinished, self._output, self._path, self._max_pixels
            written = join_apart(*arguments, go_on)
        if self.damage is None and written < self.frames:
            self.damage = damage_text(f"{written} of {self.frames} frames could be decoded")
