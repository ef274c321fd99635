"""Convert files: detect what a file holds, upscale it as a whole, and plan the command line's work.

Jobs use `open_medium` and compute segments themselves. The command line uses all of this module.
"""

import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple

from core.animation import Animation, has_several_frames, is_animation
from core.images import PILLOW_FORMATS
from core.images import SUFFIXES as IMAGE_SUFFIXES
from core.media.archive import is_archive
from core.media.media_archive import MediaArchive
from core.media.medium import ClipLimits, Frame, Medium, Report, UpscalePicture
from core.media.pictures import open_picture
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
    Readable,
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
    path: Path, limits: ClipLimits, options: OutputOptions, scale: int, *, decoder: Decoder
) -> Medium:
    """Open a file as a medium that can be upscaled.

    Args:
        path: path of the file. Its content decides what it is, not its name.
        limits: limits on the file.
        options: options of the result.
        decoder: decoder of pictures.
        scale: factor of one pass of the network.

    Raises:
        SuperResolutionError: as `core.video.Video`, `core.animation.Animation`,
            `core.media.media_archive.MediaArchive` and `core.media.pictures.open_picture` do.
    """
    if is_archive(path):
        return MediaArchive(path, limits, options, decoder=decoder, scale=scale)
    if sniff(path) is not None:
        return Video(path, limits, options, scale)
    with path.open("rb") as file:
        may_move = is_animation(file)
    if may_move and not becomes_picture(path, limits, options, decoder):
        return Animation(path, limits, options, scale)
    return open_picture(path, limits, options, decoder=decoder, scale=scale)


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
    source: Readable,
    target: IO[bytes] | Path,
    upscale: UpscalePicture,
    limits: ClipLimits,
    options: OutputOptions,
    scale: int,
    report: Report,
) -> str | None:
    """Upscale raw frames as they arrive. Return what is wrong with them, None if nothing is.

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
        return clip.find_damage()


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
    """Arguments of the command line cannot be used, or not together."""


class ConversionTask(NamedTuple):
    """One file to upscale, and the file to write. Either may be `PIPE`.

    Attributes:
        source: file to read.
        target: file to write.
        picture_format: output format of a picture that is written to standard output.
    """

    source: Path
    target: Path
    picture_format: str = PNG

    @property
    def clip_format(self) -> str | None:
        """Output format if the result is a clip; None if it is a picture."""
        suffix = self.target.suffix.lower()
        if suffix in PICTURE_OUTPUTS and not has_several_frames(self.source):
            return None
        return (VIDEO_OUTPUTS | ANIMATION_OUTPUTS).get(suffix)

    @property
    def output_format(self) -> str:
        """Output format, of a clip or of a picture."""
        picture_format = PICTURE_OUTPUTS.get(self.target.suffix.lower(), self.picture_format)
        return self.clip_format or picture_format

    @property
    def is_done(self) -> bool:
        """Whether there is a result already. Results appear only when they are complete."""
        return self.target != PIPE and self.target.exists()


def plan_tasks(
    source: Path, target: Path, folder_format: str = PNG, *, is_recursive: bool = False
) -> list[ConversionTask]:
    """Return which files are upscaled to which.

    Args:
        source: IN of the command line: a file, a folder, or `PIPE`.
        target: OUT of the command line.
        folder_format: output format of pictures that are written to a folder or to `PIPE`.
        is_recursive: whether the folders in a folder are searched, too.

    Raises:
        WrongArguments: if there is nothing to upscale, or if OUT does not suit IN.
    """
    if source != PIPE and source.is_dir():
        tasks = list(plan_folder(source, target, folder_format, is_recursive=is_recursive))
        if not tasks:
            raise WrongArguments(
                f"IN must hold pictures or clips. Received: {source}, which holds none."
            )
        check_targets_differ(tasks)
        return tasks
    if is_recursive and (source == PIPE or source.exists()):
        raise WrongArguments(f"`--recursive` must come with a folder as IN. Received: {source}")
    if source == PIPE:
        check_suffix(target, PICTURE_OUTPUTS | VIDEO_OUTPUTS, "-")
        return [ConversionTask(source, target, folder_format)]
    if not source.exists():
        raise WrongArguments(
            f"IN must be a file or a folder. Received: {source}, which does not exist."
        )
    return [plan_file(source, target, folder_format)]


def plan_file(source: Path, target: Path, folder_format: str) -> ConversionTask:
    """Return the task for one file, to a file, into a folder, or to standard output."""
    if target == PIPE:
        if is_clip(source):
            raise WrongArguments(f"OUT must be a file or a folder for a clip. Received: {target}")
        return ConversionTask(source, target, folder_format)
    if target.is_dir():
        target = target / f"{source.stem}{result_suffix(source, folder_format)}"
    check_suffix(target, PICTURE_OUTPUTS | VIDEO_OUTPUTS | ANIMATION_OUTPUTS, "a folder")
    if target.resolve() == source.resolve():
        raise WrongArguments(f"OUT must be another file than IN. Received: {target}")
    return ConversionTask(source, target)


def plan_folder(
    source: Path, target: Path, folder_format: str, *, is_recursive: bool
) -> Iterator[ConversionTask]:
    """Yield a task for each picture and each clip of a folder. Results keep the files' names.

    Where names differ in their suffix only, the suffix stays in the name of the result.
    """
    if target == PIPE or (target.exists() and not target.is_dir()):
        raise WrongArguments(f"OUT must be a folder, since IN is one. Received: {target}, a file.")
    if target.exists() and target.samefile(source):
        raise WrongArguments(f"OUT must be another folder than IN. Received: {target}")
    for folder in find_folders(source, target) if is_recursive else [source]:
        files = find_files(folder)
        occurrences = Counter(file.stem for file in files)
        for file in files:
            stem = file.stem if occurrences[file.stem] == 1 else file.name
            name = f"{stem}{result_suffix(file, folder_format)}"
            yield ConversionTask(file, target / folder.relative_to(source) / name)


def find_folders(source: Path, target: Path) -> Iterator[Path]:
    """Yield a folder and those in it, in order.

    Hidden folders, links to folders, which may form loops, and the folder of the results are
    left out.
    """

    def refuse(error: OSError) -> None:
        raise WrongArguments(f"IN must be readable. Received: {error}") from error

    for path, names, _ in os.walk(source, onerror=refuse):
        folder = Path(path)
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".") and not is_same_folder(folder / name, target)
        )
        yield folder


def is_same_folder(folder: Path, target: Path) -> bool:
    """Return whether two paths lead to one folder; False if one does not exist."""
    return target.exists() and folder.exists() and folder.samefile(target)


def find_files(folder: Path) -> list[Path]:
    """Return the pictures and clips of a folder by their suffixes, in order.

    Links that lead nowhere are included, so that they are reported. Whatever else is no file is
    left out, and so are hidden files: macOS puts one beside each picture on a memory card.
    """
    suffixes = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, *ANIMATION_OUTPUTS}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise WrongArguments(f"IN must be readable. Received: {error}") from error
    return [
        path
        for path in paths
        if path.suffix.lower() in suffixes
        and not path.name.startswith(".")
        and (path.is_file() or not path.exists())
    ]


def result_suffix(source: Path, picture_format: str) -> str:
    """Return the suffix of a result. Clips keep their format, pictures get the one given."""
    suffix = source.suffix.lower()
    return RENAMED_SUFFIXES.get(suffix, suffix) if is_clip(source) else f".{picture_format}"


def is_clip(source: Path) -> bool:
    """Return whether a file is probably a video, or an animation of more than one frame."""
    return source.suffix.lower() in VIDEO_SUFFIXES or has_several_frames(source)


def check_suffix(target: Path, outputs: dict[str, str], other: str) -> None:
    """Raise WrongArguments unless the suffix of OUT names an output format.

    Args:
        target: OUT of the command line.
        outputs: output formats by suffix.
        other: what else OUT may be, in words.
    """
    if target != PIPE and target.suffix.lower() not in outputs:
        raise WrongArguments(
            f"OUT must be {other} or a file ending in {', '.join(outputs)}. Received: {target}"
        )


def check_targets_differ(tasks: list[ConversionTask]) -> None:
    """Raise WrongArguments if two results would be written to one file."""
    sources: dict[Path, Path] = {}
    for source, target, _ in tasks:
        if target in sources:
            raise WrongArguments(
                "IN must hold files whose names can be told apart. "
                f"Received: {sources[target].name} and {source.name}, both for {target.name}."
            )
        sources[target] = source
