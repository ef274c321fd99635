from fractions import Fraction

import numpy as np
import pytest

from core.video import frames as module
from core.video.frames import read_frames
from core.video.probe import probe_clip
from tests.support.clip_files import LIMITS, scene, scenes, shown, write_clip

COUNT = 40
CODECS = {
    "closed": ("clip.mp4", "libx264", {"x264-params": "keyint=12:bframes=3"}),
    "open": ("clip.mp4", "libx264", {"x264-params": "keyint=12:bframes=3:open-gop=1:scenecut=0"}),
    "refresh": ("clip.mp4", "libx264", {"x264-params": "keyint=12:intra-refresh=1:scenecut=0"}),
    "refresh in mkv": ("clip.mkv", "libx264", {"x264-params": "keyint=12:intra-refresh=1"}),
    "hevc": (
        "clip.mkv",
        "libx265",
        {"x265-params": "keyint=12:bframes=3:open-gop=1:log-level=none"},
    ),
    "mpeg4": ("clip.mp4", "mpeg4", {"bf": "2", "g": "12"}),
    "vp9": ("clip.webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "vp8": ("clip.webm", "libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "prores": ("clip.mov", "prores_ks", {}),
}


def probe(path):
    (found,) = probe_clip(path, LIMITS)
    return found


def read(path, first=0, stop=None):
    found = probe(path)
    return list(read_frames(path, found, first, found.frames if stop is None else stop))


@pytest.fixture(scope="module", params=CODECS)
def clip(request, tmp_path_factory):
    name, codec, options = CODECS[request.param]
    pixel_format = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    return write_clip(
        tmp_path_factory.mktemp("clips") / name,
        scenes(COUNT, 64, 80),
        codec=codec,
        options=options,
        pixel_format=pixel_format,
    )


def test_every_frame_is_read_once_with_its_time(clip):
    frames, expected = read(clip), shown(clip)
    time_base = probe(clip).time_base
    assert [frame.start * time_base for frame in frames] == [start for start, _ in expected]
    assert len(frames) == COUNT
    for frame, (_, pixels) in zip(frames, expected, strict=True):
        assert np.abs(frame.picture.pixels.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize(("first", "stop"), [(0, 1), (11, 14), (12, 13), (13, 25), (23, 40)])
def test_a_range_has_the_same_frames_as_the_whole(clip, first, stop):
    whole = read(clip)[first:stop]
    for one, other in zip(read(clip, first, stop), whole, strict=True):
        assert (one.start, one.duration) == (other.start, other.duration)
        np.testing.assert_array_equal(one.picture.pixels, other.picture.pixels)


def test_a_range_is_read_without_decoding_everything_before(clip, monkeypatch):
    decoded = []
    original = module.decoded_frames

    def counted(*arguments):
        for frame in original(*arguments):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(module, "decoded_frames", counted)
    read(clip, 36, 38)
    is_refreshed_only = not [key for key in probe(clip).keys if key > probe(clip).starts[0]]
    assert is_refreshed_only or len(decoded) < 36


def test_variable_durations_are_read(tmp_path):
    starts = [500, 540, 700, 701, 950, 2000]
    path = write_clip(tmp_path / "clip.mp4", scenes(6), starts=starts, time_base=Fraction(1, 1000))
    frames, unit = read(path), probe(path).time_base
    assert [frame.start * unit * 1000 for frame in frames] == starts
    assert [frame.duration * unit * 1000 for frame in frames][:-1] == [40, 160, 1, 249, 1050]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_upright(tmp_path, rotation):
    path = write_clip(tmp_path / "clip.mp4", scenes(2), rotation=rotation)
    (frame, _) = read(path)
    expected = np.rot90(scene(0), rotation // 90)
    assert frame.picture.pixels.shape == expected.shape
    assert np.abs(frame.picture.pixels.astype(int) - expected).mean() < 6
    header = probe(path).header
    assert (header.height, header.width) == expected.shape[:2]


def test_the_pixel_aspect_ratio_is_rotated_with_the_frame(tmp_path):
    shape = {"sample_aspect_ratio": Fraction(4, 3)}
    flat = write_clip(tmp_path / "flat.mp4", scenes(2), **shape)
    turned = write_clip(tmp_path / "turned.mp4", scenes(2), rotation=90, **shape)
    assert probe(flat).aspect == Fraction(4, 3)
    assert probe(turned).aspect == Fraction(3, 4)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (1, 1), (2, 3), (17, 16)])
def test_odd_sizes_are_read(tmp_path, height, width):
    frames = scenes(2, height, width)
    path = write_clip(
        tmp_path / "clip.mkv", frames, codec="ffv1", pixel_format="yuv444p", options={}
    )
    for frame, expected in zip(read(path), frames, strict=True):
        assert np.abs(frame.picture.pixels.astype(int) - expected).max() <= 3


def test_frames_without_packet_times_are_counted(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", scenes(12))
    expected = read(path)
    monkeypatch.setattr("core.video.probe.read_index", lambda *_: None)
    assert probe(path).is_counted
    frames = read(path)
    assert [frame.start for frame in frames] == [frame.start for frame in expected]
    for one, other in zip(read(path, 5, 9), expected[5:9], strict=True):
        np.testing.assert_array_equal(one.picture.pixels, other.picture.pixels)


def test_a_single_frame_has_the_average_duration(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", scenes(1))
    (frame,) = read(path)
    assert frame.duration * probe(path).time_base == Fraction(1, 25)
