"""Upscale pictures and clips from the command line: python upscale.py IN OUT.

IN is a picture, an animation (GIF, PNG, WebP), a video (MP4, MOV, WebM, MKV), or a folder of
such files. OUT is the file to write, whose suffix decides the format, or a folder, which is
created if it does not exist. With - as IN, raw frames (YUV4MPEG2) are read from a pipe. With -
as OUT too, raw frames are written to one. The exit code is 0 if all files succeeded, 1 if a
file failed (the other files of a folder are still upscaled), and 2 if an argument is wrong.
"""

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

from tqdm import tqdm

from config import InvalidSetting, Settings
from core.errors import InvalidDetail, InvalidOptions, InvalidRestore, SuperResolutionError
from core.files import atomic_write
from core.images import Limits, decode_image, read_header
from core.media.convert import (
    PICTURE_OUTPUTS,
    PIPE,
    VIDEO_OUTPUTS,
    ConversionTask,
    WrongArguments,
    open_medium,
    plan_tasks,
    upscale_medium,
    upscale_pipe,
)
from core.media.medium import ClipLimits, clip_strength
from core.media.render import ClipUpscaler, upscale_to_stream
from core.model.upscaler import Upscaler, load_upscaler
from core.options import (
    CODEC,
    COHERENCE,
    DETAIL,
    DITHER,
    METADATA,
    PALETTE,
    PICTURE_FORMATS,
    PNG,
    PROFILE,
    QUALITY,
    RESTORE,
    SIZE_OPTIONS,
    Option,
    OutputOptions,
    check_size_options,
)
from core.picture import Picture
from core.sandbox.decoder import InProcessDecoder

ARGUMENTS = (*SIZE_OPTIONS, DETAIL, RESTORE, QUALITY, CODEC, COHERENCE, PALETTE, DITHER)
"""Options that are arguments with a value."""

FLAGS = {
    "--keep-profile": (PROFILE, "Keep the colour profile of a picture instead of using sRGB."),
    "--keep-metadata": (METADATA, "Keep EXIF and XMP of a picture, places included."),
}
"""Options that are arguments without a value, with their help texts."""

ProgressBar: TypeAlias = "tqdm[NoReturn]"


class Conversion(NamedTuple):
    """What all files of a run share.

    Attributes:
        upscaler: upscaler of all pictures and frames.
        options: options of the results; the format is that of each task.
        limits: limits on a picture.
        max_frame_pixels: limit on height times width of a frame of a clip, LR px.
    """

    upscaler: Upscaler
    options: OutputOptions
    limits: Limits
    max_frame_pixels: int

    @property
    def clip_limits(self) -> ClipLimits:
        """Limits on a frame. A clip may be as long as you have time for."""
        limits = replace(self.limits, max_pixels=self.max_frame_pixels, max_frames=None)
        return ClipLimits(limits, math.inf, replace(self.limits, max_frames=None))

    def clip_options(self, output_format: str | None) -> OutputOptions:
        """Return the options of a clip. Flags are for pictures, which a folder may also hold."""
        return replace(
            self.options, format=output_format, keeps_profile=False, keeps_metadata=False
        )

    def judge(self, picture: Picture) -> float:
        """Return how strongly to restore a picture."""
        return self.upscaler.choose_strength(picture, self.options.restore)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parsed = parse(arguments)
    try:
        settings = Settings.from_env()
        tasks = plan_tasks(parsed.source, parsed.target, parsed.format)
        options = read_options(parsed, settings)
    except (WrongArguments, InvalidSetting, InvalidOptions) as error:
        print_error(error)
        return 2
    return run_tasks(tasks, settings, options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line; end the program with exit code 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="upscale.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", type=Path)
    parser.add_argument("target", metavar="OUT", type=Path)
    parser.add_argument(
        "--format",
        choices=PICTURE_FORMATS,
        default=PNG,
        help="Output format of the pictures in a folder. Default: png.",
    )
    for option in ARGUMENTS:
        parser.add_argument(
            f"--{option.name}",
            dest=option.attribute,
            type=value_parser(option),
            default=None if option is RESTORE else option.default,  # the settings have its default
            metavar=option.values.summary,
            help=f"{option.help} Default: {option.default}." if option.default else option.help,
        )
    for name, (option, text) in FLAGS.items():
        parser.add_argument(name, dest=option.attribute, action="store_true", help=text)
    return parser.parse_args(arguments)


def value_parser(option: Option) -> Callable[[str], Any]:
    """Return a function that parses the value of an argument, with errors for `argparse`."""

    def parse_value(text: str) -> Any:
        try:
            return option.parse(text)
        except InvalidOptions as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_value


