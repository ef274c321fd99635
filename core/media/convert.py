"""Convert files: detect what a file holds, upscale it as a whole, and plan the command line's work.

Jobs use `open_medium` and compute segments themselves. The command line uses all of this module.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple

from core.animation import Animation, has_several_frames, is_animation
from core.images import PILLOW_FORMATS
from core.images import SUFFIXES as IMAGE_SUFFIXES
from core.media.medium import ClipLimits, Frame, Medium, Report, UpscalePicture
from core.media.pictures import open_pictures
from core.model.grid import output_grid
from core.options import (
    ANIMATION_FORMATS,
    PICTURE_FORMATS,
    PNG,
    OutputOptions,
)
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
from core.video import SUFFIXES as VIDEO_SUFFIXES

FILE_FORMATS = (*PILLOW_FORMATS, *(container.name for container in CONTAINERS.values()), "ZIP")
"""Formats of files that can be opened, as people write them. GIF, PNG and WebP may be animated."""

STILL_FORMATS = tuple(name for name in PICTURE_FORMATS if name not in ANIMATION_FORMATS)
"""Output formats that hold one picture only."""

PICTURE_OUTPUTS = {f".{name}": name for name in PICTURE_FORMATS} | {".jpg": "jpeg"}
"""Output format of each suffix of a picture."""

ANIMATION_OUTPUTS = {".gif": "gif", ".apng": "apng", ".png": "apng", ".webp": "webp"}
"""Output format of each suffix of an animation."""

VIDEO_OUTPUTS = {container.suffix: name for name, container in CONTAINERS.items()}
"""Output format of each suffix of a video."""

RENAMED_SUFFIXES = {".m4v": ".mp4"}
"""Suffixes of videos that are read but not written, and those that are written instead."""

PIPE = Path("-")
"""IN or OUT of the command line that means standard input or standard output."""


def open_medium(
    path: Path, limits: ClipLimits, options: OutputOptions, *, decoder: Decoder, scale: int
) -> Medium:
    """Open a file as a medium that can be upscaled.

    Args:
        path: path of the file. Its content decides what it is, not its name.
        limits: limits on the file.
        options: options of the result.
        decoder: decoder of pictures.
        scale: factor of one pass of the network.

    Raises:
        SuperResolutionError: as `core.video.Video`, `core.animation.Animation` and
            `core.media.pictures.open_pictures` do.
    """
    if sniff(path) is not None:
        return Video(path, limits, options, scale)
    with path.open("rb") as file:
        may_move = is_animation(file)
    if may_move and not becomes_picture(path, limits, options, decoder):
        return Animation(path, limits, options, scale)
    return open_pictures(path, limits, options, decoder=decoder, scale=scale)


def becomes_picture(
    path: Path, limits: ClipLimits, options: OutputOptions, decoder: Decoder
) -> bool:
    """Return whether a file that may be animated is to become one picture."""
    if options.format in STILL_FORMATS:
        return True
    if options.format not in PICTURE_FORMATS:
        return False
    with path.open("rb") as file:
        return decoder.read_header(file, limits.of_pictures).frames == 1


def upscale_medium(medium: Medium, upscale: UpscalePicture, target: Path, report: Report) -> None:
    """Upscale a whole medium to a file. An interruption leaves no file.

    Args:
        medium: medium to upscale.
        upscale: upscales one frame.
        target: path of the result. Its folder is created if it does not exist.
        report: called with the number of all frames that are done.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        parts = []
        for segment in medium.segments():
            parts.append(Path(folder, f"{segment.index}"))
            report_all = partial(report_with_offset, report, segment.start)
            medium.render(segment, upscale, parts[-1], report_all)
        medium.join(parts, target)


def report_with_offset(report: Report, offset: int, done: int) -> None:
    """Report the frames that are done of a segment together with those before it."""
    report(offset + done)


def upscale_pipe(
    source: IO[bytes],
    target: IO[bytes] | Path,
    upscale: UpscalePicture,
    limits: ClipLimits,
    options: OutputOptions,
    scale: int,
    report: Report,
) -> None:
    """Upscale raw frames as they arrive.

    Args:
        source: file of raw frames, YUV4MPEG2.
        target: file for raw frames, or the path of a video.
        upscale: upscales one frame.
        limits: limits on a frame and on what becomes of it.
        options: options of the result. Raw frames only have `is_coherent` and a size.
        scale: factor of one pass of the network.
        report: called with the number of frames that are done.

    Raises:
        InvalidOptions: if frames cannot get the wanted size.
        ImageTooLarge: if the SR frames exceed the limit.
        SuperResolutionError: as `core.video.read_raw` and `core.video.write_silent_video` do.
    """
    find_grid = partial(output_grid, options, scale=scale)
    with read_raw(source, limits) as clip:
        grid = find_grid(clip.height, clip.width)
        limits.frame.check_output(grid.height, grid.width, (clip.height, clip.width))
        sr = upscale_frames(clip.frames, upscale, find_grid, is_coherent=options.is_coherent)
        if isinstance(target, Path):
            write_silent_video(sr, target, *video_settings(clip, options), report)
        else:
            write_raw(target, report_each(sr, report), clip.rate, clip.aspect, clip.colour)


