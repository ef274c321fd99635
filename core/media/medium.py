"""Medium: a file of frames or pictures to upscale, divided into segments.

A segment is computed from the file, its options and the segment's number, and from nothing
else. So any process can compute any segment, in any order, more than once, and the result is
always the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median_low
from typing import IO, NamedTuple, Protocol, runtime_checkable

from core.images import Limits
from core.picture import Header, Picture

SEGMENT = 96
"""Number of frames in a segment. A restart may have to compute up to so many frames again."""

WARM_UP = 8
"""Number of frames before a segment that are computed with it, so that the segment continues what
came before. After so many, frames differ by 0.7 levels or less in the mean from what they were with
all frames before them."""

PICTURES = "pictures"
"""Kind of a picture, and of an archive of pictures and clips."""

PLAN_VERSION = 2
"""Raised when files are divided into other segments or frames. Those of versions before do not fit
to new ones."""

JUDGED = (0, 12, 24)
"""Numbers of the frames that decide how strongly a clip is restored: the first second of most."""

JudgePicture = Callable[[Picture], float]
"""Function that returns how strongly to restore a picture, in [0, 1]."""

UpscalePicture = Callable[[Picture], Picture]
"""Function that upscales one frame by itself: LR -> SR of the size that the options ask for."""


@runtime_checkable
class PictureUpscaler(Protocol):
    """An `UpscalePicture` that also writes pictures row by row, in memory that it reserves."""

    def reserve(self, header: Header) -> None:
        """Reserve the memory for decoding and upscaling a picture, until the next one.

        Raises:
            TooMuchMemory: if it is more than there is.
        """

    def write(self, lr: Picture, output: IO[bytes]) -> None:
        """Upscale a picture and write its file."""


Report = Callable[[int], None]
"""Function called with the number of frames of a segment that are done."""

CheckCancelled = Callable[[], None]
"""Function called now and then during long work. What it raises ends the work."""


def never_cancelled() -> None:
    """Return, as nobody cancels the work; a `CheckCancelled`."""


class Frame(NamedTuple):
    """One frame of a clip.

    Attributes:
        picture: upright sRGB picture, complete: no earlier frame is needed to show it.
        start: time at which it is shown, in units of the clip's time base.
        duration: how long it is shown, in the same units; 0 if that is unknown.
    """

    picture: Picture
    start: int
    duration: int


@dataclass(frozen=True)
class ClipHeader:
    """Properties of a clip that are known before its frames are decoded.

    Attributes:
        format: file format, as people write it.
        height: height of the upright frames, LR px.
        width: width of the upright frames, LR px.
        frames: number of frames that can be shown.
        time_base: seconds of a unit of time.
        seconds: time from the first frame to the end of the last.
        has_alpha: whether frames may be transparent in places.
        damage: what is wrong with the file, for its owner; None if nothing is.
    """

    format: str
    height: int
    width: int
    frames: int
    time_base: Fraction
    seconds: float
    has_alpha: bool = False
    damage: str | None = None


@dataclass(frozen=True)
class ClipLimits:
    """Limits on a clip.

    Attributes:
        frame: limits on the size of a frame and on the number of frames.
        max_seconds: longest duration.
        picture: limits on a picture, alone or in an archive, and on the number of pictures; None
            for those of a frame.
    """

    frame: Limits
    max_seconds: float
    picture: Limits | None = None

    @property
    def of_pictures(self) -> Limits:
        """Limits on a picture, alone or in an archive."""
        return self.picture or self.frame


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of a medium that are computed together.

    Attributes:
        index: position among the segments, from 0.
        start: index of its first frame.
        stop: index of the first frame after it.
        is_clip: whether it is a part of a clip in an archive, whose other files may be pictures.
    """

    index: int
    start: int
    stop: int
    is_clip: bool = False

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start


class Medium(Protocol):
    """A file to upscale, together with the options of the result.

    Attributes:
        kind: "video", "animation" or `PICTURES`.
        height: height of a frame, LR px; that of the highest where there are several pictures.
        width: width of a frame, LR px; that of the widest where there are several pictures.
        frames: number of frames to compute.
        headers: number of frames by their headers; frames of a clip have the most channels.
        suffix: suffix of the result's name, such as ".mp4".
        mimetype: media type of the result.
        damage: what is wrong with the file, for its owner; None if nothing is.
    """

    kind: str
    height: int
    width: int
    frames: int
    headers: Mapping[Header, int]
    suffix: str
    mimetype: str
    damage: str | None

    def segments(self) -> list[Segment]:
        """Return all segments in order."""

    def judged_frames(self, segment: Segment | None = None) -> Iterator[Picture]:
        """Yield the frames of a clip that `JUDGED` names; none of pictures.

        Args:
            segment: decides which file of an archive is meant; None for all of another medium.
        """

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Compute a segment and write it to a file that only `join` can read.

        What `upscale` or `report` raises ends the work.
        """

    def join(
        self, parts: Sequence[Path], target: Path, check_cancelled: CheckCancelled = never_cancelled
    ) -> None:
        """Join the segments to the result.

        Afterwards `damage` also says what could not be decoded.

        Args:
            parts: files of all segments in order.
            target: path of the result.
            check_cancelled: called now and then; what it raises ends the work.
        """


def pick_judged(frames: Iterable[Frame]) -> Iterator[Picture]:
    """Yield the pictures of those frames, counted from 0, that `JUDGED` names."""
    for number, frame in enumerate(frames):
        if number in JUDGED:
            yield frame.picture


def is_of_clip(medium: Medium, segment: Segment | None = None) -> bool:
    """Return whether a medium, or a segment of it, is of a clip rather than of pictures."""
    return medium.kind != PICTURES or (segment is not None and segment.is_clip)


def clip_strength(
    medium: Medium, judge: JudgePicture, segment: Segment | None = None
) -> float | None:
    """Return how strongly to restore all frames of a clip: the median of some of the first ones.

    It is None for pictures, which are judged one by one, and 0 if no frame can be decoded.

    Args:
        medium: a clip, a picture or an archive.
        judge: returns how strongly to restore a picture.
        segment: decides which file of an archive is meant.
    """
    if not is_of_clip(medium, segment):
        return None
    return median_low([judge(picture) for picture in medium.judged_frames(segment)] or [0.0])


def plan_segments(frames: int, length: int = SEGMENT) -> list[Segment]:
    """Divide frames into segments of a length. The last one holds the rest.

    >>> [segment.frames for segment in plan_segments(130)]
    [96, 34]
    """
    starts = range(0, frames, length)
    return [
        Segment(index, start, min(start + length, frames)) for index, start in enumerate(starts)
    ]
