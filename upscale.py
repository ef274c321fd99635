"""Upscale pictures and clips: python upscale.py IN OUT

IN is a picture, an animation (GIF, PNG, WebP), a video (MP4, MOV, WebM, MKV), or a folder
of such. OUT is the file to write (its suffix says in which format), or a folder for them;
it is made if it is not there. - as IN reads raw frames (YUV4MPEG2) from a pipe, and as
OUT, too, writes them to one. Exit code: 0 if all went well, 1 if a file failed (the others
of a folder are done all the same), 2 if an argument is wrong.
"""

import argparse
import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

from tqdm import tqdm

from config import InvalidSetting, Settings
from core.errors import InvalidDetail, SuperResolutionError
from core.files import atomic_write
from core.images import OUTPUT_FORMATS, Limits, decode_image
from core.media.convert import (
    OUTPUT_SUFFIXES,
    PIPE,
    VIDEO_OUTPUTS,
    ConversionTask,
    WrongArguments,
    open_medium,
    plan_jobs,
    upscale_medium,
    upscale_pipe,
)
from core.media.medium import FRAME, PALETTES, ClipLimits, OutputOptions, UpscalePicture
from core.media.render import PNG, PictureAnswer, PictureOptions
from core.model.upscaler import FULL_DETAIL, Upscaler, load_upscaler
from core.sandbox.decoder import InProcessDecoder
from core.video import CODECS

QUALITIES = range(1, 101)
Bar: TypeAlias = "tqdm[NoReturn]"


class Options(NamedTuple):
    """How the results are wished for, and what may come in."""

    picture: PictureOptions
    clip: OutputOptions
    limits: Limits

    @property
    def clip_limits(self) -> ClipLimits:
        """Whoever is at the command line has the time that a clip takes."""
        return ClipLimits(replace(self.limits, max_frames=None), math.inf)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parsed = parse(arguments)
    try:
        settings = Settings.from_env()
        jobs = plan_jobs(parsed.source, parsed.target, parsed.format)
    except (WrongArguments, InvalidSetting) as error:
        complain(error)
        return 2
    return run_jobs(jobs, settings, read_options(parsed, settings))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="upscale.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", type=Path)
    parser.add_argument("target", metavar="OUT", type=Path)
    parser.add_argument(
        "--detail",
        type=float,
        default=FULL_DETAIL,
        help="how much texture is made up, from 0 (faithful, soft) to 1 (default)",
    )
    parser.add_argument(
        "--format",
        choices=OUTPUT_FORMATS,
        default=PNG,
        help="of the pictures in a folder (default: png)",
    )
    parser.add_argument(
        "--quality",
        type=int,
        choices=QUALITIES,
        metavar="1-100",
        help="of JPEG, WebP and AVIF, and of clips",
    )
    parser.add_argument("--codec", choices=CODECS, help="of clips (default: h264, in WebM vp9)")
    parser.add_argument(
        "--coherence",
        choices=("on", "off"),
        default="on",
        help="whether the frames of a clip are made to agree with those before (default: on)",
    )
    parser.add_argument(
        "--palette",
        choices=PALETTES,
        default=FRAME,
        help="of a GIF: one for each frame (default), or one for all",
    )
    parser.add_argument(
        "--dither",
        choices=("on", "off"),
        default="on",
        help="whether the colours of a GIF are mixed of those of its palette (default: on)",
    )
    parser.add_argument(
        "--keep-profile", action="store_true", help="stay in the picture's own colour profile"
    )
    parser.add_argument(
        "--keep-metadata", action="store_true", help="keep EXIF and XMP, places included"
    )
    return parser.parse_args(arguments)


def read_options(parsed: argparse.Namespace, settings: Settings) -> Options:
    picture = PictureOptions(
        quality=parsed.quality,
        detail=parsed.detail,
        keeps_profile=parsed.keep_profile,
        keeps_metadata=parsed.keep_metadata,
        has_note=settings.synthetic_note,
    )
    clip = OutputOptions(
        codec=parsed.codec,
        quality=parsed.quality,
        detail=parsed.detail,
        is_coherent=parsed.coherence == "on",
        palette=parsed.palette,
        is_dithered=parsed.dither == "on",
        has_note=settings.synthetic_note,
    )
    limits = Limits(settings.max_pixels, settings.max_side, settings.max_frames)
    return Options(picture, clip, limits)


def run_jobs(jobs: list[ConversionTask], settings: Settings, options: Options) -> int:
    """Upscale one file after the other; 1 if any failed, 2 if `detail` is wrong, else 0."""
    try:
        upscaler = load_upscaler(
            settings.card,
            window=settings.window,
            large_window=settings.large_window,
            threads=settings.inference_threads,
            precision=settings.precision,
        )
        upscaler.check_detail(options.clip.detail)
    except InvalidDetail as error:
        complain(error)
        return 2
    except SuperResolutionError as error:
        complain(error)
        return 1
    quiet = True if len(jobs) == 1 else None  # None: no bar unless on a terminal
    done = [run_job(job, upscaler, options) for job in tqdm(jobs, unit="file", disable=quiet)]
    return 0 if all(done) else 1


def run_job(job: ConversionTask, upscaler: Upscaler, options: Options) -> bool:
    """Upscale one file, with a bar of its own; True if it went well."""
    run = run_pipe if job.source == PIPE else run_clip if job.clip_format else run_picture
    unit = "tile" if run is run_picture else "frame"
    with tqdm(unit=unit, desc=job.source.name, leave=False, disable=None) as bar:
        try:
            run(job, upscaler, options, bar)
        except (SuperResolutionError, OSError) as error:
            complain(f"{job.source}: {error}")
            return False
    return True


def run_picture(job: ConversionTask, upscaler: Upscaler, options: Options, bar: Bar) -> None:
    wish = replace(options.picture, format=OUTPUT_SUFFIXES[job.target.suffix.lower()])

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    lr = decode_image(job.source.read_bytes(), options.limits)
    write_whole(job.target, PictureAnswer(upscaler, lr, wish, progress=show).parts())


def run_clip(job: ConversionTask, upscaler: Upscaler, options: Options, bar: Bar) -> None:
    wish = replace(options.clip, format=job.clip_format)
    medium = open_medium(
        job.source, options.clip_limits, wish, decoder=InProcessDecoder(), scale=upscaler.scale
    )
    bar.reset(medium.frames)
    upscale_medium(medium, upscale_by(upscaler, wish), job.target, partial(advance, bar))
    if medium.damage is not None:
        complain(f"{job.source}: {medium.damage}")


def run_pipe(job: ConversionTask, upscaler: Upscaler, options: Options, bar: Bar) -> None:
    is_piped = job.target == PIPE
    wish = options.clip
    if not is_piped:
        wish = replace(wish, format=VIDEO_OUTPUTS[job.target.suffix.lower()])
    upscale_pipe(
        sys.stdin.buffer,
        sys.stdout.buffer if is_piped else job.target,
        upscale_by(upscaler, wish),
        options.clip_limits,
        wish,
        partial(advance, bar),
    )


def upscale_by(upscaler: Upscaler, wish: OutputOptions) -> UpscalePicture:
    """What upscales one frame as it is wished for."""
    return partial(upscaler.upscale, detail=wish.detail)


def advance(bar: Bar, done: int) -> None:
    bar.update(done - bar.n)


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file, with its folder; interrupted, it leaves what was there before."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        file.writelines(parts)


def complain(error: object) -> None:
    tqdm.write(f"upscale.py: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
