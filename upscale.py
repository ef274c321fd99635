"""Upscale picture files: python upscale.py IN OUT

IN is a picture, or a folder of pictures. OUT is the picture to write (its suffix says
in which format), or a folder for them; it is made if it is not there. Exit code: 0 if
all went well, 1 if a picture failed (the others of a folder are done all the same), 2 if
an argument is wrong.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from config import InvalidSetting, Settings
from core.errors import InvalidDetail, SuperResolutionError
from core.images import OUTPUT_FORMATS, SUFFIXES, Limits, decode_image
from core.rendering import PNG, Rendering, Wish
from core.upscaler import FULL_DETAIL, Upscaler, load_upscaler

QUALITIES = range(1, 101)
OUTPUT_SUFFIXES = {f".{name}": name for name in OUTPUT_FORMATS} | {".jpg": "jpeg"}


class Job(NamedTuple):
    """One picture to upscale."""

    source: Path
    target: Path


class WrongArguments(Exception):
    """IN or OUT cannot be used."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
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
        "--quality", type=int, choices=QUALITIES, metavar="1-100", help="of JPEG, WebP and AVIF"
    )
    parser.add_argument(
        "--keep-profile", action="store_true", help="stay in the picture's own colour profile"
    )
    parser.add_argument(
        "--keep-metadata", action="store_true", help="keep EXIF and XMP, places included"
    )
    parsed = parser.parse_args(arguments)
    try:
        settings = Settings.from_env()
        jobs = plan_jobs(parsed.source, parsed.target, parsed.format)
    except (WrongArguments, InvalidSetting) as error:
        complain(error)
        return 2
    wish = Wish(
        quality=parsed.quality,
        detail=parsed.detail,
        keeps_profile=parsed.keep_profile,
        keeps_metadata=parsed.keep_metadata,
        has_note=settings.synthetic_note,
    )
    return run_jobs(jobs, settings, wish)


def plan_jobs(source: Path, target: Path, folder_format: str = PNG) -> list[Job]:
    """What is to be written where, in a folder in the format given.

    Raises:
        WrongArguments: if there is nothing to upscale, or OUT is of the wrong kind.
    """
    if source.is_dir():
        jobs = list(plan_folder(source, target, folder_format))
        check_targets_differ(jobs)
        return jobs
    if not source.exists():
        raise WrongArguments(f"IN must be a picture or a folder. Received: {source}, not there.")
    if target.is_dir():
        target = target / f"{source.stem}.{folder_format}"
    if target.suffix.lower() not in OUTPUT_SUFFIXES:
        raise WrongArguments(
            f"OUT must be a folder or a file ending in {', '.join(OUTPUT_SUFFIXES)}. "
            f"Received: {target}"
        )
    return [Job(source, target)]


def plan_folder(source: Path, target: Path, folder_format: str) -> Iterator[Job]:
    """One job for each picture of a folder, named after it.

    Where two pictures differ in their suffix only, the suffix stays in the name.
    """
    if target.exists() and not target.is_dir():
        raise WrongArguments(f"OUT must be a folder, since IN is one. Received: {target}, a file.")
    if target.exists() and target.samefile(source):
        raise WrongArguments(f"OUT must be another folder than IN. Received: {target}")
    pictures = [p for p in sorted(source.iterdir()) if p.suffix.lower() in SUFFIXES]
    if not pictures:
        raise WrongArguments(f"IN must hold pictures. Received: {source}, which holds none.")
    namesakes = Counter(picture.stem for picture in pictures)
    for picture in pictures:
        stem = picture.stem if namesakes[picture.stem] == 1 else picture.name
        yield Job(picture, target / f"{stem}.{folder_format}")


def check_targets_differ(jobs: list[Job]) -> None:
    """Raise WrongArguments rather than write two pictures to one file."""
    sources: dict[Path, Path] = {}
    for source, target in jobs:
        if target in sources:
            raise WrongArguments(
                "IN must hold pictures whose names can be told apart. "
                f"Received: {sources[target].name} and {source.name}, both for {target.name}."
            )
        sources[target] = source


def run_jobs(jobs: list[Job], settings: Settings, wish: Wish) -> int:
    """Upscale one picture after the other; 1 if any failed, 2 if `detail` is wrong, else 0."""
    limits = Limits(settings.max_pixels, settings.max_side, settings.max_frames)
    try:
        upscaler = load_upscaler(
            settings.card,
            window=settings.window,
            threads=settings.inference_threads,
            precision=settings.precision,
        )
        upscaler.check_detail(wish.detail)
    except InvalidDetail as error:
        complain(error)
        return 2
    except SuperResolutionError as error:
        complain(error)
        return 1
    quiet = True if len(jobs) == 1 else None  # None: no bar unless on a terminal
    run = partial(run_job, upscaler=upscaler, wish=wish, limits=limits)
    done = [run(job) for job in tqdm(jobs, unit="picture", disable=quiet)]
    return 0 if all(done) else 1


def run_job(job: Job, upscaler: Upscaler, wish: Wish, limits: Limits) -> bool:
    """Upscale one file, with a bar of its own; True if it went well."""
    wish = replace(wish, format=OUTPUT_SUFFIXES[job.target.suffix.lower()])
    with tqdm(unit="tile", desc=job.source.name, leave=False, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            lr = decode_image(job.source.read_bytes(), limits)
            write_whole(job.target, Rendering(upscaler, lr, wish, progress=show).parts())
        except (SuperResolutionError, OSError) as error:
            complain(f"{job.source}: {error}")
            return False
    return True


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
