"""Upscale an animation segment by segment, and join the segments to a file.

The SR frames of a segment wait in a part file, a ZIP of losslessly compressed PNGs, until all
segments are done.

Opacity that is all or nothing is interpolated rather than upscaled by the network. The
network has learned photographs: it makes such an edge ragged, with dots beside it.
"""

import io
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from PIL import Image

from core.animation.model import UpscaledAnimation
from core.animation.output import check_size, find_output
from core.animation.read import inspect_in_sandbox, read_frames_in_sandbox
from core.errors import UnreadableClip
from core.files import atomic_write
from core.images import mark_synthetic_detail
from core.images.png import PngLayout, encode_png_rows
from core.images.resize import resize_bicubic
from core.media.medium import (
    JUDGED,
    WARM_UP,
    CheckCancelled,
    ClipLimits,
    Frame,
    Report,
    Segment,
    UpscalePicture,
    never_cancelled,
    pick_judged,
    plan_segments,
)
from core.model.grid import OutputGrid, output_grid
from core.options import OutputOptions
from core.picture import Header, Picture
from core.pixels import LEVELS, PixelArray, Uint8Array
from core.temporal.coherence import upscale_frames, with_cache

EDGE_STEEPNESS = 2
"""Factor that restores the slope of a sharp edge after bicubic interpolation."""


