"""Which files become which: what a command line was told, as jobs.

Which medium a file is, by what is in it.

Clips from file to file, or through pipes, in one go.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple

from core.animation import OUTPUTS as ANIMATED
from core.animation import Animation, has_several_frames, is_animation
from core.images import FORMATS as PICTURES
from core.images import OUTPUT_FORMATS, SUFFIXES
from core.media.medium import ClipLimits, Frame, Medium, OutputOptions, Report, UpscalePicture
from core.media.pictures import open_pictures
from core.media.render import PNG
from core.picture import Picture
from core.sandbox.decoder import Decoder
from core.temporal.coherence import upscale_frames
from core.video import (
    CONTAINERS,
    DEFAULT_QUALITY,
    EncoderSettings,
    RawClip,
    Video,
    VideoOutput,
    choose_codec,
    read_raw,
    sniff,
    write_raw,
    write_silent_video,
)
from core.video import SUFFIXES as CLIP_SUFFIXES

TAKEN = (*PICTURES, *(container.name for container in CONTAINERS.values()), "ZIP")
"""Formats of files that can be opened; GIF, PNG and WebP also where they move."""

STILL = tuple(name for name in OUTPUT_FORMATS if name not in ANIMATED)
"""Formats that hold one picture, whatever they are made of."""

ONE_FRAME = 1


def open_medium(
    path: Path, limits: ClipLimits, wish: OutputOptions, *, decoder: Decoder, scale: int
) -> Medium:
    """A file as a medium that can be upscaled.

    Args:
        path: the file; its name says nothing.
        limits: what it may measure.
        wish: how the caller wants it.
        decoder: of pictures.
        scale: SR pixels per LR pixel, on each side.

    Raises:
        SuperResolutionError: as `core.video.Video`, `core.animation.Animation` and
            `core.media.pictures.open_pictures` do.
    """
    if sniff(path) is not None:
        return Video(path, limits, wish)
    with path.open("rb") as file:
        moves = is_animation(file)
    if moves and not is_still(path, limits, wish, decoder):
        return Animation(path, limits, wish, scale)
    return open_pictures(path, limits, wish, decoder=decoder)


def is_still(path: Path, limits: ClipLimits, wish: OutputOptions, decoder: Decoder) -> bool:
    """Whether a file of a kind that can move is to become one picture."""
    if wish.format in STILL:
        return True
    if wish.format not in OUTPUT_FORMATS:
        return False
    with path.open("rb") as file:
        return decoder.read_header(file, limits.frame).frames == ONE_FRAME


OUTPUT_SUFFIXES = {f".{name}": name for name in OUTPUT_FORMATS} | {".jpg": "jpeg"}
VIDEO_OUTPUTS = {container.suffix: name for name, container in CONTAINERS.items()}
ANIMATION_OUTPUTS = {".gif": "gif", ".apng": "apng", ".png": "apng", ".webp": "webp"}
ALIASES = {".m4v": ".mp4"}
"""Suffixes of clips that are read, and the ones under which they are written."""

PIPE = Path("-")


class ConversionTask(NamedTuple):
    """One file to upscale."""

    source: Path
    target: Path

    @property
    def clip_format(self) -> str | None:
        """Format of a clip that is to be made; None for a picture."""
        suffix = self.target.suffix.lower()
        if suffix in OUTPUT_SUFFIXES and not has_several_frames(self.source):
            return None
        return (VIDEO_OUTPUTS | ANIMATION_OUTPUTS).get(suffix)


class WrongArguments(Exception):
    """IN or OUT cannot be used."""


def plan_jobs(source: Path, target: Path, folder_format: str = PNG) -> list[ConversionTask]:
    """What is to be written where, in a folder in the format given.

    Raises:
        WrongArguments: if there is nothing to upscale, or OUT is of the wrong kind.
    """
    if source == PIPE:
        check_is_clip(target)
        return [ConversionTask(source, target)]
    if source.is_dir():
        jobs = list(plan_folder(source, target, folder_format))
        check_targets_differ(jobs)
        return jobs
    if not source.exists():
        raise WrongArguments(f"IN must be a file or a folder. Received: {source}, not there.")
    if target.is_dir():
        target = target / f"{source.stem}{result_suffix(source, folder_format)}"
    suffixes = list(OUTPUT_SUFFIXES | VIDEO_OUTPUTS | ANIMATION_OUTPUTS)
    if target.suffix.lower() not in suffixes:
        raise WrongArguments(
            f"OUT must be a folder or a file ending in {', '.join(suffixes)}. Received: {target}"
        )
    if target.resolve() == source.resolve():
        raise WrongArguments(f"OUT must be another file than IN. Received: {target}")
    return [ConversionTask(source, target)]


def check_is_clip(target: Path) -> None:
    """Raise WrongArguments unless raw frames can be written there."""
    if target != PIPE and target.suffix.lower() not in VIDEO_OUTPUTS:
        raise WrongArguments(
            f"OUT must be - or a file ending in {', '.join(VIDEO_OUTPUTS)}, since IN is -. "
            f"Received: {target}"
        )


def result_suffix(source: Path, picture_format: str) -> str:
    """Clips stay what they are; pictures become what is wished for."""
    suffix = source.suffix.lower()
    if suffix in CLIP_SUFFIXES or has_several_frames(source):
        return ALIASES.get(suffix, suffix)
    return f".{picture_format}"


def plan_folder(source: Path, target: Path, folder_format: str) -> Iterator[ConversionTask]:
    """One job for each picture and each clip of a folder, named after it.

    Where two differ in their suffix only, the suffix stays in the name.
    """
    if target.exists() and not target.is_dir():
        raise WrongArguments(f"OUT must be a folder, since IN is one. Received: {target}, a file.")
    if target.exists() and target.samefile(source):
        raise WrongArguments(f"OUT must be another folder than IN. Received: {target}")
    taken = {*SUFFIXES, *CLIP_SUFFIXES, *ANIMATION_OUTPUTS}
    files = [file for file in sorted(source.iterdir()) if file.suffix.lower() in taken]
    if not files:
        raise WrongArguments(
            f"IN must hold pictures or clips. Received: {source}, which holds none."
        )
    namesakes = Counter(file.stem for file in files)
    for file in files:
        stem = file.stem if namesakes[file.stem] == 1 else file.name
        yield ConversionTask(file, target / f"{stem}{result_suffix(file, folder_format)}")


def check_targets_differ(jobs: list[ConversionTask]) -> None:
    """Raise WrongArguments rather than write two results to one file."""
    sources: dict[Path, Path] = {}
    for source, target in jobs:
        if target in sources:
            raise WrongArguments(
                "IN must hold files whose names can be told apart. "
                f"Received: {sources[target].name} and {source.name}, both for {target.name}."
            )
        sources[target] = source


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
    wish: OutputOptions,
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
            write_silent_video(sr, target, *as_video(clip, wish), report)
        else:
            pictures = reported(sr, report)
            write_raw(target, pictures, clip.rate, clip.aspect, clip.colour)


def as_video(clip: RawClip, wish: OutputOptions) -> tuple[EncoderSettings, VideoOutput]:
    """How raw frames are written to a file."""
    kind = wish.format or "mp4"
    codec = choose_codec(kind, wish.codec)
    quality = wish.quality or DEFAULT_QUALITY
    return (
        EncoderSettings(codec, quality, clip.rate, clip.aspect, clip.colour),
        VideoOutput(kind, codec, 1 / clip.rate, wish.has_note),
    )


def reported(frames: Iterator[Frame], report: Report) -> Iterator[Picture]:
    for done, frame in enumerate(frames, start=1):
        yield frame.picture
        report(done)
