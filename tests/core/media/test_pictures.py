import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core.errors import (
    ImageTooLarge,
    InvalidOptions,
    RequestAbandoned,
    TooMuchMemory,
    UnreadableArchive,
    UnreadableImage,
)
from core.images import Limits, decode_image
from core.media.medium import ClipLimits
from core.media.pictures import REPORT, open_pictures, result_names
from core.media.render import ClipUpscaler, upscale_to_stream
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.sandbox.decoder import InProcessDecoder
from tests.support.media_files import archive
from tests.support.picture_files import encoded
from tests.support.stand_ins import make_card, noise, repeat

LIMITS = ClipLimits(Limits(max_pixels=2000, max_side=100, max_frames=10), max_seconds=1)
UPSCALER = Upscaler(make_card(), repeat, window=16)


@pytest.fixture
def open_bytes(tmp_path):
    def open_bytes(content, **options):
        path = tmp_path / "source"
        path.write_bytes(content)
        return open_pictures(
            path, LIMITS, OutputOptions(**options), decoder=InProcessDecoder(), scale=4
        )

    return open_bytes


@pytest.fixture
def compute(tmp_path):
    """Upscale a whole medium as a job does, and return the bytes of the result."""

    def compute(medium, upscale=UPSCALER.upscale):
        parts, reported = [], []
        for segment in medium.segments():
            parts.append(tmp_path / f"part-{segment.index}")
            medium.render(segment, upscale, parts[-1], reported.append)
        assert reported == [1] * medium.frames
        medium.join(parts, tmp_path / "result")
        return (tmp_path / "result").read_bytes()

    return compute


def test_a_picture_gets_the_size_that_is_asked_for(open_bytes, compute):
    options = {"width": 30, "height": 30, "fit": "cover"}
    medium = open_bytes(encoded(noise(12, 15)), **options)
    upscale = ClipUpscaler(UPSCALER, OutputOptions(**options), 0.0)
    content = compute(medium, upscale)
    assert decode_image(content).pixels.shape == (30, 30, 3)
    lr = decode_image(encoded(noise(12, 15)))
    alone = upscale_to_stream(UPSCALER, lr, OutputOptions(**options))
    assert content == b"".join(alone)


def test_a_picture_that_cannot_get_the_size_is_left_out_of_an_archive(open_bytes, compute):
    files = {"a.png": encoded(noise(10, 10)), "b.png": encoded(noise(10, 40))}
    medium = open_bytes(archive(files), width=30)
    result = unzipped(compute(medium, ClipUpscaler(UPSCALER, OutputOptions(width=30), 0.0)))
    assert decode_image(result["a.png"]).pixels.shape == (30, 30, 3)
    (left_out,) = json.loads(result[REPORT])["left_out"]
    assert left_out["file"] == "b.png"
    assert "width=30, a factor of 0.75" in left_out["reason"]


def test_the_limit_on_the_result_is_checked_when_a_file_is_opened(open_bytes, monkeypatch):
    limits = replace(LIMITS, frame=replace(LIMITS.frame, max_output_pixels=1599))
    monkeypatch.setattr("tests.core.media.test_pictures.LIMITS", limits)
    with pytest.raises(ImageTooLarge, match="at most 1599 pixels. Received: .* 40 x 40"):
        open_bytes(encoded(noise(10, 10)))
    open_bytes(encoded(noise(10, 10)), scale=3.9)


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
    result = unzipped(compute(open_bytes(archive(files)), Reserving()))
    assert Reserving.headers == [(10, 12, True), (11, 13, True)]
    assert result["a.png"] == b"SR of 10 rows"
    assert json.loads(result[REPORT])["left_out"][0]["file"] == "b.png"


def test_pictures_have_limits_of_their_own(open_bytes, monkeypatch):
    limits = replace(LIMITS, frame=Limits(99, 100, 10), picture=Limits(100, 100, 10))
    monkeypatch.setattr("tests.core.media.test_pictures.LIMITS", limits)
    assert open_bytes(encoded(noise(10, 10))).frames == 1
    with pytest.raises(ImageTooLarge, match="at most 100 pixels"):
        open_bytes(encoded(noise(10, 11)))


def unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        assert made.testzip() is None
        return {name: made.read(name) for name in made.namelist()}


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def response_bytes(content, **options):
    """Return the response to a request for this picture."""
    return b"".join(upscale_to_stream(UPSCALER, decode_image(content), OutputOptions(**options)))


def assert_same(content, other):
    """Compare pixels and metadata. The bytes differ, since rows are compressed in other blocks."""
    image, same = (Image.open(io.BytesIO(data)) for data in (content, other))
    assert (image.mode, image.info) == (same.mode, same.info)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(same))


def test_a_job_makes_the_same_picture_as_a_request(open_bytes, compute):
    content = encoded(noise(21, 34))
    medium = open_bytes(content)
    assert (medium.kind, medium.frames, medium.damage) == ("pictures", 1, None)
    assert (medium.height, medium.width) == (21, 34)
    assert (medium.suffix, medium.mimetype) == (".png", "image/png")
    assert_same(compute(medium), response_bytes(content))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16"])