def video_settings(clip: RawClip, options: OutputOptions) -> tuple[EncoderSettings, VideoOutput]:
    """Return how raw frames are encoded, and the video that they are written to."""
    container = options.format or "mp4"
    codec = choose_codec(container, options.codec)
    quality = options.quality or DEFAULT_QUALITY
    return (
        EncoderSettings(codec, quality, clip.rate, clip.aspect, clip.colour),
        VideoOutput(container, codec, 1 / clip.rate, options.has_note),
    )


def report_each(frames: Iterator[Frame], report: Report) -> Iterator[Picture]:
    """Yield the pictures of frames, and report each one when the next is asked for."""
    for done, frame in enumerate(frames, start=1):
        yield frame.picture
        report(done)


class WrongArguments(Exception):
    """IN or OUT of the command line cannot be used."""


class ConversionTask(NamedTuple):
    """One file to upscale, and the file to write."""

    source: Path
    target: Path

    @property
    def clip_format(self) -> str | None:
        """Output format if the result is a clip; None if it is a picture."""
        suffix = self.target.suffix.lower()
        if suffix in PICTURE_OUTPUTS and not has_several_frames(self.source):
            return None
        return (VIDEO_OUTPUTS | ANIMATION_OUTPUTS).get(suffix)


def plan_tasks(source: Path, target: Path, folder_format: str = PNG) -> list[ConversionTask]:
    """Return which files are upscaled to which.

    Args:
        source: IN of the command line: a file, a folder, or `PIPE`.
        target: OUT of the command line.
        folder_format: output format of pictures that are written to a folder.

    Raises:
        WrongArguments: if there is nothing to upscale, or if OUT does not suit IN.
    """
    if source == PIPE:
        check_is_clip(target)
        return [ConversionTask(source, target)]
    if source.is_dir():
        tasks = list(plan_folder(source, target, folder_format))
        check_targets_differ(tasks)
        return tasks
    if not source.exists():
        raise WrongArguments(
            f"IN must be a file or a folder. Received: {source}, which does not exist."
        )
    return [plan_file(source, target, folder_format)]


def plan_file(source: Path, target: Path, folder_format: str) -> ConversionTask:
    """Return the task for one file, to a file or into a folder."""
    if target.is_dir():
        target = target / f"{source.stem}{result_suffix(source, folder_format)}"
    suffixes = list(PICTURE_OUTPUTS | VIDEO_OUTPUTS | ANIMATION_OUTPUTS)
    if target.suffix.lower() not in suffixes:
        raise WrongArguments(
            f"OUT must be a folder or a file ending in {', '.join(suffixes)}. Received: {target}"
        )
    if target.resolve() == source.resolve():
        raise WrongArguments(f"OUT must be another file than IN. Received: {target}")
    return ConversionTask(source, target)


def plan_folder(source: Path, target: Path, folder_format: str) -> Iterator[ConversionTask]:
    """Yield a task for each picture and each clip of a folder. Results keep the files' names.

    Where names differ in their suffix only, the suffix stays in the name of the result.
    """
    if target.exists() and not target.is_dir():
        raise WrongArguments(f"OUT must be a folder, since IN is one. Received: {target}, a file.")
    if target.exists() and target.samefile(source):
        raise WrongArguments(f"OUT must be another folder than IN. Received: {target}")
    suffixes = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, *ANIMATION_OUTPUTS}
    files = [file for file in sorted(source.iterdir()) if file.suffix.lower() in suffixes]
    if not files:
        raise WrongArguments(
            f"IN must hold pictures or clips. Received: {source}, which holds none."
        )
    occurrences = Counter(file.stem for file in files)
    for file in files:
        stem = file.stem if occurrences[file.stem] == 1 else file.name
        yield ConversionTask(file, target / f"{stem}{result_suffix(file, folder_format)}")


def result_suffix(source: Path, picture_format: str) -> str:
    """Return the suffix of a result. Clips keep their format, pictures get the one given."""
    suffix = source.suffix.lower()
    if suffix in VIDEO_SUFFIXES or has_several_frames(source):
        return RENAMED_SUFFIXES.get(suffix, suffix)
    return f".{picture_format}"


def check_is_clip(target: Path) -> None:
    """Raise WrongArguments unless raw frames can be written to OUT."""
    if target != PIPE and target.suffix.lower() not in VIDEO_OUTPUTS:
        raise WrongArguments(
            f"OUT must be - or a file ending in {', '.join(VIDEO_OUTPUTS)}, since IN is -. "
            f"Received: {target}"
        )


def check_targets_differ(tasks: list[ConversionTask]) -> None:
    """Raise WrongArguments if two results would be written to one file."""
    sources: dict[Path, Path] = {}
    for source, target in tasks:
        if target in sources:
            raise WrongArguments(
                "IN must hold files whose names can be told apart. "
                f"Received: {sources[target].name} and {source.name}, both for {target.name}."
            )
        sources[target] = source
