"""Read a range of a clip's frames; the result does not depend on where the range starts.

Decoding starts at a key frame before the range. The first frame that comes out shows whether
that was early enough. If it is not the expected one, or is damaged, the previous key frame is
tried. This happens with streams that refresh the picture over several frames.
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
    """Yield frames [first, stop), with one in memory at a time.

    Frames that are too damaged to be decoded are left out.

    Raises:
        UnreadableClip: if the file has become unreadable since it was probed.
    """
    to_picture = FrameToPicture(probe.height, probe.width, probe.colour, probe.orientation)
    numbers = {probe.starts[number]: number for number in range(first, stop)}
    for timed in decode_range(path, probe, first, stop):
        number = numbers.pop(timed.start, None)
        if number is not None:
            yield Frame(to_picture.convert(timed.frame), timed.start, probe.duration(number))


def decode_range(path: Path, probe: Probe, first: int, stop: int) -> Iterator[TimedFrame]:
    """Yield the decoded frames whose times lie between those of `first` and `stop` - 1."""
    begin, last = probe.starts[first], probe.starts[stop - 1]
    for key in key_frames_before(probe, begin):
        with open_clip(path) as (container, stream):
            frames = decode_from(container, stream, probe, key)
            wanted = dropwhile(lambda timed: timed.start < begin, frames)
            head = next(wanted, None)
            if key is not None and (head is None or not is_sound(head, begin)):
                continue
            if head is not None:
                yield from takewhile(lambda timed: timed.start <= last, chain([head], wanted))
            return


def key_frames_before(probe: Probe, start: int) -> Iterator[int | None]:
    """Yield the times where decoding may start, nearest first; finally None, the beginning."""
    keys = probe.keys[: bisect_right(probe.keys, start)]
    yield from (key for key in reversed(keys) if key > probe.starts[0])
    yield None


def decode_from(
    container: InputContainer, stream: VideoStream, probe: Probe, key: int | None
) -> Iterator[TimedFrame]:
    """Yield the decoded frames from a key frame on; None starts at the beginning."""
    if probe.is_counted:
        yield from timed_frames(container, stream, probe.step)
        return
    if key is not None:
        container.seek(key, stream=stream)
    for frame in decoded_frames(container, stream):
        if frame.pts is not None:
            yield TimedFrame(frame, frame.pts)


def is_sound(timed: TimedFrame, begin: int) -> bool:
    """Return whether a frame is undamaged and starts at the expected time."""
    return timed.start == begin and not timed.frame.is_corrupt
