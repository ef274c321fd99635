"""Clips from file to file, or through pipes, in one go."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from core.clips import ClipLimits, ClipWish, Frame, UpscalePicture
from core.coherence import upscale_frames
from core.media import Medium, Report
from core.picture import Picture
from core.video import (
    USUAL_QUALITY,
    Encoding,
    Output,
    RawClip,
    choose_codec,
    encode_alone,
    read_raw,
    write_raw,
)


def upscale_medium(medium: Medium, upscale: UpscalePicture, target: Path, report: Report) -> None:
    """Write the upscaled medium; interrupted, it leaves nothing.

    Args:
        medium: what is upscaled.
        upscale: what upscales a frame.
        target: the file to write; its folder is made if it is not there.
        report: told how many frames of all are done.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        parts = []
        for segment in medium.segments():
            parts.append(Path(folder, f"{segment.index}"))
            medium.render(segment, upscale, parts[-1], partial(tell, report, segment.start))
        medium.join(parts, target)


def tell(report: Report, before: int, done: int) -> None:
    report(before + done)


def upscale_pipe(
    source: IO[bytes],
    target: IO[bytes] | Path,
    upscale: UpscalePicture,
    limits: ClipLimits,
    wish: ClipWish,
    report: Report,
) -> None:
    """Upscale raw frames as they come.

    Args:
        source: YUV4MPEG2.
        target: a file for the same, or the path of a video.
        upscale: what upscales a frame.
        limits: what frames may measure.
        wish: how the video is wished for; of raw frames, whether they agree.
        report: told how many frames are done.
    """
    with read_raw(source, limits) as clip:
        sr = upscale_frames(clip.frames, upscale, is_coherent=wish.is_coherent)
        if isinstance(target, Path):
            encode_alone(sr, target, *as_video(clip, wish), report)
        else:
            pictures = reported(sr, report)
            write_raw(target, pictures, clip.rate, clip.aspect, clip.colour)


def as_video(clip: RawClip, wish: ClipWish) -> tuple[Encoding, Output]:
    """How raw frames are written to a file."""
    kind = wish.format or "mp4"
    codec = choose_codec(kind, wish.codec)
    quality = wish.quality or USUAL_QUALITY
    return (
        Encoding(codec, quality, clip.rate, clip.aspect, clip.colour),
        Output(kind, codec, 1 / clip.rate, wish.has_note),
    )


def reported(frames: Iterator[Frame], report: Report) -> Iterator[Picture]:
    for done, frame in enumerate(frames, start=1):
        yield frame.picture
        report(done)
