"""Clips, which are pictures that move: what is known of one, its frames, how it is wished for.

What takes minutes to upscale, and how it is divided: into segments, each computed alone.

A segment is computed from the file and its number, from nothing else. So segments can be
computed in any order, by anybody, twice if need be, and the result is always the same.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol

from core.images import Limits
from core.picture import Picture

UpscalePicture = Callable[[Picture], Picture]
"""A frame as it came -> the frame four times as wide and high, by itself."""


class Frame(NamedTuple):
    """One frame of a clip.

    Attributes:
        picture: upright, sRGB, whole: what came before it is not needed to show it.
        start: when it is shown, in units of the clip's time base.
        duration: for how long; 0 if that is not known.
    """

    picture: Picture
    start: int
    duration: int


@dataclass(frozen=True)
class ClipHeader:
    """What is known of a clip before its frames are decoded for use.

    Attributes:
        format: of the file, as people write it.
        height: of the upright frames, LR px.
        width: likewise.
        frames: that can be shown.
        time_base: seconds of a unit of time.
        seconds: from the first frame to the end of the last.
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
    """What a clip may measure.

    Attributes:
        frame: what one frame may measure, and how many there may be.
        max_seconds: that it may last.
    """

    frame: Limits
    max_seconds: float


SEGMENT = 96
"""Frames of a segment: what a restart may have to compute again."""

WARM_UP = 8
"""Frames before a segment that are computed with it, so that it continues what came before: after
so many, frames are within 0.7 levels in the mean of what they were with all before them."""

Report = Callable[[int], None]
"""Told how many frames of a segment are done."""

GoOn = Callable[[], None]


def always() -> None:
    """Nothing ends the work."""


@dataclass(frozen=True)
class Segment:
    """Frames of a medium that are computed together.

    Attributes:
        index: its place among the segments.
        start: its first frame.
        stop: the first frame after it.
    """

    index: int
    start: int
    stop: int

    @property
    def frames(self) -> int:
        return self.stop - self.start


PICTURES = "pictures"
"""The kind of medium whose frames have nothing to do with each other."""


class Medium(Protocol):
    """A file of frames or pictures, as it is wished for.

    Attributes:
        kind: "video", "animation" or `PICTURES`.
        height: of a frame, LR px; of the largest of several pictures.
        width: likewise.
        frames: to be computed.
        suffix: of the result's name, such as ".mp4".
        mimetype: of the result.
        damage: what is wrong with the file, for its owner; None if nothing is.
    """

    kind: str
    height: int
    width: int
    frames: int
    suffix: str
    mimetype: str
    damage: str | None

    def segments(self) -> list[Segment]:
        """All of it, in order."""

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Compute a segment and write it to a file of a form that only `join` reads.

        What `upscale` or `report` raises ends the work.
        """

    def join(self, parts: Sequence[Path], target: Path, go_on: GoOn = always) -> None:
        """Write the result, of the files of all segments in order.

        Afterwards `damage` also says what could not be decoded.

        Args:
            parts: the files.
            target: of the result.
            go_on: called now and then; what it raises ends the work.
        """


def plan_segments(frames: int, length: int = SEGMENT) -> list[Segment]:
    """Segments of so many frames, the last with what is left.

    >>> [segment.frames for segment in plan_segments(130)]
    [96, 34]
    """
    starts: Iterable[int] = range(0, frames, length)
    return [
        Segment(index, start, min(start + length, frames)) for index, start in enumerate(starts)
    ]