def read_options(parsed: argparse.Namespace, settings: Settings) -> OutputOptions:
    """Return the options that the command line asks for, without a format.

    Raises:
        InvalidOptions: if arguments contradict each other.
    """
    read = (*ARGUMENTS, *(option for option, _ in FLAGS.values()))
    values = {option.attribute: getattr(parsed, option.attribute) for option in read}
    if parsed.restore is None:
        values["restore"] = RESTORE.parse(settings.restore)
    options = OutputOptions(has_note=settings.synthetic_note, **values)
    check_size_options(options)
    return options


def run_tasks(tasks: list[ConversionTask], settings: Settings, options: OutputOptions) -> int:
    """Upscale one file after the other and return the exit code."""
    try:
        upscaler = load_upscaler(
            settings.card,
            window=settings.window,
            large_window=settings.large_window,
            threads=settings.inference_threads,
            precision=settings.precision,
        )
        upscaler.check_detail(options.detail)
        upscaler.check_restore(options.restore)
    except (InvalidDetail, InvalidRestore) as error:
        print_error(error)
        return 2
    except SuperResolutionError as error:
        print_error(error)
        return 1
    limits = Limits(
        settings.max_pixels, settings.max_side, settings.max_frames, settings.output_pixels
    )
    conversion = Conversion(upscaler, options, limits, settings.frame_pixels)
    is_quiet = True if len(tasks) == 1 else None  # None: no bar unless on a terminal
    succeeded = [run_task(task, conversion) for task in tqdm(tasks, unit="file", disable=is_quiet)]
    return 0 if all(succeeded) else 1


def run_task(task: ConversionTask, conversion: Conversion) -> bool:
    """Upscale one file, with its own progress bar. Return whether it succeeded."""
    run = run_picture
    if task.source == PIPE:
        run = run_pipe
    elif task.clip_format is not None:
        run = run_clip
    unit = "tile" if run is run_picture else "frame"
    with tqdm(unit=unit, desc=task.source.name, leave=False, disable=None) as bar:
        try:
            run(task, conversion, bar)
        except (SuperResolutionError, OSError) as error:
            print_error(f"{task.source}: {error}")
            return False
    return True


def run_picture(task: ConversionTask, conversion: Conversion, bar: ProgressBar) -> None:
    """Upscale one picture to a file. A failure leaves what was there before."""
    options = replace(conversion.options, format=PICTURE_OUTPUTS[task.target.suffix.lower()])

    def show(done: int, total: int) -> None:
        bar.total = total
        advance(bar, done)

    with task.source.open("rb") as source:
        header = read_header(source, conversion.limits)
        grid = conversion.upscaler.grid(options, header.height, header.width)
        conversion.limits.check_output(grid.height, grid.width, (header.height, header.width))
        lr = decode_image(source, conversion.limits)
    parts = upscale_to_stream(conversion.upscaler, lr, options, show)
    with atomic_write(task.target) as unfinished, unfinished.open("wb") as file:
        file.writelines(parts)  # each part is upscaled when it is written


def run_clip(task: ConversionTask, conversion: Conversion, bar: ProgressBar) -> None:
    """Upscale an animation or a video to a file."""
    medium = open_medium(
        task.source,
        conversion.clip_limits,
        conversion.clip_options(task.clip_format),
        decoder=InProcessDecoder(),
        scale=conversion.upscaler.scale,
    )
    bar.reset(medium.frames)
    strength = clip_strength(medium, conversion.judge)
    upscale = ClipUpscaler(conversion.upscaler, conversion.options, strength)
    upscale_medium(medium, upscale, task.target, partial(advance, bar))
    if medium.damage is not None:
        print_error(f"{task.source}: {medium.damage}")


def run_pipe(task: ConversionTask, conversion: Conversion, bar: ProgressBar) -> None:
    """Upscale raw frames from standard input, to standard output or to a video."""
    is_piped = task.target == PIPE
    output_format = None if is_piped else VIDEO_OUTPUTS[task.target.suffix.lower()]
    upscale_pipe(
        sys.stdin.buffer,
        sys.stdout.buffer if is_piped else task.target,
        ClipUpscaler(conversion.upscaler, conversion.options),
        conversion.clip_limits,
        conversion.clip_options(output_format),
        conversion.upscaler.scale,
        partial(advance, bar),
    )


def advance(bar: ProgressBar, done: int) -> None:
    """Move a progress bar to a number of finished units."""
    bar.update(done - bar.n)


def print_error(error: object) -> None:
    """Print an error to standard error, above the progress bars."""
    tqdm.write(f"upscale.py: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
