"""Animations as work that is divided: files to segments to files."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from core.animation.contours import with_contours
from core.animation.film import Film
from core.animation.formats import check_size, find_output
from core.animation.parts import PARTIAL, read_part, write_part
from core.animation.reading import read_animation
from core.clips import ClipLimits, ClipWish, Frame, UpscalePicture
from core.coherence import upscale_frames
from core.images.xmp import note_synthetic_detail
from core.media import WARM_UP, Report, Segment, plan_segments
from core.picture import Picture
from core.recurrence import upscale_once

SCALE = 4


class Animation:
    """An animated GIF, PNG or WebP; a `core.media.Medium`, where the attributes are described.

    Args:
        source: the file, which is read here and not needed any more.
        wish: how the result is to be.
        limits: what the file may measure; None for no limit.

    Raises:
        UnsupportedImage, UnreadableImage, ImageTooLarge: as `read_animation` does, and
            if the format wished for cannot hold the SR frames.
        ValueError: if there is no such format.
    """

    kind = "animation"

    def __init__(self, source: Path, wish: ClipWish, limits: ClipLimits | None = None) -> None:
        with source.open("rb") as file:
            self._reel = read_animation(file, limits)
        header = self._reel.header
        self.header = header
        self.height, self.width, self.frames = header.height, header.width, header.frames
        self.damage = header.damage
        self._wish = wish
        self._output = find_output(wish.format, header.format)
        check_size(self._output, SCALE * header.height, SCALE * header.width)
        self.suffix, self.mimetype = self._output.suffix, self._output.mimetype

    def segments(self) -> list[Segment]:
        return plan_segments(self.frames)

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        first = max(0, segment.start - WARM_UP)
        sr = upscale_frames(
            self._reel.frames(first, segment.stop),
            upscale_once(with_contours(upscale)),
            is_coherent=self._wish.is_coherent,
            warm_up=segment.start - first,
        )
        write_part(_reported(sr, report), target)

    def join(self, parts: Sequence[Path], target: Path) -> None:
        film = Film(
            SCALE * self.height,
            SCALE * self.width,
            self.header.has_alpha,
            self.header.time_base,
            self._reel.durations,
            self._reel.plays,
            partial(_pictures, parts),
            note_synthetic_detail(None) if self._wish.has_note else None,
        )
        unfinished = target.with_name(target.name + PARTIAL)
        try:
            with unfinished.open("wb") as file:
                self._output.write(film, self._wish, file)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


def _reported(frames: Iterator[Frame], report: Report) -> Iterator[Frame]:
    """Frames passed on, and counted when the next is asked for."""
    for done, frame in enumerate(frames, start=1):
        yield frame
        report(done)


def _pictures(parts: Sequence[Path]) -> Iterator[Picture]:
    return (frame.picture for frame in chain.from_iterable(map(read_part, parts)))
