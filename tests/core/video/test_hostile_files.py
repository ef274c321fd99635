import os
import signal
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from core.errors import SuperResolutionError, UnreadableClip, UnsupportedClip
from core.media.convert import open_medium
from core.options import OutputOptions
from core.sandbox.decoder import InProcessDecoder
from core.video import read_video_header
from core.video import video as module
from core.video.frames import read_frames
from core.video.probe import probe_clip
from tests.support.clip_files import LIMITS, repeat, scenes, shown, write_clip

COUNT = 40
FAST_START = {"movflags": "faststart"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    options = {"crf": "12", "x264-params": "keyint=8"}
    return {
        "mp4": write_clip(
            folder / "clip.mp4",
            scenes(COUNT),
            options=options,
            sounds=[("aac", "eng")],
            container_options=FAST_START,
        ),
        "mkv": write_clip(
            folder / "clip.mkv", scenes(COUNT), options=options, sounds=[("aac", "eng")]
        ),
        "webm": write_clip(folder / "clip.webm", scenes(COUNT), codec="libvpx-vp9"),
    }


def cut(source, target, share):
    data = source.read_bytes()
    target.write_bytes(data[: round(share * len(data))])
    return target


def probe(path):
    (found,) = probe_clip(path, LIMITS)
    return found


def convert(source, folder):
    medium = open_medium(source, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)
    parts = [folder / f"part{segment.index}" for segment in medium.segments()]
    for segment, part in zip(medium.segments(), parts, strict=True):
        medium.render(segment, repeat, part, lambda _done: None)
    medium.join(parts, folder / f"result{medium.suffix}")
    return folder / f"result{medium.suffix}", medium


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("share", [0.55, 0.7, 0.85, 0.95])
def test_a_truncated_file_yields_the_frames_before_the_end(clips, tmp_path, kind, share):
    path = cut(clips[kind], tmp_path / "clip", share)
    found = probe(path)
    frames = list(read_frames(path, found, 0, found.frames))
    assert 0 < len(frames) <= found.frames <= COUNT
    assert "ends early or is damaged" in found.damage
    whole = {
        f.start: f.picture.pixels for f in read_frames(clips[kind], probe(clips[kind]), 0, COUNT)
    }
    for frame in frames:
        np.testing.assert_array_equal(frame.picture.pixels, whole[frame.start])
    without_gap = [frame.start for frame in frames][: len(frames) - 3]  # others refer to later ones
    assert without_gap == sorted(whole)[: len(without_gap)]


def test_a_truncated_clip_is_upscaled_up_to_the_damage(clips, tmp_path):
    path = cut(clips["mp4"], tmp_path / "clip", 0.7)
    target, medium = convert(path, tmp_path)
    assert len(shown(target)) == medium.frames
    assert medium.damage == probe(path).damage


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm"])
def test_a_file_truncated_anywhere_yields_frames_or_our_error(clips, tmp_path, kind):
    for share in np.linspace(0, 0.99, 34):
        path = cut(clips[kind], tmp_path / "clip", share)
        try:
            found = probe(path)
        except UnreadableClip as error:
            assert str(error).startswith("Clip must")
            continue
        assert list(read_frames(path, found, 0, found.frames))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm"])
def test_a_file_with_flipped_bits_yields_frames_or_our_error(clips, tmp_path, kind):
    data = np.frombuffer(clips[kind].read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    path = tmp_path / "clip"
    for _ in range(8):
        damaged = data.copy()
        places = random.integers(64, len(data), 40)
        damaged[places] ^= random.integers(1, 256, 40).astype(np.uint8)
        path.write_bytes(damaged.tobytes())
        frames = 0
        try:
            found = module.probe_in_sandbox(path, LIMITS)
            frames = sum(
                1 for _ in module.read_frames_in_sandbox(path, found, 0, found.frames, 100_000)
            )
        except SuperResolutionError as error:
            assert "must" in str(error)
        assert frames <= COUNT


def test_undecodable_frames_are_left_out_and_reported(clips, tmp_path):
    with av.open(str(clips["mp4"])) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(clips["mp4"].read_bytes())
    for packet in packets[10:13]:
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    target, medium = convert(path, tmp_path)
    decoded = len(shown(target))
    assert COUNT - 8 <= decoded < COUNT
    assert f"{decoded} of {COUNT} frames could be decoded" in medium.damage


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{secret}'\n",
    "dash": '<?xml version="1.0"?><MPD><BaseURL>{secret}</BaseURL></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("playlist", PLAYLISTS)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.mkv"])
def test_playlists_are_refused(clips, tmp_path, playlist, name):
    path = tmp_path / name
    path.write_text(PLAYLISTS[playlist].format(secret=clips["mp4"]))
    with pytest.raises(UnreadableClip, match="must be an MP4, MOV, WebM or MKV file"):
        read_video_header(path, LIMITS)


def refer_elsewhere(data, elsewhere):
    """Change a MOV so that it refers to samples in another file."""
    entry = b"\0\0\0\x0curl \0\0\0\x01"  # in this file
    at = data.index(entry)
    location = elsewhere + b"\0"
    grown = len(location)
    data = data[:at] + (12 + grown).to_bytes(4) + b"url \0\0\0\0" + location + data[at + 12 :]
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = data.rindex(box, 0, at) - 4
        size = int.from_bytes(data[start : start + 4]) + grown
        data = data[:start] + size.to_bytes(4) + data[start + 4 :]
    return data


def test_samples_in_other_files_are_not_read(tmp_path):
    source = write_clip(tmp_path / "clip.mov", scenes(3))
    (tmp_path / "secret.mov").write_bytes(source.read_bytes())
    for elsewhere in (b"secret.mov", f"file://{tmp_path}/secret.mov".encode()):
        path = tmp_path / "reference.mov"
        path.write_bytes(refer_elsewhere(source.read_bytes(), elsewhere))
        with pytest.raises(UnsupportedClip, match="one that refers to other files"):
            read_video_header(path, LIMITS)


def kill_once(path):
    """Kill this process the first time; a file records that it happened."""
    if not path.exists():
        path.write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)


def read_and_die_once(path, *arguments):
    for number, frame in enumerate(read_frames(path, *arguments)):
        if number == 5:
            kill_once(path.with_suffix(".killed"))
        yield frame


def read_and_always_die(path, *arguments):
    for frame in read_frames(path, *arguments):
        if frame.start == arguments[0].starts[20]:
            os.kill(os.getpid(), signal.SIGSEGV)
        yield frame


def test_reading_continues_after_a_decoder_is_killed(clips, tmp_path, monkeypatch, caplog):
    path = Path(tmp_path / "clip.mp4")
    path.write_bytes(clips["mp4"].read_bytes())
    found = probe(path)
    expected = [frame.start for frame in read_frames(path, found, 0, COUNT)]
    monkeypatch.setattr(module, "read_frames", read_and_die_once)
    frames = list(module.read_frames_in_sandbox(path, found, 0, COUNT, 100_000))
    assert [frame.start for frame in frames] == expected
    assert "SIGKILL" in caplog.text


def test_a_frame_that_crashes_the_decoder_twice_ends_the_range(clips, monkeypatch):
    found = probe(clips["mp4"])
    monkeypatch.setattr(module, "read_frames", read_and_always_die)
    frames = list(module.read_frames_in_sandbox(clips["mp4"], found, 0, COUNT, 100_000))
    assert [frame.start for frame in frames] == list(found.starts[:20])


def yield_times_of_too_many_frames(path, limits):
    (found,) = probe_clip(path, limits)
    yield replace(found, starts=tuple(range(3 * limits.frame.max_frames + 4)), keys=())


def test_more_times_than_frames_are_allowed_are_not_received(clips, monkeypatch):
    limits = replace(LIMITS, frame=replace(LIMITS.frame, max_frames=COUNT))
    assert module.probe_in_sandbox(clips["mp4"], limits).frames == COUNT
    monkeypatch.setattr(module, "probe_clip", yield_times_of_too_many_frames)
    with pytest.raises(UnreadableClip, match="992 bytes, more than 984"):
        module.probe_in_sandbox(clips["mp4"], limits)


def yield_counts(_parts, _target, _output, source):
    yield from map(int, source.with_suffix(".counts").read_text().split())


@pytest.mark.parametrize(
    "counts",
    [[1, 5, 4], [-1], [1, 11], [1, 5] + [5] * 1000],
    ids=["less", "negative", "more", "endless"],
)
def test_counts_that_no_join_yields_are_refused(tmp_path, monkeypatch, counts):
    (tmp_path / "clip.mp4").write_bytes(bytes(1000))
    monkeypatch.setattr(module, "join_parts", yield_counts)

    def join(counts):
        (tmp_path / "clip.counts").write_text(" ".join(map(str, counts)))
        return module.join_in_sandbox([], tmp_path, None, tmp_path / "clip.mp4", 10, 100_000)

    assert join([1, 5, 5, 10]) == 10
    with pytest.raises(UnreadableClip, match="survives.*invalid answer: .* frames after"):
        join(counts)
