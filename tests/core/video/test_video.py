from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from core.errors import (
    ClipTooLarge,
    ImageTooLarge,
    InvalidOptions,
    UnreadableClip,
    UnsupportedClip,
)
from core.media.convert import open_medium
from core.media.medium import ClipLimits, plan_segments
from core.media.render import ClipUpscaler
from core.options import OutputOptions
from core.sandbox.decoder import InProcessDecoder
from core.video import video as module
from core.video.parts import NOTE
from tests.support.clip_files import LIMITS, copied, repeat, scene, scenes, shown, times, write_clip

COUNT = 30
SEGMENT = 8


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(module, "plan_segments", lambda frames: plan_segments(frames, SEGMENT))


def convert(source, folder, options=None, upscale=repeat):
    """Convert a clip segment by segment; return the path of the result, and the medium."""
    medium = open_medium(
        source, LIMITS, options or OutputOptions(), decoder=InProcessDecoder(), scale=4
    )
    parts = [folder / f"part{segment.index}" for segment in medium.segments()]
    for segment, part in zip(medium.segments(), parts, strict=True):
        medium.render(segment, upscale, part, lambda _done: None)
    target = folder / f"result{medium.suffix}"
    medium.join(parts, target)
    return target, medium


def video(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context, stream.sample_aspect_ratio


def psnr_db(one, other):
    return 10 * np.log10(255**2 / np.square(one.astype(float) - other).mean())


SOUNDS = [("aac", "eng"), ("aac", "deu")]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_clip(path, scenes(COUNT), sounds=SOUNDS, metadata={"title": "Pan"})


@pytest.fixture(scope="module")
def result(clip, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "plan_segments", lambda frames: plan_segments(frames, SEGMENT))
        return convert(clip, tmp_path_factory.mktemp("result"))[0]


def test_frame_count_and_times_are_kept(clip, result):
    assert times(result) == times(clip)
    assert len(times(result)) == COUNT


def test_frames_are_four_times_as_large_without_visible_seams(clip, result):
    for (_, pixels), (_, lr) in zip(shown(result), shown(clip), strict=True):
        assert psnr_db(pixels, lr.repeat(4, axis=0).repeat(4, axis=1)) > 38


def test_sound_packets_and_their_times_are_copied_exactly(clip, result):
    assert len(copied(result)) == len(SOUNDS)
    assert copied(result) == copied(clip)


def test_metadata_is_copied_and_a_note_added(result):
    with av.open(str(result)) as container:
        assert container.metadata["title"] == "Pan"
        assert container.metadata["comment"] == NOTE
        assert "encoder" not in container.metadata


def test_the_note_can_be_left_out(clip, tmp_path):
    target, _ = convert(clip, tmp_path, OutputOptions(has_note=False))
    with av.open(str(target)) as container:
        assert "comment" not in container.metadata


def test_the_moov_box_is_at_the_beginning(result):
    data = result.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_every_run_writes_the_same_bytes(clip, result, tmp_path):
    assert convert(clip, tmp_path)[0].read_bytes() == result.read_bytes()


def test_an_interrupted_and_resumed_run_writes_the_same_bytes(clip, result, tmp_path):
    medium = open_medium(clip, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)
    parts = [tmp_path / f"part{segment.index}" for segment in medium.segments()]

    def interrupted(picture):
        if len(list(tmp_path.iterdir())) > 2:
            raise KeyboardInterrupt
        return repeat(picture)

    backwards = list(zip(medium.segments(), parts, strict=True))[::-1]
    with pytest.raises(KeyboardInterrupt):
        for segment, part in backwards:
            medium.render(segment, interrupted, part, lambda _done: None)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
    for segment, part in backwards:
        if not part.exists():
            medium.render(segment, repeat, part, lambda _done: None)
    medium.join(parts, tmp_path / "result.mp4")
    assert (tmp_path / "result.mp4").read_bytes() == result.read_bytes()


def test_progress_does_not_count_warm_up_frames(clip, tmp_path):
    medium = open_medium(clip, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)
    done = []
    medium.render(medium.segments()[1], repeat, tmp_path / "part", done.append)
    assert done == list(range(1, SEGMENT + 1))


@pytest.mark.parametrize(("is_coherent", "first"), [(True, 0), (False, SEGMENT)])
def test_a_coherent_segment_is_warmed_up_with_earlier_frames(clip, tmp_path, is_coherent, first):
    medium = open_medium(
        clip, LIMITS, OutputOptions(is_coherent=is_coherent), decoder=InProcessDecoder(), scale=4
    )
    first_pixels = []

    def upscale(picture):
        first_pixels.append(picture.pixels[0, 0, 0])
        return repeat(picture)

    medium.render(medium.segments()[1], upscale, tmp_path / "part", lambda _done: None)
    assert len(first_pixels) == 2 * SEGMENT - first
    assert abs(int(first_pixels[0]) - int(scene(first)[0, 0, 0])) < 5


def test_an_error_of_the_network_leaves_no_file(clip, tmp_path):
    medium = open_medium(clip, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)

    def fail(_picture):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        medium.render(medium.segments()[0], fail, tmp_path / "part", lambda _done: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "codec", "sound", "output", "codec_out"),
    [
        ("clip.mov", "libx264", "aac", OutputOptions(), "h264"),
        ("clip.mkv", "libx264", "flac", OutputOptions(), "h264"),
        ("clip.webm", "libvpx-vp9", "libopus", OutputOptions(quality=50), "vp9"),
        ("clip.mp4", "libx264", "aac", OutputOptions(codec="hevc"), "hevc"),
        ("clip.mp4", "libx264", "aac", OutputOptions(codec="av1"), "av1"),
        ("clip.mkv", "libx264", "libopus", OutputOptions(format="webm"), "vp9"),
        ("clip.webm", "libvpx-vp9", "libopus", OutputOptions(format="mp4"), "h264"),
        ("clip.mkv", "mpeg4", "aac", OutputOptions(format="mov"), "h264"),
    ],
)
def test_containers_and_codecs_can_be_converted(tmp_path, name, codec, sound, output, codec_out):
    options = {"crf": "12"} if codec == "libx264" else {}
    source = write_clip(
        tmp_path / name, scenes(COUNT), codec=codec, sounds=[(sound, "fra")], options=options
    )
    target, medium = convert(source, tmp_path, output)
    assert target.suffix.removeprefix(".") == (output.format or source.suffix.removeprefix("."))
    assert video(target)[0].codec.canonical_name == codec_out
    assert times(target) == times(source)
    one, other = copied(target), copied(source)
    assert [[data for _, data in packets] for *_, packets in one] == [
        [data for _, data in packets] for *_, packets in other
    ]
    for (*_, packets), (*_, expected) in zip(one, other, strict=True):
        for (start, _), (expected_start, _) in zip(packets, expected, strict=True):
            assert abs(start - expected_start) <= Fraction(1, 1000)  # MKV counts milliseconds
    assert medium.mimetype.startswith("video/")


