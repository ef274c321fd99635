"""Animations as work that is divided: files to segments to files.

Opacity that is all or nothing: a contour, which is made smooth.

The network has learned photographs, and makes such an edge ragged, with dots beside it.

Upscaled frames of a segment, without loss, until all segments are done.

A file is a ZIP of PNGs that are compressed quickly, each with the time of its frame.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
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
from core.animation.read import frames_apart, inspect_apart
from core.errors import UnreadableClip
from core.files import atomic_write
from core.images import mark_synthetic_detail
from core.images.png import PngLayout, encode_png_rows
from core.images.resize import resize_bicubic
from core.media.medium import (
    WARM_UP,
    ClipLimits,
    Frame,
    GoOn,
    Report,
    Segment,
    UpscalePicture,
    always,
    plan_segments,
)
from core.options import OutputOptions
from core.picture import Picture
from core.pixels import LEVELS, PixelArray, Uint8Array
from core.temporal.coherence import upscale_frames, upscale_once

STEEPNESS = 2
"""By which the slope of an interpolated edge is too gentle for one that was sharp."""


def with_contours(upscale: UpscalePicture) -> UpscalePicture:
    """The same, but that the opacity of pictures which are opaque or not is interpolated."""

    def upscale_with_contours(picture: Picture) -> Picture:
        sr = upscale(picture)
        if picture.alpha is None or not _is_mask(picture.alpha):
            return sr
        return replace(sr, alpha=enlarge_mask(picture.alpha, sr.height, sr.width))

    return upscale_with_contours


def enlarge_mask(mask: PixelArray, height: int, width: int) -> Uint8Array:
    """A larger one with smooth contours, which run where they did.

    Args:
        mask: (H, W) uint8, 0 or 255.
        height, width: of the result.

    Returns:
        (height, width) uint8, in between only at the edge itself.
    """
    gentle = resize_bicubic(mask, height, width).astype(np.float32)
    middle = LEVELS / 2
    steep = np.clip((gentle - middle) * STEEPNESS + middle, 0, LEVELS)
    return np.asarray(np.rint(steep), np.uint8)


def _is_mask(alpha: PixelArray) -> bool:
    return bool(((alpha == 0) | (alpha == LEVELS)).all())


def write_part(frames: Iterable[Frame], target: Path) -> None:
    """Write frames as they come; the file is there when all of them are in it."""
    with atomic_write(target) as unfinished, ZipFile(unfinished, "w", ZIP_STORED) as archive:
        for number, frame in enumerate(frames):
            entry = ZipInfo(f"{number:06}.png")
            entry.comment = f"{frame.start} {frame.duration}".encode()
            archive.writestr(entry, _encode(frame.picture))


def read_part(source: Path) -> Iterator[Frame]:
    """The frames that were written, one after the other."""
    with ZipFile(source) as archive:
        for entry in archive.infolist():
            start, duration = map(int, entry.comment.split())
            yield Frame(_decode(archive.read(entry)), start, duration)


def read_durations(source: Path) -> list[int]:
    """Of the frames that were written, without a look at them."""
    with ZipFile(source) as archive:
        return [int(entry.comment.split()[1]) for entry in archive.infolist()]


def _encode(picture: Picture) -> bytes:
    channels = picture.pixels[..., :1] if picture.is_grey else picture.pixels
    if picture.alpha is not None:
        channels = np.dstack([channels, picture.alpha])
    layout = PngLayout(picture.height, picture.width, picture.channels, picture.bits)
    return b"".join(encode_png_rows([channels], layout))


def _decode(png: bytes) -> Picture:
    channels = np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))
    if channels.ndim == 2:
        channels = channels[..., None]
    count = channels.shape[2]
    alpha = np.ascontiguousarray(channels[..., -1]) if count in (2, 4) else None
    is_grey = count < 3
    colour = np.repeat(channels[..., :1], 3, axis=2) if is_grey else channels[..., :3]
    return Picture(np.ascontiguousarray(colour), alpha, is_grey)


class Animation:
    """An animated GIF, PNG or WebP as a `core.media.medium.Medium`, which describes the attributes.

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

    def __init__(self, path: Path, limits: ClipLimits, wish: OutputOptions, scale: int) -> None:
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
        film = UpscaledAnimation(
            self._scale * self.height,
            self._scale * self.width,
            self.header.has_alpha,
            self.header.time_base,
            durations,
            self._reel.plays,
            partial(_pictures, parts, go_on),
            mark_synthetic_detail(None) if self._wish.has_note else None,
        )
        with atomic_write(target) as unfinished:
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
