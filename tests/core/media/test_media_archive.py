import io
import json
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from core.animation import read_animation
from core.errors import InvalidOptions, RequestAbandoned, TooMuchMemory, UnreadableArchive
from core.images import Limits, decode_image
from core.media.archive_writer import REPORT, result_names
from core.media.convert import open_medium
from core.media.medium import ClipLimits, clip_strength
from core.media.render import ClipUpscaler
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.sandbox.decoder import InProcessDecoder
from tests.support.animations import BLACK, WHITE, control, gif, image
from tests.support.clip_files import scenes, write_clip
from tests.support.media_files import archive
from tests.support.picture_files import encoded
from tests.support.stand_ins import make_card, noise, repeat

LIMITS = ClipLimits(Limits(max_pixels=2000, max_side=100, max_frames=200), max_seconds=60)
UPSCALER = Upscaler(make_card(), repeat, window=16)


@pytest.fixture
def open_bytes(tmp_path):
    def open_bytes(content, limits=LIMITS, **options):
        path = tmp_path / "source"
        path.write_bytes(content)
        decoder = InProcessDecoder()
        return open_medium(path, limits, OutputOptions(**options), decoder=decoder, scale=4)

    return open_bytes


@pytest.fixture
def compute(tmp_path):
    """Upscale a whole medium as a job does, and return the files of the result."""

    def compute(medium, upscale=UPSCALER.upscale):
        parts, done = [], 0
        for segment in medium.segments():
            reported = []
            parts.append(tmp_path / f"part-{segment.index}")
            medium.render(segment, upscale, parts[-1], reported.append)
            assert reported[-1] == segment.frames
            done += segment.frames
        assert done == medium.frames
        medium.join(parts, tmp_path / "result")
        files = {"source", "result", *(part.name for part in parts)}
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == files
        return unzipped((tmp_path / "result").read_bytes())

    return compute


def unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        assert made.testzip() is None
        return {name: made.read(name) for name in made.namelist()}


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def listed(made, title):
    return {item["file"]: item["reason"] for item in json.loads(made[REPORT])[title]}


def blinking(frames=3, trailer=b"\x3b"):
    levels = [[[BLACK] * 8] * 6, [[WHITE] * 8] * 6]
    blocks = [part for n in range(frames) for part in (control(7), image(levels[n % 2]))]
    return gif(*blocks, size=(6, 8), trailer=trailer)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The bytes of a video of 100 frames, in two segments, with sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, scenes(100, 16, 32), sounds=[("aac", "eng")], gop_size=20)
    return path.read_bytes()


def test_pictures_keep_their_names_except_the_suffix(open_bytes, compute):
    first, second = noise(5, 9), noise(30, 20)
    medium = open_bytes(
        archive({"b/1.bmp": encoded(first, "BMP"), "a.jpg": encoded(second, "PNG")})
    )
    assert (medium.kind, medium.suffix, medium.mimetype) == ("pictures", ".zip", "application/zip")
    assert (medium.frames, medium.height, medium.width) == (2, 30, 20)
    made = compute(medium)
    assert list(made) == ["b/1.png", "a.png"]
    np.testing.assert_array_equal(pixels(made["b/1.png"]), repeat(first))
    np.testing.assert_array_equal(pixels(made["a.png"]), repeat(second))


def test_animations_and_videos_stay_what_they_are(open_bytes, compute, clip):
    picture = noise(5, 9)
    files = {"a.gif": blinking(), "b/c.mov": clip, "d.png": encoded(picture)}
    medium = open_bytes(archive(files))
    assert medium.frames == 3 + 100 + 1
    assert [(each.frames, each.is_clip) for each in medium.segments()] == [
        (3, True),
        (96, True),
        (4, True),
        (1, False),
    ]
    made = compute(medium)
    assert list(made) == ["a.gif", "b/c.mp4", "d.png"]
    assert medium.damage is None
    animation = read_animation(io.BytesIO(made["a.gif"]))
    assert (animation.durations, animation.height, animation.width) == ((7, 7, 7), 24, 32)
    np.testing.assert_array_equal(pixels(made["d.png"]), repeat(picture))
    with av.open(io.BytesIO(made["b/c.mp4"])) as video:
        assert [stream.type for stream in video.streams] == ["video", "audio"]
        assert sum(1 for _ in video.decode(video=0)) == 100


