"""Animations as work that is divided: files to segments to files."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from core.animation.apart import frames_apart, inspect_apart
from core.animation.contours import with_contours
from core.animation.film import Film
from core.animation.formats import check_size, find_output
from core.animation.parts import read_durations, read_part, write_part
from core.clips import ClipLimits, ClipWish, Frame, UpscalePicture
from core.coherence import upscale_frames
from core.errors import UnreadableClip
from core.files import whole_file
from core.images import note_synthetic_detail
from core.media import WARM_UP, GoOn, Report, Segment, always, plan_segments
from core.picture import Picture
from core.recurrence import upscale_once


class Animation:
    """An animated GIF, PNG or WebP; a `core.media.Medium`, where the attributes are described.

    Args:
        path: the file.
        limits: what it may measure.
        wish: how the result is to be.
        scale: SR pixels per LR pixel, on each side.

    Raises:
        UnsupportedImage, UnreadableImage, ImageTooLarge: as `read_animation` does, and
            if the format wished for cannot hold the SR frames.
        UnreadableClip: if the file ends the processes that read it.
        TooMuchMemory: if it takes too much to be read.
        InvalidWish: if there is no such format, or it has no such option.
    """

    kind = "animation"

    def __init__(self, path: Path, limits: ClipLimits, wish: ClipWish, scale: int) -> None:
        self._path, self._wish, self._scale = path, wish, scale
        self._max_pixels = limits.frame.max_pixels
        self._reel = inspect_apart(path, limits)
        header = self._reel.header
        self.header = header
        self.height, self.width, self.frames = header.height, header.width, header.frames
        self.damage = header.damage
        self._output = find_output(wish, header.format)
        check_size(self._output, scale * header.height, scale * header.width)
        self.suffix, self.mimetype = self._output.suffix, self._output.mimetype

    def segments(self) -> list[Segment]:
        return plan_segments(self.frames)

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        first = max(0, segment.start - WARM_UP)
        with closing(frames_apart(self._path, first, segment.stop, self._max_pixels)) as frames:
            sr = upscale_frames(
                frames,
                upscale_once(with_contours(upscale)),
                is_coherent=self._wish.is_coherent,
                warm_up=segment.start - first,
            )
            write_part(_reported(sr, report), target)

    def join(self, parts: Sequence[Path], target: Path, go_on: GoOn = always) -> None:
        durations = [duration for part in parts for duration in read_durations(part)]
        if not durations:
            raise UnreadableClip("Animation must have a frame that can be drawn. Received: none.")
        if self.damage is None and len(durations) < self.frames:
            self.damage = f"Only {len(durations)} of {self.frames} frames could be drawn."
        film = Film(
            self._scale * self.height,
            self._scale * self.width,
            self.header.has_alpha,
            self.header.time_base,
            durations,
            self._reel.plays,
            partial(_pictures, parts, go_on),
            note_synthetic_detail(None) if self._wish.has_note else None,
        )
        with whole_file(target) as unfinished:
            self._output.write(film, self._wish, unfinished)


def _reported(frames: Iterator[Frame], report: Report) -> Iterator[Frame]:
    """Frames passed on, and counted when the next is asked for."""
    for done, frame in enumerate(frames, start=1):
        yield frame
        report(done)


def _pictures(parts: Sequence[Path], go_on: GoOn) -> Iterator[Picture]:
    for frame in chain.from_iterable(map(read_part, parts)):
        go_on()
        yield frame.picture
