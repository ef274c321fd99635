"""Frames of a clip from one number to another, the same ones however they are reached.

Decoding begins at a key frame before the first that is wanted. Whether that was far enough
back shows at the first frame that comes out of it: if it is another than expected, or
damaged, as after a refresh that takes several frames, the key frame before is tried.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain, dropwhile, takewhile
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from core.media.medium import Frame
from core.video.colour import FrameToPicture
from core.video.container import TimedFrame, decoded_frames, open_clip, timed_frames
from core.video.probe import Probe


def read_frames(path: Path, probe: Probe, first: int, stop: int) -> Iterator[Frame]:
    """Yield the frames from `first` up to and without `stop`, one in memory at a time.

    Those that are too damaged to be decoded are left out.

    Raises:
        UnreadableClip: if the file is another one by now.
    """
    pictures = FrameToPicture(probe.height, probe.width, probe.colour, probe.orientation)
    numbers = {probe.starts[number]: number for number in range(first, stop)}
    for timed in wanted_frames(path, probe, first, stop):
        number = numbers.pop(timed.start, None)
        if number is not None:
            yield Frame(pictures.of(timed.frame), timed.start, probe.duration(number))


def wanted_frames(path: Path, probe: Probe, first: int, stop: int) -> Iterator[TimedFrame]:
    """Decoded frames that are shown from the one to the other."""
    begin, last = probe.starts[first], probe.starts[stop - 1]
    for key in key_frames_before(probe, begin):
        with open_clip(path) as (container, stream):
            after = dropwhile(lambda t: t.start < begin, frames_from(container, stream, probe, key))
            head = next(after, None)
            if key is not None and (head is None or not is_sound(head, begin)):
                continue
            if head is not None:
                yield from takewhile(lambda t: t.start <= last, chain([head], after))
            return


def key_frames_before(probe: Probe, start: int) -> Iterator[int | None]:
    """Where decoding may begin, the nearest first; at last None, the beginning."""
    keys = probe.keys[: bisect_right(probe.keys, start)]
    yield from (key for key in reversed(keys) if key > probe.starts[0])
    yield None


def frames_from(
    container: InputContainer, stream: VideoStream, probe: Probe, key: int | None
) -> Iterator[TimedFrame]:
    if probe.is_counted:
        yield from timed_frames(container, stream, probe.step)
        return
    if key is not None:
        container.seek(key, stream=stream)
    for frame in decoded_frames(container, stream):
        if frame.pts is not None:
            yield TimedFrame(frame, frame.pts)


def is_sound(timed: TimedFrame, begin: int) -> bool:
    return timed.start == begin and not timed.frame.is_corrupt