def test_a_clip_in_an_archive_equals_one_alone(open_bytes, compute, clip, tmp_path):
    made = compute(open_bytes(archive({"a.mp4": clip})))
    alone = open_bytes(clip)
    parts = [tmp_path / f"alone-{segment.index}" for segment in alone.segments()]
    for segment, part in zip(alone.segments(), parts, strict=True):
        alone.render(segment, UPSCALER.upscale, part, lambda _: None)
    alone.join(parts, tmp_path / "alone")
    assert made["a.mp4"] == (tmp_path / "alone").read_bytes()


def test_each_clip_has_a_strength_of_its_own(open_bytes):
    dark, bright = (
        gif(control(7), image(rows), control(7), image(rows), size=(6, 8))
        for rows in ([[[BLACK] * 8] * 6, [[WHITE] * 8] * 6])
    )
    medium = open_bytes(archive({"a.gif": dark, "b.png": encoded(noise(5, 9)), "c.gif": bright}))
    judge = lambda picture: float(picture.pixels.mean())  # noqa: E731
    strengths = [clip_strength(medium, judge, segment) for segment in medium.segments()]
    assert strengths == [0.0, None, 255.0]
    assert clip_strength(medium, judge) is None


def test_options_apply_to_the_files_that_have_them(open_bytes, compute, clip):
    files = {"a.gif": blinking(), "b.mp4": clip, "c.png": encoded(noise(5, 9))}
    made = compute(open_bytes(archive(files), format="jpeg", palette="global", codec="hevc"))
    assert list(made) == ["a.gif", "b.mp4", "c.jpeg"]
    with av.open(io.BytesIO(made["b.mp4"])) as video:
        assert video.streams.video[0].codec_context.name == "hevc"
    assert list(compute(open_bytes(archive(files), format="webp"))) == ["a.webp", "b.mp4", "c.webp"]


@pytest.mark.parametrize("options", [{"codec": "h264"}, {"format": "gif"}, {"palette": "global"}])
def test_options_that_no_file_has_are_refused(open_bytes, options):
    (name,) = options
    with pytest.raises(InvalidOptions, match=f"`{name}` must be left out, for an archive without"):
        open_bytes(archive({"a.png": encoded(noise(5, 9))}), **options)


def test_the_same_archive_gives_the_same_bytes(open_bytes, compute, tmp_path):
    content = archive({f"{n}.png": encoded(noise(5, 9, seed=n)) for n in range(3)})
    compute(open_bytes(content))
    first = (tmp_path / "result").read_bytes()
    compute(open_bytes(content))
    assert (tmp_path / "result").read_bytes() == first


def test_other_and_damaged_files_are_left_out_and_reported(open_bytes, compute, clip):
    good = encoded(noise(5, 9))
    files = {
        "notes.txt": b"some notes",
        "good.png": good,
        "nested.zip": archive({"a.png": good}),
        "large.png": encoded(noise(50, 50)),
        "damaged.png": encoded(noise(30, 40))[:-30],
        "damaged.mp4": clip[:2000],
    }
    medium = open_bytes(archive(files))
    assert medium.frames == 2
    assert medium.damage == ("4 files are left out: report.json in the result says which, and why.")
    made = compute(medium)
    assert medium.damage.startswith("5 files are left out:")
    assert list(made) == ["good.png", REPORT]
    left_out = listed(made, "left_out")
    assert list(left_out) == ["notes.txt", "nested.zip", "large.png", "damaged.mp4", "damaged.png"]
    assert "at most 2000 pixels" in left_out["large.png"]
    assert "Image must be a PNG" in left_out["notes.txt"]
    assert "whole, undamaged" in left_out["damaged.png"]
    assert listed(made, "incomplete") == {}


def test_incomplete_results_are_reported(open_bytes, compute):
    pages = encoded(
        Image.new("L", (9, 5)), "TIFF", save_all=True, append_images=[Image.new("L", (9, 5))]
    )
    medium = open_bytes(archive({"cut.gif": blinking(trailer=b""), "pages.tif": pages}))
    assert medium.damage.startswith("2 files are incomplete:")
    made = compute(medium)
    assert listed(made, "incomplete") == {
        "cut.gif": "The file ends too early.",
        "pages.tif": "The result is of the first frame; 1 more are not in it.",
    }
    assert medium.damage.startswith("2 files are incomplete:")


def test_damaged_pictures_alone_fail(open_bytes, compute):
    damaged = encoded(noise(30, 40))[:-30]
    medium = open_bytes(archive({"a.png": damaged, "b.txt": b"x"}))
    with pytest.raises(UnreadableArchive, match="Received: 2 other or damaged files. Of the first"):
        compute(medium)


