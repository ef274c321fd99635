"""Upscale pictures and clips from the command line: python upscale.py IN OUT.

IN is a picture, an animation (GIF, PNG, WebP), a video (MP4, MOV, WebM, MKV), or a folder of
such files. OUT is the file to write, whose suffix decides the format, or a folder, which is
created if it does not exist. With - as IN, a picture or raw frames (YUV4MPEG2) are read from a
pipe. With - as OUT, the picture or the raw frames are written to one. The exit code is 0 if all
files succeeded, 1 if a file failed or is damaged (the other files of a folder are still
upscaled), 2 if an argument is wrong, 130 after Ctrl+C, and 143 after SIGTERM.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `main`: imports would print a traceback

import argparse
import io
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any, NamedTuple, NoReturn, TypeAlias

from tqdm import tqdm

from config import OWN_MODELS, InvalidSetting, Settings
from core.animation import is_animation
from core.errors import (
    InvalidDetail,
    InvalidModel,
    InvalidOptions,
    InvalidRestore,
    SuperResolutionError,
    UnsupportedImage,
)
from core.files import private_folder, sweep_private_folders
from core.images import Limits, decode_image, read_header
from core.media.convert import (
    PICTURE_OUTPUTS,
    PIPE,
    VIDEO_OUTPUTS,
    ConversionTask,
    WrongArguments,
    check_suffix,
    open_medium,
    plan_tasks,
    upscale_medium,
    upscale_pipe,
)
from core.media.medium import ClipLimits, clip_strength
from core.media.render import ClipUpscaler, upscale_to_stream
from core.model.catalog import Serving, read_catalog
from core.model.registry import ServedModel
from core.model.upscaler import Upscaler, load_upscaler
from core.options import (
    CODEC,
    COHERENCE,
    DETAIL,
    DITHER,
    JOB_OPTIONS,
    METADATA,
    MODEL,
    PALETTE,
    PICTURE_FORMATS,
    PNG,
    PROFILE,
    QUALITY,
    RESTORE,
    SIZE_OPTIONS,
    ZERO_DELAY,
    Option,
    OutputOptions,
    check_size_options,
)
from core.picture import Picture
from core.runtime.admission import Admission
from core.sandbox.decoder import InProcessDecoder
from core.video import RAW_MAGIC

ARGUMENTS = (
    MODEL,
    *SIZE_OPTIONS,
    DETAIL,
    RESTORE,
    QUALITY,
    CODEC,
    COHERENCE,
    PALETTE,
    DITHER,
    ZERO_DELAY,
)
"""Options that are arguments with a value."""

FLAGS = {
    "--keep-profile": (PROFILE, "Keep the colour profile of a picture instead of using sRGB."),
    "--keep-metadata": (METADATA, "Keep EXIF and XMP of a picture, places included."),
}
"""Options that are arguments without a value, with their help texts."""

NAMES = {option: name for name, (option, _) in FLAGS.items()} | {ZERO_DELAY: "--zero-delay"}
"""Arguments of options that are not called as the option is."""

FOR_PICTURES = (PROFILE, METADATA)
"""Options that pictures have, whatever their format."""

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters of a file name that would end a line of a message, or move the cursor."""

SIGNALS = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
"""Signals that end the program after it has cleaned up, and the words for it."""

ProgressBar: TypeAlias = "tqdm[NoReturn]"


class Outcome(StrEnum):
    """What became of a file, in the word of the summary."""

    UPSCALED = "upscaled"
    DAMAGED = "damaged"
    SKIPPED = "skipped"
    FAILED = "failed"


class Stopped(BaseException):
    """A signal ends the program.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class PeekedInput:
    """Standard input, whose first bytes say what it holds.

    Attributes:
        is_raw: whether it holds raw frames.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._head, self._file = file.read(len(RAW_MAGIC)), file
        self.is_raw = self._head == RAW_MAGIC

    def read(self, size: int = -1) -> bytes:
        """Read from the beginning."""
        head, self._head = self._head, b""
        return head + self._file.read(size if size < 0 else max(0, size - len(head)))


