import io
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from core.errors import ClipTooLarge, UnreadableClip
from core.images import Limits
from core.picture import Picture
from core.video import read_raw, write_raw
from core.video.colour import Colour
from tests.support.clip_files import LIMITS, repeat, scenes, shown

RATE, ASPECT = Fraction(30000, 1001), Fraction(4, 3)


class Pipe(io.RawIOBase):
    """Bytes that can be read once, without seeking."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(buffer)


def y4m(frames, is_full=False):
    file = io.BytesIO()
    pictures = (repeat_of(pixels) for pixels in frames)
    write_raw(file, pictures, RATE, ASPECT, Colour(6, is_full=is_full))
    return file.getvalue()


def repeat_of(pixels):
    return repeat(Picture(pixels))


@pytest.mark.parametrize("is_full", [False, True])
def test_ffmpeg_reads_what_is_written(tmp_path, is_full):
    path = tmp_path / "clip.y4m"
    path.write_bytes(y4m(scenes(3), is_full))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.sample_aspect_ratio) == (RATE, ASPECT)
    for (_, pixels), expected in zip(shown(path), scenes(3), strict=True):
        assert np.abs(pixels[::4, ::4].astype(int) - expected).mean() < 3


@pytest.mark.parametrize("is_full", [False, True])
def test_a_pipe_is_read_frame_by_frame(is_full):
    with read_raw(Pipe(y4m(scenes(3), is_full)), LIMITS) as clip:
        assert (clip.rate, clip.aspect) == (RATE, ASPECT)
        assert (clip.height, clip.width) == (128, 192)
        assert clip.colour.is_full == is_full
        frames = list(clip.frames)
    assert [frame.start for frame in frames] == [0, 1, 2]
    for frame, expected in zip(frames, scenes(3), strict=True):
        assert np.abs(frame.picture.pixels[1::4, 1::4].astype(int) - expected).mean() < 3


def test_writing_what_was_read_changes_almost_nothing():
    first = y4m(scenes(2))
    with read_raw(Pipe(first), replace(LIMITS, frame=Limits(10**6, 1000))) as clip:
        file = io.BytesIO()
        pictures = (frame.picture for frame in clip.frames)
        write_raw(file, pictures, clip.rate, clip.aspect, clip.colour)
    one, other = (np.frombuffer(data, np.uint8) for data in (first, file.getvalue()))
    assert np.abs(one.astype(int) - other).max() <= 4


@pytest.mark.parametrize("data", [b"", b"Hello", b"YUV4MPEG2 W16 H16 F25:1 C420\n"])
def test_other_pipes_are_refused(data):
    with pytest.raises(UnreadableClip), read_raw(Pipe(data), LIMITS):
        pass


def test_an_odd_side_loses_its_last_pixel(tmp_path):
    path = tmp_path / "clip.y4m"
    with path.open("wb") as file:
        write_raw(file, [Picture(scenes(1, 33, 47)[0])], RATE, ASPECT, Colour(6))
    assert shown(path)[0][1].shape == (32, 46, 3)


def test_frames_over_the_limit_are_refused():
    limits = replace(LIMITS, frame=Limits(100, 1000))
    with pytest.raises(ClipTooLarge), read_raw(Pipe(y4m(scenes(1))), limits):
        pass