def test_grey_alpha_and_16_bits_are_kept(open_bytes, compute, mode):
    image = Image.fromarray(noise(9, 7)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(noise(9, 7)[..., 0]))
    content = encoded(image)
    assert_same(compute(open_bytes(content)), response_bytes(content))


def test_a_picture_has_the_format_and_quality_asked_for(open_bytes, compute):
    content = encoded(noise(21, 34))
    medium = open_bytes(content, format="webp", quality=50)
    assert (medium.suffix, medium.mimetype) == (".webp", "image/webp")
    assert compute(medium) == response_bytes(content, format="webp", quality=50)


def test_the_pictures_of_an_archive_keep_their_names_except_the_suffix(open_bytes, compute):
    first, second = noise(5, 9), noise(30, 20)
    medium = open_bytes(
        archive({"b/1.bmp": encoded(first, "BMP"), "a.jpg": encoded(second, "PNG")})
    )
    assert (medium.suffix, medium.mimetype) == (".zip", "application/zip")
    assert (medium.frames, medium.height, medium.width) == (2, 30, 20)
    made = unzipped(compute(medium))
    assert list(made) == ["b/1.png", "a.png"]
    np.testing.assert_array_equal(pixels(made["b/1.png"]), repeat(first))
    np.testing.assert_array_equal(pixels(made["a.png"]), repeat(second))


def test_the_same_archive_gives_the_same_bytes(open_bytes, compute):
    content = archive({f"{n}.png": encoded(noise(5, 9, seed=n)) for n in range(3)})
    assert compute(open_bytes(content)) == compute(open_bytes(content))


def test_files_that_are_no_pictures_are_left_out_and_reported(open_bytes, compute):
    good, damaged = encoded(noise(5, 9)), encoded(noise(30, 40))[:-30]
    files = {
        "notes.txt": b"some notes",
        "good.png": good,
        "nested.zip": archive({"a.png": good}),
        "large.png": encoded(noise(50, 50)),
        "damaged.png": damaged,
    }
    medium = open_bytes(archive(files))
    assert medium.frames == 2
    assert medium.damage == (
        "3 files are no pictures that can be read: report.json in the result says which, and why."
    )
    made = unzipped(compute(medium))
    assert list(made) == ["good.png", REPORT]
    left_out = {item["file"]: item["reason"] for item in json.loads(made[REPORT])["left_out"]}
    assert list(left_out) == ["notes.txt", "nested.zip", "large.png", "damaged.png"]
    assert "at most 2000 pixels" in left_out["large.png"]
    assert "Image must be a PNG" in left_out["notes.txt"]
    assert "whole, undamaged" in left_out["damaged.png"]


def test_the_damage_is_in_the_singular_for_one_file(open_bytes):
    medium = open_bytes(archive({"notes.txt": b"x", "good.png": encoded(noise(5, 9))}))
    assert medium.damage.startswith("1 file is no picture ")


def test_an_archive_without_pictures_is_refused(open_bytes):
    with pytest.raises(UnreadableArchive, match="at least one picture. Received: 0 other files"):
        open_bytes(archive({}))
    with pytest.raises(UnreadableArchive, match="Received: 1 other files. Of the first: Image"):
        open_bytes(archive({"a.txt": b"x"}))


def test_a_picture_that_takes_too_much_memory_is_left_out(open_bytes, compute):
    def upscale(lr):
        if lr.height > 10:
            raise TooMuchMemory("Too much.")
        return UPSCALER.upscale(lr)

    small, large = encoded(noise(5, 9)), encoded(noise(20, 9))
    made = unzipped(compute(open_bytes(archive({"l.png": large, "s.png": small})), upscale))
    assert list(made) == ["s.png", REPORT]
    assert b"Too much." in made[REPORT]


def test_errors_that_end_the_work_are_passed_on(open_bytes, compute):
    def upscale(_lr):
        raise RequestAbandoned

    with pytest.raises(RequestAbandoned):
        compute(open_bytes(archive({"a.png": encoded(noise(5, 9))})), upscale)


def test_a_file_that_is_no_picture_is_refused(open_bytes):
    with pytest.raises(UnreadableImage):
        open_bytes(b"just some text")
    with pytest.raises(ImageTooLarge):
        open_bytes(encoded(noise(50, 50)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "mp4"}, "`format` must be one of png, jpeg, webp, avif, for pictures"),
        ({"codec": "h264"}, "`codec` must be left out"),
        ({"palette": "global"}, "`palette` must be left out"),
        ({"is_dithered": False}, "`dither` must be left out"),
    ],
)
def test_options_of_clips_are_refused(open_bytes, options, message):
    with pytest.raises(InvalidOptions, match=message):
        open_bytes(encoded(noise(5, 9)), **options)


def test_results_never_share_a_name():
    names = ["2.gif", "2.jpg", "2.gif.gif", "A.png", "a.PNG"]
    results = result_names(names, ".png")
    assert len({name.casefold() for name in results}) == len(names)
    assert results[2] == "2.gif.png"