def test_variable_frame_times_are_kept(tmp_path):
    starts = [500, 540, 700, 701, 950, 2000, 2001, 2500, 2600, 2601]
    source = write_clip(
        tmp_path / "clip.mp4", scenes(10), starts=starts, time_base=Fraction(1, 1000)
    )
    target, _ = convert(source, tmp_path)
    assert times(target) == times(source) == [Fraction(start, 1000) for start in starts]


def test_ntsc_rates_are_exact(tmp_path):
    starts = list(range(0, 1001 * 20, 1001))
    source = write_clip(
        tmp_path / "clip.mp4", scenes(20), starts=starts, time_base=Fraction(1, 30000)
    )
    target, _ = convert(source, tmp_path)
    assert times(target) == [Fraction(start, 30000) for start in starts]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_clips_come_out_upright(tmp_path, rotation):
    source = write_clip(tmp_path / "clip.mp4", scenes(2), rotation=rotation)
    target, _ = convert(source, tmp_path)
    expected = np.rot90(scene(0), rotation // 90).repeat(4, axis=0).repeat(4, axis=1)
    assert psnr_db(shown(target)[0][1], expected) > 30
    with av.open(str(target)) as container:
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
def test_the_pixel_aspect_ratio_is_kept(tmp_path, codec):
    source = write_clip(
        tmp_path / "clip.mp4", scenes(2), sample_aspect_ratio=Fraction(4, 3), rotation=90
    )
    assert video(convert(source, tmp_path, OutputOptions(codec=codec))[0])[1] == Fraction(3, 4)


@pytest.mark.parametrize(("matrix", "is_full"), [(1, False), (6, False), (1, True), (9, False)])
def test_colour_tags_are_kept(tmp_path, matrix, is_full):
    source = write_clip(
        tmp_path / "clip.mp4",
        scenes(2),
        colorspace=matrix,
        color_primaries=matrix,
        color_trc=1,
        color_range=ColorRange.JPEG if is_full else ColorRange.MPEG,
    )
    context, _ = video(convert(source, tmp_path)[0])
    assert (context.colorspace, context.color_primaries, context.color_trc) == (matrix, matrix, 1)
    assert context.color_range == (ColorRange.JPEG if is_full else ColorRange.MPEG)


def test_an_hdr_clip_becomes_one_of_standard_dynamic_range(tmp_path):
    """Level 0.58 of PQ is 203 cd/m2, which the curve of BT.2390 shows at level 229."""
    frame = av.VideoFrame(80, 64, "yuv420p10le")
    for plane, level in zip(frame.planes, (64 + round(0.5807 * 876), 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, level, np.uint16).tobytes())
    source = write_clip(
        tmp_path / "clip.mp4",
        [frame],
        codec="libx265",
        options={"x265-params": "log-level=none"},
        pixel_format="yuv420p10le",
        color_trc=16,
        color_primaries=9,
        colorspace=9,
    )
    target = convert(source, tmp_path)[0]
    context, _ = video(target)
    assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
    ((_, pixels),) = shown(target)
    np.testing.assert_allclose(pixels.astype(int), 229, atol=2)


def test_odd_sizes_become_even(tmp_path):
    source = write_clip(
        tmp_path / "clip.mkv", scenes(3, 33, 47), codec="ffv1", options={}, pixel_format="yuv444p"
    )
    assert shown(convert(source, tmp_path)[0])[0][1].shape == (132, 188, 3)


def to_size(upscaler, source, folder, **options):
    """Convert a clip to a size; return the path of the result."""
    options = OutputOptions(**options)
    return convert(source, folder, options, ClipUpscaler(upscaler, options, 0.0))[0]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"scale": 2}, (64, 96)),
        ({"scale": 1.5}, (48, 72)),
        ({"scale": 1.4}, (44, 66)),  # 45 x 67
        ({"scale": 7.5}, (240, 360)),
        ({"width": 101}, (66, 100)),  # 67 x 101
        ({"height": 64}, (64, 96)),
        ({"width": 100, "height": 61}, (60, 92)),  # 61 x 92
        ({"width": 65, "height": 81, "fit": "cover"}, (80, 64)),
    ],
)
def test_frames_get_the_size_that_is_asked_for(clip, upscaler, tmp_path, size, expected):
    target = to_size(upscaler, clip, tmp_path, **size)
    assert {pixels.shape for _, pixels in shown(target)} == {(*expected, 3)}
    assert times(target) == times(clip)
    assert copied(target) == copied(clip)