def test_an_archive_of_neither_pictures_nor_clips_is_refused(open_bytes):
    with pytest.raises(UnreadableArchive, match="at least one picture or clip. Received: 0 other"):
        open_bytes(archive({}))
    with pytest.raises(UnreadableArchive, match="Received: 1 other .* Of the first: Image"):
        open_bytes(archive({"a.txt": b"x"}))


def test_too_many_frames_are_refused(open_bytes, monkeypatch):
    content = archive({f"{n}.gif": blinking(90) for n in range(3)})
    with pytest.raises(UnreadableArchive, match="200 pictures and frames of clips. Received: more"):
        open_bytes(content)
    monkeypatch.setattr("core.media.media_archive.MAX_CLIPS", 1)
    with pytest.raises(UnreadableArchive, match="at most 1 clips"):
        open_bytes(content)


def test_a_picture_that_cannot_get_the_size_is_left_out(open_bytes, compute):
    files = {"a.png": encoded(noise(10, 10)), "b.png": encoded(noise(10, 40))}
    medium = open_bytes(archive(files), width=30)
    made = compute(medium, ClipUpscaler(UPSCALER, OutputOptions(width=30), 0.0))
    assert decode_image(made["a.png"]).pixels.shape == (30, 30, 3)
    assert "width=30, a factor of 0.75" in listed(made, "left_out")["b.png"]


def test_a_file_that_takes_too_much_memory_is_left_out(open_bytes, compute, clip):
    def upscale(lr):
        if lr.height > 10:
            raise TooMuchMemory("Too much.")
        return UPSCALER.upscale(lr)

    files = {"l.png": encoded(noise(20, 9)), "s.png": encoded(noise(5, 9)), "l.mp4": clip}
    made = compute(open_bytes(archive(files)), upscale)
    assert list(made) == ["s.png", REPORT]
    assert listed(made, "left_out") == {"l.png": "Too much.", "l.mp4": "Too much."}


def test_memory_is_reserved_for_each_picture_before_it_is_decoded(open_bytes, compute):
    class Reserving:
        headers = []

        def reserve(self, header):
            self.headers.append((header.height, header.width, header.decoder_bytes > 0))
            if header.width == 13:
                raise TooMuchMemory("Image must fit. Received: one that does not.")

        def write(self, lr, output):
            output.write(b"SR of %d rows" % lr.height)

    files = {"a.png": encoded(noise(10, 12)), "b.png": encoded(noise(11, 13))}
    made = compute(open_bytes(archive(files)), Reserving())
    assert Reserving.headers == [(10, 12, True), (11, 13, True)]
    assert made["a.png"] == b"SR of 10 rows"
    assert list(listed(made, "left_out")) == ["b.png"]


def test_errors_that_end_the_work_are_passed_on(open_bytes, compute):
    def upscale(_lr):
        raise RequestAbandoned

    with pytest.raises(RequestAbandoned):
        compute(open_bytes(archive({"a.png": encoded(noise(5, 9))})), upscale)


def test_results_have_the_dates_of_their_sources(open_bytes, compute, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(zipfile.ZipInfo("a.png", (2021, 3, 4, 5, 6, 8)), encoded(noise(5, 9)))
    compute(open_bytes(file.getvalue()))
    with zipfile.ZipFile(tmp_path / "result") as result:
        assert result.getinfo("a.png").date_time == (2021, 3, 4, 5, 6, 8)


def test_results_never_share_a_name():
    names = ["2.gif", "2.jpg", "2.gif.gif", "A.png", "a.PNG", "e\u0301.png", "\u00e9.png"]
    results = result_names([(name, ".png") for name in names])
    assert results == [
        "2_2.png",
        "2.jpg.png",
        "2.gif.png",
        "A.png",
        "a_2.png",
        "e\u0301.png",
        "\u00e9_2.png",
    ]


def test_no_result_has_the_name_of_a_folder():
    files = [("a.jpg", ".png"), ("A.png/b.jpg", ".png"), ("A.png/b.png/c.jpg", ".png")]
    assert result_names(files) == ["a.jpg.png", "A.png/b.jpg.png", "A.png/b.png/c.png"]


def test_results_of_different_kinds_keep_their_names():
    files = [("a.gif", ".gif"), ("a.jpg", ".png"), ("a.mov", ".mp4"), ("b/a.gif", ".gif")]
    assert result_names(files) == ["a.gif", "a.png", "a.mp4", "b/a.gif"]
