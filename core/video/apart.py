"""Videos read in processes of their own, which a hostile file may end, see `core.reading`.

What these do is in `header`, `frames` and `joining`.
"""

from bisect import bisect_left
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from core.clips import ClipLimits, Frame
from core.media import GoOn, always
from core.reading import read, read_numbered, read_one, trouble_reported
from core.video.frames import read_frames
from core.video.header import Probe, probe_clip
from core.video.joining import Output, join_parts


def probe_apart(path: Path, limits: ClipLimits) -> Probe:
    """As `probe_clip`; also UnreadableClip if the file ends its processes or takes too long."""
    return read_one(probe_clip, (path, limits), limits.frame.max_pixels)


def read_frames_apart(
    path: Path, probe: Probe, first: int, stop: int, max_pixels: int
) -> Generator[Frame]:
    """As `read_frames`; a frame that ends the process twice is left out, with those after it.

    Raises:
        TooMuchMemory: if a frame takes too much.
    """

    def number_of(frame: Frame, least: int) -> int:
        return bisect_left(probe.starts, frame.start, least)

    return read_numbered(read_frames, (path, probe), range(first, stop), max_pixels, number_of)


def join_apart(
    parts: Sequence[Path],
    target: Path,
    output: Output,
    source: Path,
    max_pixels: int,
    go_on: GoOn = always,
) -> int:
    """As `join_parts`; how many frames there are. What `go_on` raises now and then ends it.

    Raises:
        UnreadableClip: if there are none, or the file ends its process or takes too long.
    """
    arguments = (list(parts), target, output, source)
    with (
        trouble_reported(max_pixels),
        closing(read(join_parts, arguments, max_pixels)) as counts,
    ):
        written = 0
        for count in counts:
            written = int(count)
            go_on()
    return written
