import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core.errors import ImageTooLarge, InvalidOptions, UnreadableImage
from core.images import Limits, decode_image
from core.media.medium import ClipLimits
from core.media.pictures import open_picture
from core.media.render import ClipUpscaler, upscale_to_stream
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.sandbox.decoder import InProcessDecoder
from tests.support.picture_files import encoded
from tests.support.stand_ins import make_card, noise, repeat

LIMITS = ClipLimits(Limits(max_pixels=2000, max_side=100, max_frames=10), max_seconds=1)
UPSCALER = Upscaler(make_card(), repeat, window=16)


@pytest.fixture
def open_bytes(tmp_path):
    def open_bytes(content, **options):
        path = tmp_path / "source"
        path.write_bytes(content)
        return open_picture(
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


def test_the_limit_on_the_result_is_checked_when_a_file_is_opened(open_bytes, monkeypatch):
    limits = replace(LIMITS, frame=replace(LIMITS.frame, max_output_pixels=1599))
    monkeypatch.setattr("tests.core.media.test_pictures.LIMITS", limits)
    with pytest.raises(ImageTooLarge, match="at most 1599 pixels. Received: .* 40 x 40"):
        open_bytes(encoded(noise(10, 10)))
    open_bytes(encoded(noise(10, 10)), scale=3.9)


def test_pictures_have_limits_of_their_own(open_bytes, monkeypatch):
    limits = replace(LIMITS, frame=Limits(99, 100, 10), picture=Limits(100, 100, 10))
    monkeypatch.setattr("tests.core.media.test_pictures.LIMITS", limits)
    assert open_bytes(encoded(noise(10, 10))).frames == 1
    with pytest.raises(ImageTooLarge, match="at most 100 pixels"):
        open_bytes(encoded(noise(10, 11)))


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
