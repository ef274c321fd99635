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
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

from tqdm import tqdm

from config import InvalidSetting, Settings
from core.animation import moves
from core.clips import FRAME, PALETTES, ClipLimits, ClipWish, UpscalePicture
from core.conversion import upscale_medium, upscale_pipe
from core.decoding import DecoderHere
from core.errors import InvalidDetail, SuperResolutionError
from core.images import OUTPUT_FORMATS, SUFFIXES, Limits, decode_image
from core.opening import open_medium
from core.rendering import PNG, Rendering, Wish
from core.upscaler import FULL_DETAIL, Upscaler, load_upscaler
from core.video import CODECS, CONTAINERS
from core.video import SUFFIXES as CLIP_SUFFIXES

QUALITIES = range(1, 101)
OUTPUT_SUFFIXES = {f".{name}": name for name in OUTPUT_FORMATS} | {".jpg": "jpeg"}
VIDEO_OUTPUTS = {container.suffix: name for name, container in CONTAINERS.items()}
ANIMATION_OUTPUTS = {".gif": "gif", ".apng": "apng", ".png": "apng", ".webp": "webp"}
ALIASES = {".m4v": ".mp4"}
"""Suffixes of clips that are read, and the ones under which they are written."""

PIPE = Path("-")

Bar: TypeAlias = "tqdm[NoReturn]"


class Job(NamedTuple):
    """One file to upscale."""

    source: Path
    target: Path

    @property
    def clip_format(self) -> str | None:
        """Format of a clip that is to be made; None for a picture."""
        suffix = self.target.suffix.lower()
        if suffix in OUTPUT_SUFFIXES and not moves(self.source):
            return None
        return (VIDEO_OUTPUTS | ANIMATION_OUTPUTS).get(suffix)


class Options(NamedTuple):
    """How the results are wished for, and what may come in."""

    picture: Wish
    clip: ClipWish
    limits: Limits

    @property
    def clip_limits(self) -> ClipLimits:
        """Whoever is at the command line has the time that a clip takes."""
        return ClipLimits(replace(self.limits, max_frames=None), math.inf)


class WrongArguments(Exception):
    """IN or OUT cannot be used."""


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
    picture = Wish(
        quality=parsed.quality,
        detail=parsed.detail,
        keeps_profile=parsed.keep_profile,
        keeps_metadata=parsed.keep_metadata,
        has_note=settings.synthetic_note,
    )
    clip = ClipWish(
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


def plan_jobs(source: Path, target: Path, folder_format: str = PNG) -> list[Job]:
    """What is to be written where, in a folder in the format given.

    Raises:
        WrongArguments: if there is nothing to upscale, or OUT is of the wrong kind.
    """
    if source == PIPE:
        check_is_clip(target)
        return [Job(source, target)]
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
    return [Job(source, target)]


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
    if suffix in CLIP_SUFFIXES or moves(source):
        return ALIASES.get(suffix, suffix)
    return f".{picture_format}"


def plan_folder(source: Path, target: Path, folder_format: str) -> Iterator[Job]:
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
        yield Job(file, target / f"{stem}{result_suffix(file, folder_format)}")


def check_targets_differ(jobs: list[Job]) -> None:
    """Raise WrongArguments rather than write two results to one file."""
    sources: dict[Path, Path] = {}
    for source, target in jobs:
        if target in sources:
            raise WrongArguments(
                "IN must hold files whose names can be told apart. "
                f"Received: {sources[target].name} and {source.name}, both for {target.name}."
            )
        sources[target] = source


def run_jobs(jobs: list[Job], settings: Settings, options: Options) -> int:
    """Upscale one file after the other; 1 if any failed, 2 if `detail` is wrong, else 0."""
    try:
        upscaler = load_upscaler(
            settings.card,
            window=settings.window,
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


def run_job(job: Job, upscaler: Upscaler, options: Options) -> bool:
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


def run_picture(job: Job, upscaler: Upscaler, options: Options, bar: Bar) -> None:
    wish = replace(options.picture, format=OUTPUT_SUFFIXES[job.target.suffix.lower()])

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    lr = decode_image(job.source.read_bytes(), options.limits)
    write_whole(job.target, Rendering(upscaler, lr, wish, progress=show).parts())


def run_clip(job: Job, upscaler: Upscaler, options: Options, bar: Bar) -> None:
    wish = replace(options.clip, format=job.clip_format)
    medium = open_medium(
        job.source, options.clip_limits, wish, decoder=DecoderHere(), scale=upscaler.scale
    )
    bar.reset(medium.frames)
    upscale_medium(medium, upscale_by(upscaler, wish), job.target, partial(advance, bar))
    if medium.damage is not None:
        complain(f"{job.source}: {medium.damage}")


def run_pipe(job: Job, upscaler: Upscaler, options: Options, bar: Bar) -> None:
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


def upscale_by(upscaler: Upscaler, wish: ClipWish) -> UpscalePicture:
    """What upscales one frame as it is wished for."""
    return partial(upscaler.upscale, detail=wish.detail)


def advance(bar: Bar, done: int) -> None:
    bar.update(done - bar.n)


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file, with its folder; interrupted, it leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        with unfinished.open("wb") as file:
            file.writelines(parts)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def complain(error: object) -> None:
    tqdm.write(f"upscale.py: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