@pytest.mark.parametrize("is_coherent", [True, False])
def test_a_clip_of_the_same_size_keeps_its_pixels(clip, upscaler, tmp_path, is_coherent):
    options = OutputOptions(scale=1, restore=0.0, is_coherent=is_coherent, quality=100)
    again, _ = convert(clip, tmp_path, replace(options, is_coherent=False), lambda lr: lr)
    encoded_again = again.read_bytes()
    target, _ = convert(clip, tmp_path, options, ClipUpscaler(upscaler, options, 0.0))
    assert target.read_bytes() == encoded_again
    for (_, pixels), (_, lr) in zip(shown(target), shown(clip), strict=True):
        assert psnr_db(pixels, lr) > 40


def test_size_is_that_of_the_upright_frames(tmp_path, upscaler):
    source = write_clip(
        tmp_path / "clip.mp4", scenes(2), sample_aspect_ratio=Fraction(4, 3), rotation=90
    )
    target = to_size(upscaler, source, tmp_path, width=66, detail=0)
    assert shown(target)[0][1].shape == (98, 66, 3)  # 99 x 66
    assert video(target)[1] == Fraction(3, 4)
    with av.open(str(target)) as container:
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scale": 16}, ImageTooLarge, "at most 100000 pixels. Received: a picture"),
        ({"width": 47}, InvalidOptions, "from 1 to 16 times that of the picture, 48 x 32 pixels"),
        ({"scale": 1.9, "codec": "hevc"}, UnsupportedClip, "at least 64 .* Received: 91 x 61"),
    ],
)
def test_impossible_sizes_are_refused_at_once(clip, options, error, message):
    limits = ClipLimits(replace(LIMITS.frame, max_output_pixels=100_000), 60)
    with pytest.raises(error, match=message):
        open_medium(clip, limits, OutputOptions(**options), decoder=InProcessDecoder(), scale=4)