class Conversion(NamedTuple):
    """What all files of a run share.

    Attributes:
        upscaler: upscaler of all pictures and frames.
        options: options of the results; the format is that of each task.
        limits: limits on a picture.
        max_frame_pixels: limit on height times width of a frame of a clip, LR px.
        skips_existing: whether files that have a result are left out.
        piped: standard input, if IN is it.
    """

    upscaler: Upscaler
    options: OutputOptions
    limits: Limits
    max_frame_pixels: int
    skips_existing: bool = False
    piped: PeekedInput | None = None

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
    if sys.stderr is None:  # it was closed before the program began
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115, until the program ends
    with signals_raised():
        try:
            return run(parse(arguments))
        except Stopped as stopped:
            print_error(f"{SIGNALS[signal.Signals(stopped.number)]}.")
            return 128 + stopped.number


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise Stopped in the block at the first of `SIGNALS`; ignore them from then on.

    Signals that the caller ignores, as `nohup` does, stay ignored.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(parsed: argparse.Namespace) -> int:
    """Upscale what the command line asks for and return the exit code."""
    try:
        settings = Settings.from_env()
        tasks = plan_tasks(
            parsed.source, parsed.target, parsed.format, is_recursive=parsed.recursive
        )
        options = read_options(parsed, settings)
        check_options_used(tasks, options)
        piped = open_pipes(parsed.source, parsed.target)
    except (WrongArguments, InvalidSetting, InvalidOptions) as error:
        print_error(error)
        return 2
    for folder in {task.target.parent for task in tasks if task.target != PIPE}:
        sweep_private_folders(folder)
    return run_tasks(tasks, settings, options, parsed, piped)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print a message without the usage, and end the program."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line; end the program with exit code 2 if it is wrong."""
    parser = Parser(
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
        help="Output format of pictures that go into a folder or to -. Default: png.",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="Upscale the folders in a folder, too."
    )
    parser.add_argument(
        "--skip-existing", action="store_true", help="Leave out files that have a result."
    )
    parser.add_argument(
        "--allow-damaged",
        action="store_true",
        help="Exit with 0 although a file is damaged, if what is left of it was upscaled.",
    )
    for option in ARGUMENTS:
        parser.add_argument(
            NAMES.get(option, f"--{option.name}"),
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


def check_options_used(tasks: Sequence[ConversionTask], options: OutputOptions) -> None:
    """Raise WrongArguments if an option is set that no result of the run has.

    What comes from a pipe is not known yet.
    """
    used = [o for o in JOB_OPTIONS if not o.is_universal and o.is_set(options)]
    if not used or tasks[0].source == PIPE:
        return
    results = {(task.output_format, task.clip_format is None) for task in tasks}
    for option in used:
        if option in FOR_PICTURES:
            needed, is_used = "picture", any(is_picture for _, is_picture in results)
        else:
            needed = f"result in {', '.join(option.formats)}"
            is_used = any(output_format in option.formats for output_format, _ in results)
        if not is_used:
            found = ", ".join(sorted({output_format for output_format, _ in results}))
            name = NAMES.get(option, f"--{option.name}")
            raise WrongArguments(
                f"{name} must be left out if there is no {needed}. Received: a result in {found}"
            )


def open_pipes(source: Path, target: Path) -> PeekedInput | None:
    """Return standard input if IN is it, else None.

    Raises:
        WrongArguments: if standard input or output cannot be used, or if OUT does not suit IN.
    """
    if target == PIPE and sys.stdout is None:
        raise WrongArguments("OUT must be open. Received: -, a standard output that is closed")
    if target == PIPE and sys.stdout.isatty():
        raise WrongArguments("OUT must be a file or a pipe. Received: -, a terminal")
    if source != PIPE:
        return None
    if sys.stdin is None:
        raise WrongArguments("IN must be open. Received: -, a standard input that is closed")
    piped = PeekedInput(sys.stdin.buffer)
    check_suffix(
        target,
        VIDEO_OUTPUTS if piped.is_raw else PICTURE_OUTPUTS,
        f"-, since IN holds {'raw frames' if piped.is_raw else 'no raw frames'},",
    )
    return piped


def load_model(settings: Settings, name: str | None) -> ServedModel:
    """Return the model of a name, in memory for as long as this program runs.

    Raises:
        InvalidModel: if there is none, or if it cannot be loaded.
        GraphMismatch: if the default model or the folder of models cannot be read.
    """
    default = load_upscaler(settings.card, **settings.network_options)
    if name is None:
        return ServedModel(default)
    serving = Serving(**settings.network_options)
    catalog = read_catalog(default, serving, OWN_MODELS, settings.models_folder)
    model = catalog.registry().find(name)
    unlimited = Admission(budget=sys.maxsize, queue=0, backlog_s=lambda: 0.0)
    with model.admit(unlimited, 0):  # it stays in memory, as nothing else needs that
        return model


def run_tasks(
    tasks: list[ConversionTask],
    settings: Settings,
    options: OutputOptions,
    parsed: argparse.Namespace,
    piped: PeekedInput | None,
) -> int:
    """Upscale one file after the other and return the exit code."""
    try:
        model = load_model(settings, options.model)
        upscaler = model.upscaler
        if parsed.restore is None:
            options = replace(options, restore=model.default_restore(options.restore))
        upscaler.check_detail(options.detail)
        upscaler.check_restore(options.restore)
    except (InvalidDetail, InvalidModel, InvalidRestore) as error:
        print_error(error)
        return 2
    except SuperResolutionError as error:
        print_error(error)
        return 1
    limits = Limits(
        settings.max_pixels, settings.max_side, settings.max_frames, settings.output_pixels
    )
    conversion = Conversion(
        upscaler, options, limits, settings.frame_pixels, parsed.skip_existing, piped
    )
    has_summary = parsed.source.is_dir()
    is_quiet = None if has_summary else True  # None: no bar unless on a terminal
    outcomes: Counter[Outcome] = Counter()
    with tqdm(tasks, unit="file", disable=is_quiet) as bar:
        for task in bar:
            outcomes[run_task(task, conversion)] += 1
    if has_summary:
        print_error(f"{', '.join(f'{outcomes[outcome]} {outcome}' for outcome in Outcome)}.")
    is_damage_fine = parsed.allow_damaged or not outcomes[Outcome.DAMAGED]
    return 0 if is_damage_fine and not outcomes[Outcome.FAILED] else 1


def run_task(task: ConversionTask, conversion: Conversion) -> Outcome:
    """Upscale one file, with its own progress bar. Return what became of it."""
    if conversion.skips_existing and task.is_done:
        return Outcome.SKIPPED
    with tqdm(unit="tile", desc=shown(task.source.name), leave=False, disable=None) as bar:
        try:
            damage = convert(task, conversion, bar)
        except BrokenPipeError:
            print_error(
                f"{shown(task.source)}: The reader of standard output must stay. It has ended."
            )
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
            return Outcome.FAILED
        except (SuperResolutionError, OSError) as error:
            print_error(f"{shown(task.source)}: {error}")
            return Outcome.FAILED
    if damage is not None:
        print_error(f"{shown(task.source)}: {damage}")
        return Outcome.DAMAGED
    return Outcome.UPSCALED


def convert(task: ConversionTask, conversion: Conversion, bar: ProgressBar) -> str | None:
    """Upscale one file. Return what is wrong with it. A failure leaves what was there before."""
    if task.target == PIPE:
        return run_as(task, conversion, bar, PIPE)
    with private_folder(task.target.parent) as folder:
        unfinished = folder / task.target.name
        damage = run_as(task, conversion, bar, unfinished)
        unfinished.replace(task.target)
    return damage


def run_as(
    task: ConversionTask, conversion: Conversion, bar: ProgressBar, target: Path
) -> str | None:
    """Upscale one file to a path, as what it holds. Return what is wrong with it."""
    if conversion.piped is not None and conversion.piped.is_raw:
        return run_pipe(conversion.piped, conversion, bar, target)
    if task.clip_format is not None:
        return run_clip(task, conversion, bar, target)
    run_picture(task, conversion, bar, target)
    return None


def run_picture(
    task: ConversionTask, conversion: Conversion, bar: ProgressBar, target: Path
) -> None:
    """Upscale one picture to a file or to standard output."""
    options = replace(conversion.options, format=task.output_format)

    def show(done: int, total: int) -> None:
        bar.total = total
        advance(bar, done)

    piped = conversion.piped
    with task.source.open("rb") if piped is None else io.BytesIO(piped.read()) as source:
        header = read_header(source, conversion.limits)
        if piped is not None and header.frames > 1 and is_animation(source):
            raise UnsupportedImage(
                "IN must be a file for an animation. "
                f"Received: -, an animation of {header.frames} frames."
            )
        grid = conversion.upscaler.grid(options, header.height, header.width)
        conversion.limits.check_output(grid.height, grid.width, (header.height, header.width))
        lr = decode_image(source, conversion.limits)
    parts = upscale_to_stream(conversion.upscaler, lr, options, show)
    if target == PIPE:
        sys.stdout.buffer.writelines(parts)  # each part is upscaled when it is written
        sys.stdout.buffer.flush()
        return
    with target.open("wb") as file:
        file.writelines(parts)


def run_clip(
    task: ConversionTask, conversion: Conversion, bar: ProgressBar, target: Path
) -> str | None:
    """Upscale an animation or a video to a file. Return what is wrong with it."""
    medium = open_medium(
        task.source,
        conversion.clip_limits,
        conversion.clip_options(task.clip_format),
        decoder=InProcessDecoder(),
        scale=conversion.upscaler.scale,
    )
    bar.unit = "frame"
    bar.reset(medium.frames)
    strength = clip_strength(medium, conversion.judge)
    upscale = ClipUpscaler(conversion.upscaler, conversion.options, strength)
    upscale_medium(medium, upscale, target, partial(advance, bar))
    return medium.damage


def run_pipe(
    piped: PeekedInput, conversion: Conversion, bar: ProgressBar, target: Path
) -> str | None:
    """Upscale raw frames to standard output or to a video. Return what is wrong with them."""
    bar.unit = "frame"
    is_piped = target == PIPE
    output_format = None if is_piped else VIDEO_OUTPUTS[target.suffix.lower()]
    return upscale_pipe(
        piped,
        sys.stdout.buffer if is_piped else target,
        ClipUpscaler(conversion.upscaler, conversion.options),
        conversion.clip_limits,
        conversion.clip_options(output_format),
        conversion.upscaler.scale,
        partial(advance, bar),
    )


def shown(path: object) -> str:
    """Return a path as a message shows it, on one line."""
    return CONTROL_CHARACTERS.sub(lambda match: ascii(match[0])[1:-1], str(path))


def advance(bar: ProgressBar, done: int) -> None:
    """Move a progress bar to a number of finished units."""
    bar.update(done - bar.n)


def print_error(error: object) -> None:
    """Print an error to standard error, above the progress bars, as long as that is open."""
    with suppress(OSError):
        tqdm.write(f"upscale.py: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