class Animation:
    """An animated GIF, PNG or WebP as a `core.media.medium.Medium`.

    `Medium` describes the attributes.

    Args:
        path: file to read.
        limits: largest size, frame count and length, and largest size of the SR frames.
        options: the caller's output options.
        scale: factor of one pass of the network.

    Raises:
        UnsupportedImage, UnreadableImage, ImageTooLarge: as `read_animation` does.
            ImageTooLarge also if the SR frames exceed the limit, or the output format cannot
            hold them.
        UnreadableClip: if the file crashes the processes that read it.
        UnsupportedClip: if the SR frames are too small for the codec of a video.
        TooMuchMemory: if the file needs too much memory.
        InvalidOptions: if there is no such format, or it does not support an option, or if frames
            cannot get the wanted size.
    """

    kind = "animation"

    def __init__(self, path: Path, limits: ClipLimits, options: OutputOptions, scale: int) -> None:
        self._path, self._options = path, options
        self._max_pixels = limits.frame.max_pixels
        self._merges_undelayed = options.merges_undelayed
        source = inspect_in_sandbox(path, limits, merges_undelayed=self._merges_undelayed)
        self._plays = source.plays
        self.header = header = source.header
        self.height, self.width, self.frames = header.height, header.width, header.frames
        self.headers: Mapping[Header, int] = {Header(self.height, self.width, 4): self.frames}
        self.damage = header.damage
        self._output = find_output(options, header.format)
        self._find_grid = partial(output_grid, options, scale=scale)
        grid = self._grid = self._find_grid(header.height, header.width)
        limits.frame.check_output(grid.height, grid.width, (self.height, self.width))
        check_size(self._output, options, grid.height, grid.width)
        self.suffix, self.mimetype = self._output.suffix, self._output.mimetype

    def segments(self) -> list[Segment]:
        """Return the segments that make up the animation, in order."""
        return plan_segments(self.frames)

    def judged_frames(self, _segment: Segment | None = None) -> Iterator[Picture]:
        """Yield the frames that decide how strongly all are restored."""
        stop = min(JUDGED[-1] + 1, self.frames)
        with closing(self._read_frames(0, stop)) as frames:
            yield from pick_judged(frames)

    def _read_frames(self, start: int, stop: int) -> Generator[Frame]:
        return read_frames_in_sandbox(
            self._path, start, stop, self._max_pixels, merges_undelayed=self._merges_undelayed
        )

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Upscale the frames of a segment into a part file."""
        first = max(0, segment.start - WARM_UP)
        with closing(self._read_frames(first, segment.stop)) as frames:
            sr = upscale_frames(
                frames,
                with_cache(with_smooth_masks(upscale, self._grid)),
                self._find_grid,
                is_coherent=self._options.is_coherent,
                warm_up=segment.start - first,
            )
            write_part(_with_report(sr, report), target)

    def join(
        self, parts: Sequence[Path], target: Path, check_cancelled: CheckCancelled = never_cancelled
    ) -> None:
        """Write the upscaled animation from the part files of all segments.

        Raises:
            UnreadableClip: if no frame could be decoded.
        """
        durations = [duration for part in parts for duration in read_durations(part)]
        if not durations:
            raise UnreadableClip("Animation must have a frame that can be drawn. Received: none.")
        if self.damage is None and len(durations) < self.frames:
            self.damage = f"Only {len(durations)} of {self.frames} frames could be drawn."
        animation = UpscaledAnimation(
            self._grid.height,
            self._grid.width,
            self.header.has_alpha,
            self.header.time_base,
            durations,
            self._plays,
            partial(_read_pictures, parts, check_cancelled),
            mark_synthetic_detail(None) if self._options.has_note else None,
        )
        with atomic_write(target) as unfinished:
            self._output.write(animation, self._options, unfinished)


def with_smooth_masks(upscale: UpscalePicture, grid: OutputGrid) -> UpscalePicture:
    """Wrap an upscaler so that all-or-nothing opacity is enlarged by `enlarge_mask`.

    Args:
        upscale: upscales one frame.
        grid: pixels of the SR frames.
    """

    def upscale_with_smooth_mask(picture: Picture) -> Picture:
        sr = upscale(picture)
        if picture.alpha is None or not _is_mask(picture.alpha):
            return sr
        return replace(sr, alpha=enlarge_mask(picture.alpha, grid))

    return upscale_with_smooth_mask


def enlarge_mask(mask: PixelArray, grid: OutputGrid) -> Uint8Array:
    """Enlarge a mask so that its edges are smooth and stay in place.

    Args:
        mask: (H, W) uint8, 0 or 255.
        grid: pixels of the result.

    Returns:
        uint8 of the size of the grid; only the edge itself has values between 0 and 255.
    """
    (left, right), (top, bottom) = grid.columns.extent, grid.rows.extent
    box = float(left), float(top), float(right), float(bottom)
    interpolated = resize_bicubic(mask, grid.height, grid.width, box).astype(np.float32)
    middle = LEVELS / 2
    steep = np.clip((interpolated - middle) * EDGE_STEEPNESS + middle, 0, LEVELS)
    return np.asarray(np.rint(steep), np.uint8)


def _is_mask(alpha: PixelArray) -> bool:
    return bool(((alpha == 0) | (alpha == LEVELS)).all())


def write_part(frames: Iterable[Frame], target: Path) -> None:
    """Write frames to a part file as they come; `target` appears once it is complete."""
    with atomic_write(target) as unfinished, ZipFile(unfinished, "w", ZIP_STORED) as archive:
        for number, frame in enumerate(frames):
            entry = ZipInfo(f"{number:06}.png")
            entry.comment = f"{frame.start} {frame.duration}".encode()
            archive.writestr(entry, _encode_png(frame.picture))


def read_part(source: Path) -> Iterator[Frame]:
    """Yield the frames of a part file."""
    with ZipFile(source) as archive:
        for entry in archive.infolist():
            start, duration = map(int, entry.comment.split())
            yield Frame(_decode_png(archive.read(entry)), start, duration)


def read_durations(source: Path) -> list[int]:
    """Return the durations of the frames of a part file without decoding them."""
    with ZipFile(source) as archive:
        return [int(entry.comment.split()[1]) for entry in archive.infolist()]


def _encode_png(picture: Picture) -> bytes:
    channels = picture.pixels[..., :1] if picture.is_grey else picture.pixels
    if picture.alpha is not None:
        channels = np.dstack([channels, picture.alpha])
    layout = PngLayout(picture.height, picture.width, picture.channels, picture.bits)
    return b"".join(encode_png_rows([channels], layout))


def _decode_png(png: bytes) -> Picture:
    channels = np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))
    if channels.ndim == 2:
        channels = channels[..., None]
    count = channels.shape[2]
    alpha = np.ascontiguousarray(channels[..., -1]) if count in (2, 4) else None
    is_grey = count < 3
    colour = np.repeat(channels[..., :1], 3, axis=2) if is_grey else channels[..., :3]
    return Picture(np.ascontiguousarray(colour), alpha, is_grey)


def _with_report(frames: Iterator[Frame], report: Report) -> Iterator[Frame]:
    """Yield the frames; report each one when the next is requested."""
    for done, frame in enumerate(frames, start=1):
        yield frame
        report(done)


def _read_pictures(parts: Sequence[Path], check_cancelled: CheckCancelled) -> Iterator[Picture]:
    for frame in chain.from_iterable(map(read_part, parts)):
        check_cancelled()
        yield frame.picture
