import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from core.errors import ClipTooLarge, UnreadableClip, UnsupportedClip
from core.media.medium import Frame
from core.picture import Picture
from core.video import SRGB, EncoderSettings, VideoOutput, write_silent_video
from core.video.encoder import CODEC_SETTINGS, MAX_SIDE
from tests.support.clip_files import scenes, shown

TIME_BASE = Fraction(1, 100)
KINDS = {"h264": "mp4", "hevc": "mp4", "vp9": "webm", "av1": "mkv"}


def encode(target, pictures, codec="h264", quality=75, starts=None, kind=None):
    starts = range(0, 4 * len(pictures), 4) if starts is None else starts
    frames = [Frame(picture, start, 4) for picture, start in zip(pictures, starts, strict=True)]
    settings = EncoderSettings(codec, quality, Fraction(25), Fraction(1), SRGB)
    output = VideoOutput(kind or KINDS[codec], codec, TIME_BASE, has_note=True)
    done = []
    write_silent_video(frames, target, settings, output, done.append)
    return done


def pictures(count, height=64, width=96):
    return [Picture(pixels) for pixels in scenes(count, height, width)]


def psnr_db(one, other):
    return 10 * np.log10(255**2 / np.square(one.astype(float) - other).mean())


@pytest.mark.parametrize("codec", CODEC_SETTINGS)
def test_decoded_frames_resemble_the_originals(tmp_path, codec):
    done = encode(tmp_path / "clip", pictures(20), codec)
    assert done == list(range(1, 21))
    for (start, pixels), number, expected in zip(
        shown(tmp_path / "clip"), range(20), scenes(20, 64, 96), strict=True
    ):
        assert start == number * Fraction(1, 25)
        assert psnr_db(pixels, expected) > 33


@pytest.mark.parametrize("codec", CODEC_SETTINGS)
def test_the_same_frames_make_the_same_file(tmp_path, codec):
    encode(tmp_path / "one", pictures(20), codec)
    encode(tmp_path / "other", pictures(20), codec)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


@pytest.mark.parametrize("codec", CODEC_SETTINGS)
def test_an_encoder_gets_no_real_time_priority(tmp_path, codec):
    """With such a priority, as root, it would block everything else on the machine."""
    policies = set()

    def record_policies(_done):
        threads = Path("/proc/self/task").iterdir()
        policies.update(os.sched_getscheduler(int(thread.name)) for thread in threads)

    frames = [Frame(picture, 4 * number, 4) for number, picture in enumerate(pictures(4))]
    settings = EncoderSettings(codec, 75, Fraction(25), Fraction(1), SRGB)
    output = VideoOutput(KINDS[codec], codec, TIME_BASE, has_note=True)
    write_silent_video(frames, tmp_path / "clip", settings, output, record_policies)
    assert policies == {os.SCHED_OTHER}


@pytest.mark.parametrize("codec", CODEC_SETTINGS)
def test_higher_quality_makes_larger_files(tmp_path, codec):
    sizes = []
    for quality in (1, 50, 100):
        encode(tmp_path / "clip", pictures(8), codec, quality)
        sizes.append((tmp_path / "clip").stat().st_size)
    assert sizes == sorted(set(sizes))


def test_variable_frame_times_are_written(tmp_path):
    starts = [0, 2, 50, 51, 300, 301, 302, 1000]
    encode(tmp_path / "clip", pictures(8), starts=starts)
    assert [start for start, _ in shown(tmp_path / "clip")] == [s * TIME_BASE for s in starts]


def test_transparent_pixels_become_white(tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    alpha = np.zeros((64, 96), np.uint8)
    encode(tmp_path / "clip", [Picture(pixels, alpha)])
    assert shown(tmp_path / "clip")[0][1].min() > 250


def test_frames_that_are_too_large_are_refused(tmp_path):
    with pytest.raises(ClipTooLarge, match=f"at most {MAX_SIDE} pixels wide and high"):
        encode(tmp_path / "clip", pictures(1, 4, MAX_SIDE + 4))
    assert not list(tmp_path.iterdir())


def test_frames_too_small_for_a_codec_are_refused(tmp_path):
    with pytest.raises(UnsupportedClip, match="at least 64 pixels wide and high"):
        encode(tmp_path / "clip", pictures(1, 32, 96), "hevc")


@pytest.mark.parametrize("codec", CODEC_SETTINGS)
def test_an_odd_side_loses_its_last_pixel(tmp_path, codec):
    frames = pictures(3, 67, 97)
    cut = [Picture(picture.pixels[:66, :96]) for picture in frames]
    encode(tmp_path / "odd", frames, codec)
    encode(tmp_path / "even", cut, codec)
    assert shown(tmp_path / "odd")[0][1].shape == (66, 96, 3)
    assert (tmp_path / "odd").read_bytes() == (tmp_path / "even").read_bytes()


@pytest.mark.parametrize("codec", [name for name in CODEC_SETTINGS if name != "hevc"])
def test_the_smallest_frames_can_be_encoded(tmp_path, codec):
    least = CODEC_SETTINGS[codec].min_side
    encode(tmp_path / "clip", pictures(2, least, least + 1), codec)
    assert shown(tmp_path / "clip")[0][1].shape == (least, least, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 8), (8, 1)])
def test_frames_without_an_even_side_are_refused(tmp_path, height, width):
    with pytest.raises(UnsupportedClip, match="at least 2 pixels wide and high"):
        encode(tmp_path / "clip", pictures(1, height, width))


def test_a_video_without_frames_is_refused(tmp_path):
    with pytest.raises(UnreadableClip, match="must have frames"):
        encode(tmp_path / "clip", [])
    assert not list(tmp_path.iterdir())