def test_the_limit_of_the_encoder_is_that_of_the_result(tmp_path):
    source = write_clip(tmp_path / "clip.mp4", scenes(1, 2, 1500))
    limits = ClipLimits(replace(LIMITS.frame, max_side=2000), 60)
    open_medium(source, limits, OutputOptions(scale=10), decoder=InProcessDecoder(), scale=4)
    with pytest.raises(ClipTooLarge, match="at most 16384 pixels .* Received: 16500 x 22"):
        open_medium(source, limits, OutputOptions(scale=11), decoder=InProcessDecoder(), scale=4)


def test_a_single_frame_without_sound_can_be_converted(tmp_path):
    source = write_clip(tmp_path / "clip.mp4", scenes(1))
    target, _ = convert(source, tmp_path)
    assert times(target) == [0]
    assert copied(target) == []


def test_subtitles_chapters_and_attachments_are_copied(tmp_path):
    source = write_clip(
        tmp_path / "clip.mkv", scenes(COUNT), sounds=SOUNDS, subtitles=[("subrip", "spa")]
    )
    with_more = tmp_path / "more.mkv"
    with av.open(str(source)) as given, av.open(str(with_more), "w") as container:
        streams = [container.add_stream_from_template(s, opaque=True) for s in given.streams]
        for stream, template in zip(streams, given.streams, strict=True):
            stream.metadata.update(template.metadata)
        container.add_attachment("font.ttf", "font/ttf", b"glyphs")
        part = {"id": 1, "start": 0, "end": 700, "time_base": Fraction(1, 1000)}
        container.set_chapters([{**part, "metadata": {"title": "Beginning"}}])
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    target, _ = convert(with_more, tmp_path)
    assert copied(target) == copied(with_more)
    assert [language for _, language, _ in copied(target)] == ["eng", "deu", "spa"]
    with av.open(str(target)) as container:
        (chapter,) = container.chapters()
        assert chapter["metadata"]["title"] == "Beginning"
        (attachment,) = container.streams.attachments
        assert (attachment.name, bytes(attachment.data)) == ("font.ttf", b"glyphs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OutputOptions(format="webm"), "audio that WebM can hold as it is. Received: .* codec aac"),
        (
            OutputOptions(codec="theora"),
            "MP4 must be one of h264, hevc, vp9, av1. Received: theora",
        ),
        (OutputOptions(format="mov", codec="vp9"), "MOV must be one of h264, hevc. Received: vp9"),
        (OutputOptions(format="avi"), "one of mp4, mov, webm, mkv, for videos. Received: avi"),
    ],
)
def test_impossible_outputs_are_refused_at_once(clip, options, message):
    with pytest.raises(InvalidOptions, match=message):
        open_medium(clip, LIMITS, options, decoder=InProcessDecoder(), scale=4)


def test_parts_of_another_encoder_are_not_joined(clip, tmp_path):
    source = write_clip(tmp_path / "other.mp4", scenes(10, 64, 64))
    medium = open_medium(clip, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)
    other = open_medium(source, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)
    medium.render(medium.segments()[0], repeat, tmp_path / "one", lambda _done: None)
    other.render(other.segments()[0], repeat, tmp_path / "two", lambda _done: None)
    with pytest.raises(Exception, match="must be encoded alike"):
        medium.join([tmp_path / "one", tmp_path / "two"], tmp_path / "result.mp4")
    assert not (tmp_path / "result.mp4").exists()


def test_a_clip_without_any_frame_is_refused(clip, tmp_path):
    medium = open_medium(clip, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)
    (tmp_path / "part").write_bytes(b"")
    with pytest.raises(UnreadableClip, match="must have frames"):
        medium.join([tmp_path / "part"], tmp_path / "result.mp4")


def test_each_segment_begins_with_a_key_frame(result):
    with av.open(str(result)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    starts = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert {0, 8, 16, 24} <= set(starts)
    assert all(one.dts < other.dts for one, other in pairwise(packets))
    assert all(packet.dts <= packet.pts for packet in packets)


def test_the_first_frames_decide_how_a_clip_is_restored(clip):
    medium = open_medium(clip, LIMITS, OutputOptions(), decoder=InProcessDecoder(), scale=4)
    decoded = shown(clip)
    judged = [picture.pixels for picture in medium.judged_frames()]
    assert len(judged) == 3
    for pixels, number in zip(judged, (0, 12, 24), strict=True):
        assert np.abs(pixels - decoded[number][1].astype(float)).mean() < 4
