import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from core.errors import InvalidOptions, UnreadableClip, UnreadableImage, UnsupportedImage
from core.images import Limits
from core.media.convert import open_medium
from core.media.medium import ClipLimits
from core.options import OutputOptions
from core.sandbox.decoder import InProcessDecoder
from tests.support.animations import BLACK, WHITE, apng, control, frame, gif, image
from tests.support.stand_ins import noise, repeat

LIMITS = ClipLimits(Limits(10_000, 1000, 100), max_seconds=60)


@pytest.fixture
def opened(tmp_path):
    """Open bytes as a medium, from a file whose name says nothing."""

    def opened(data, **options):
        path = tmp_path / "file"
        path.write_bytes(data)
        return open_medium(
            path, LIMITS, OutputOptions(**options), decoder=InProcessDecoder(), scale=4
        )

    return opened


def blinking(frames=3):
    pixels = [[[BLACK] * 8] * 6, [[WHITE] * 8] * 6]
    blocks = [part for n in range(frames) for part in (control(7), image(pixels[n % 2]))]
    return gif(*blocks, size=(6, 8))


def video_bytes(tmp_path):
    path = tmp_path / "made.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for seed in range(3):
            shown = av.VideoFrame.from_ndarray(noise(16, 32, seed=seed), "rgb24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return path.read_bytes()


def archive_bytes(tmp_path, encode):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encode(noise(4, 5)))
    return path.read_bytes()


def test_the_content_decides_the_kind_of_medium(opened, encode, tmp_path):
    assert opened(video_bytes(tmp_path)).kind == "video"
    assert opened(blinking()).kind == "animation"
    frames = [frame(np.full((4, 4, 4), level, np.uint8)) for level in (0, 255)]
    assert opened(apng(*frames, size=(4, 4))).kind == "animation"
    assert opened(encode(noise(4, 5))).kind == "pictures"
    assert opened(archive_bytes(tmp_path, encode)).suffix == ".zip"


def test_an_unknown_kind_of_file_is_refused(opened):
    with pytest.raises((UnreadableImage, UnsupportedImage), match="Image must be"):
        opened(b"#EXTM3U\n/etc/passwd\n")


def test_a_gif_of_one_frame_can_become_a_picture_or_stay_a_gif(opened):
    assert opened(blinking(1)).suffix == ".gif"
    assert opened(blinking(1), format="png").kind == "pictures"


def test_a_still_format_holds_the_first_frame_and_the_damage_says_so(opened):
    first = opened(blinking(3), format="png")
    assert (first.kind, first.suffix) == ("pictures", ".png")
    assert first.damage == "The result is of the first frame; 2 more are not in it."
    assert opened(blinking(1), format="png").damage is None
    assert opened(blinking(3), format="webp").kind == "animation"
    assert opened(blinking(1), format="webp").kind == "pictures"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"format": "mp4", "palette": "global"},
            "`palette` must be left out, for an animation",
        ),
        ({"codec": "h264"}, "`codec` must be left out, for an animation that becomes GIF"),
        ({"format": "webm", "codec": "h264"}, "`codec` of WebM must be one of vp9, av1"),
        ({"keeps_metadata": True}, "`metadata` must be left out"),
    ],
)
def test_options_that_an_animation_does_not_have_are_refused(opened, options, message, tmp_path):
    with pytest.raises(InvalidOptions, match=message):
        upscaled(opened(blinking(), **options), tmp_path)


def test_a_video_has_no_palette(opened, tmp_path):
    with pytest.raises(InvalidOptions, match="`dither` must be left out, for videos"):
        opened(video_bytes(tmp_path), is_dithered=False)


def upscaled(medium, tmp_path):
    """Upscale a medium by repeating pixels and return the path of the result."""
    parts = []
    for segment in medium.segments():
        parts.append(tmp_path / f"part{segment.index}")
        medium.render(segment, enlarge, parts[-1], lambda _done: None)
    target = tmp_path / f"result{medium.suffix}"
    medium.join(parts, target)
    return target


def enlarge(picture):
    return type(picture)(repeat(picture.pixels), None, picture.is_grey)


@pytest.mark.parametrize("kind", ["mp4", "webm", "mkv"])
def test_an_animation_becomes_a_video(opened, tmp_path, kind):
    target = upscaled(opened(blinking(5), format=kind, is_coherent=False), tmp_path)
    with av.open(target) as container:
        frames = list(container.decode(video=0))
    assert [(shown.width, shown.height) for shown in frames] == [(32, 24)] * 5
    assert [round(shown.time, 3) for shown in frames] == [0.0, 0.07, 0.14, 0.21, 0.28]
    levels = [shown.to_ndarray(format="rgb24").mean() for shown in frames]
    assert np.round(levels, -1).tolist() == [0, 260, 0, 260, 0]


def test_frames_without_a_duration_get_one_in_a_video(opened, tmp_path):
    pixels = [[[BLACK] * 8] * 6, [[WHITE] * 8] * 6]
    still = gif(b"", control(0), image(pixels[0]), control(0), image(pixels[1]), size=(6, 8))
    target = upscaled(opened(still.replace(b"GIF89a", b"GIF87a"), format="mp4"), tmp_path)
    with av.open(target) as container:
        assert [round(shown.time, 3) for shown in container.decode(video=0)] == [0.0, 0.1]


def test_frames_that_can_no_longer_be_decoded_are_left_out(opened, tmp_path):
    """A file that was truncated after it was opened acts like a decoder that dies."""
    medium = opened(blinking(6), is_coherent=False)
    path = tmp_path / "file"
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with Image.open(upscaled(medium, tmp_path)) as result:
        assert 1 <= result.n_frames < 6
    assert medium.damage.startswith("Only")
    with pytest.raises(UnreadableClip, match="a frame that can be drawn"):
        medium.join([], tmp_path / "result.gif")
