from dataclasses import replace
from fractions import Fraction

import av
import pytest

from core.errors import ClipTooLarge, UnreadableClip, UnsupportedClip
from core.images import Limits
from core.media.medium import ClipLimits
from core.video.colour import Colour
from core.video.probe import probe_clip
from tests.support.clip_files import LIMITS, scenes, write_clip, write_sound


def probe(path, limits=LIMITS):
    (found,) = probe_clip(path, limits)
    return found


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", scenes(30), sounds=[("aac", "eng")])


def test_the_header_describes_the_clip(clip):
    header = probe(clip).header
    assert (header.format, header.height, header.width, header.frames) == ("MP4", 32, 48, 30)
    assert header.seconds == pytest.approx(1.2)
    assert header.damage is None
    assert not header.has_alpha


def test_frame_starts_are_read(tmp_path):
    starts = [500, 540, 700, 701, 950, 2000]
    path = write_clip(tmp_path / "clip.mp4", scenes(6), starts=starts, time_base=Fraction(1, 1000))
    found = probe(path)
    seconds = [start * found.time_base for start in found.starts]
    assert seconds == [Fraction(start, 1000) for start in starts]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(1535, 1000), "at most 1535 pixels. Received: 48 x 32 = 1536 pixels"),
        (Limits(100_000, 47), "at most 47 pixels wide and high. Received: 48 x 32"),
        (Limits(100_000, 1000, 29), "at most 29 frames. Received: more"),
    ],
)
def test_frames_over_the_limit_are_refused(clip, limits, message):
    with pytest.raises(ClipTooLarge, match=message):
        probe(clip, replace(LIMITS, frame=limits))


def test_a_clip_that_lasts_too_long_is_refused(clip):
    with pytest.raises(ClipTooLarge, match=r"at most 1.1 s. Received: 1.2 s"):
        probe(clip, ClipLimits(LIMITS.frame, 1.1))


def test_limits_are_checked_before_frames_are_decoded(clip, monkeypatch):
    def decode(*_arguments):
        raise AssertionError

    monkeypatch.setattr("core.video.probe.first_frame", decode)
    with pytest.raises(ClipTooLarge):
        probe(clip, ClipLimits(LIMITS.frame, 1.1))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"Hello, world")
    with pytest.raises(UnreadableClip, match=r"an MP4, MOV, WebM or MKV file. Received: 12 bytes"):
        probe(path)


def test_a_file_without_video_is_refused(tmp_path):
    with av.open(tmp_path / "sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        write_sound(container, stream, 0.2)
    with pytest.raises(UnsupportedClip, match="must have a video stream"):
        probe(tmp_path / "sound.mp4")


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_known_with_its_light_level(tmp_path, transfer):
    path = write_clip(
        tmp_path / "clip.mp4",
        scenes(2, 64, 80),
        codec="libx265",
        options={"x265-params": "log-level=none:max-cll=600,300"},
        pixel_format="yuv420p10le",
        color_trc=transfer,
        color_primaries=9,
        colorspace=9,
    )
    assert probe(path).colour == Colour(9, 9, transfer, peak_nits=600)


def test_the_cover_is_not_the_video(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(path, "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 64, 64, "yuvj420p"
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = 32, 48
        cover.disposition = cover.disposition.attached_pic
        for number, pixels in enumerate(scenes(3)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        container.mux(cover.encode(None))
    assert (probe(path).height, probe(path).frames) == (32, 3)


def test_hidden_frames_are_not_counted(tmp_path):
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k", "deadline": "good"}
    path = write_clip(tmp_path / "clip.webm", scenes(60), codec="libvpx", options=options)
    assert probe(path).frames == 60
