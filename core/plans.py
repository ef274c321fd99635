"""Which files become which: what a command line was told, as jobs."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from core.animation import moves
from core.images import OUTPUT_FORMATS, SUFFIXES
from core.rendering import PNG
from core.video import CONTAINERS
from core.video import SUFFIXES as CLIP_SUFFIXES

OUTPUT_SUFFIXES = {f".{name}": name for name in OUTPUT_FORMATS} | {".jpg": "jpeg"}
VIDEO_OUTPUTS = {container.suffix: name for name, container in CONTAINERS.items()}
ANIMATION_OUTPUTS = {".gif": "gif", ".apng": "apng", ".png": "apng", ".webp": "webp"}
ALIASES = {".m4v": ".mp4"}
"""Suffixes of clips that are read, and the ones under which they are written."""

PIPE = Path("-")


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


class WrongArguments(Exception):
    """IN or OUT cannot be used."""


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
