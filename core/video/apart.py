"""Clips of strangers are read where they can do no harm: in processes of their own.

What these do is in `header`, `frames` and `joining`; here is what they may take, and what
becomes of a file that ends them.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from core.clips import ClipLimits, Frame
from core.errors import TooMuchMemory, UnreadableClip
from core.streaming import Reading, read_apart
from core.video.frames import read_frames
from core.video.header import Probe, probe_clip
from core.video.joining import Output, join_parts
from core.workers import ATTEMPTS, WorkerDied

BASE_BYTES = 256_000_000
"""That reading any clip may take: tables of its packets, what of it waits to be written."""

PIXEL_BYTES = 128
"""Of a frame's pixel, at most: decoders keep up to 16 frames that others refer to."""

MEGABYTE = 1_000_000

WALL_S = 30.0
"""In which the header, each frame, or the next packets of a file must be there."""

log = logging.getLogger("enhancer.video")


def probe_apart(path: Path, limits: ClipLimits) -> Probe:
    """As `probe_clip`; also UnreadableClip if the file ends its processes or takes too long."""
    with trouble_reported(limits.frame.max_pixels):
        for _ in range(ATTEMPTS - 1):
            try:
                return _only(probe_clip, path, limits)
            except WorkerDied as error:
                log.warning("The process that read a clip's header is replaced: %s", error)
        return _only(probe_clip, path, limits)


def _only(function: Callable[..., Iterator[Probe]], path: Path, limits: ClipLimits) -> Probe:
    with closing(read(function, (path, limits), limits.frame.max_pixels)) as items:
        probe: Probe = next(items)
        return probe


def read_frames_apart(
    path: Path, probe: Probe, first: int, stop: int, max_pixels: int
) -> Generator[Frame]:
    """As `read_frames`; a frame that ends the process twice is left out, with those after it.

    Raises:
        TooMuchMemory: if a frame takes too much.
    """
    failures = 0
    with memory_reported(max_pixels):
        while first < stop and failures < ATTEMPTS:
            try:
                for frame in _frames(path, probe, first, stop, max_pixels):
                    first, failures = probe.starts.index(frame.start) + 1, 0
                    yield frame
                return
            except (WorkerDied, TimeoutError) as error:
                failures += 1
                log.warning("The process that decoded a clip is gone: %s", error or "no answer")


def _frames(path: Path, probe: Probe, first: int, stop: int, max_pixels: int) -> Generator[Frame]:
    with closing(read(read_frames, (path, probe, first, stop), max_pixels)) as frames:
        yield from frames


def join_apart(
    parts: Sequence[Path], target: Path, output: Output, source: Path, max_pixels: int
) -> int:
    """As `join_parts`; how many frames there are.

    Raises:
        UnreadableClip: if there are none, or the file ends its process or takes too long.
    """
    arguments = (list(parts), target, output, source)
    with (
        trouble_reported(max_pixels),
        closing(read(join_parts, arguments, max_pixels)) as counts,
    ):
        *_, frames = counts
    return int(frames)


def read(
    function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], max_pixels: int
) -> Generator[Any]:
    return read_apart(Reading(function, arguments, reading_bytes(max_pixels), WALL_S))


def reading_bytes(max_pixels: int) -> int:
    """Memory that is enough to read any clip whose frames have so many pixels."""
    return BASE_BYTES + PIXEL_BYTES * max_pixels


@contextmanager
def trouble_reported(max_pixels: int) -> Iterator[None]:
    """What ends a process within is told as an error of the clip's."""
    try:
        with memory_reported(max_pixels):
            yield
    except TimeoutError as error:
        raise UnreadableClip(
            f"Clip must be read within {WALL_S:g} s. Received: one that takes longer."
        ) from error
    except WorkerDied as error:
        raise UnreadableClip(
            f"Clip must be a file that its decoder survives. Received: one that ended it ({error})."
        ) from error


@contextmanager
def memory_reported(max_pixels: int) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise TooMuchMemory(
            f"Clip must need at most {reading_bytes(max_pixels) // MEGABYTE} MB of memory "
            "to be read. Received: one that needs more."
        ) from error
