"""Animated WebP files written by Pillow, and the frames that are read from them."""

import io

import numpy as np
import pytest
from PIL import Image

from core.animation import is_animation, read_animation
from core.animation.webp import split_chunks
from core.errors import ImageTooLarge, UnreadableImage
from core.images import Limits
from core.media.medium import ClipLimits
from tests.support.picture_files import display_p3
from tests.support.stand_ins import noise

LIMITS = ClipLimits(Limits(1000, 100, 20), 30)


@pytest.fixture
def frames():
    return [noise(6, 9, 4, seed) for seed in range(3)]


def encode(frames, **options):
    file = io.BytesIO()
    images = [Image.fromarray(each) for each in frames]
    options = {"lossless": True, "exact": True, "duration": 40} | options
    images[0].save(file, "WEBP", save_all=True, append_images=images[1:], **options)
    return file.getvalue()


def read(data, limits=LIMITS):
    return read_animation(io.BytesIO(data), limits)


def test_frames_are_as_they_were_written(frames):
    animation = read(encode(frames))
    for written, frame in zip(frames, animation.frames(), strict=True):
        assert (frame.picture.alpha == written[..., 3]).all()
        visible = written[..., 3] >= 32
        assert (frame.picture.pixels == written[..., :3])[visible].all()


def test_times_and_repetitions_are_exact(frames):
    animation = read(encode(frames, duration=[1, 0, 1234], loop=5))
    assert animation.durations == (1, 0, 1234) and animation.plays == 5
    assert animation.header.seconds == 1.235


def test_a_still_webp_is_not_an_animation(frames):
    file = io.BytesIO()
    Image.fromarray(frames[0]).save(file, "WEBP")
    assert not is_animation(file)
    assert is_animation(io.BytesIO(encode(frames)))


def test_colour_profiles_are_applied(frames):
    opaque = [each[..., :3] for each in frames]
    plain = read(encode(opaque))
    converted = read(encode(opaque, icc_profile=display_p3()))
    first, other = (next(animation.frames()).picture.pixels for animation in (plain, converted))
    assert (first == opaque[0]).all() and (other != opaque[0]).any()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ClipLimits(Limits(53, 100, 20), 30), "at most 53 pixels"),
        (ClipLimits(Limits(1000, 100, 2), 30), "at most 2 frames"),
        (ClipLimits(Limits(1000, 100, 20), 0.1), "at most 0.1 s. Received: 0.12 s"),
    ],
)
def test_files_over_the_limits_are_refused(frames, limits, message):
    with pytest.raises(ImageTooLarge, match=message):
        read(encode(frames), limits)


def test_a_file_that_ends_early_has_fewer_frames(frames):
    data = encode(frames)
    animation = read(data[:-20])
    assert len(list(animation.frames())) == 2 and animation.damage == "The file ends too early."


def test_frames_before_a_damaged_one_are_kept(frames):
    data = bytearray(encode(frames))
    last = list(split_chunks(bytes(data)))[-1]
    start = data.index(last.body) + 30
    data[start : start + 60] = b"\xff" * 60
    animation = read(bytes(data))
    assert len(animation.durations) == 2 and animation.damage.startswith("After frame 2")


def test_a_file_without_a_whole_frame_is_refused(frames):
    data = encode(frames)
    with pytest.raises(UnreadableImage, match="whole frame"):
        read(data[: data.index(b"ANMF") + 30])


def test_a_range_of_frames_can_be_read(frames):
    animation = read(encode(frames))
    (last,) = animation.frames(2, 3)
    assert last.start == 80
    assert np.array_equal(last.picture.alpha, frames[2][..., 3])
