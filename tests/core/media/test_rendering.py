import io

import numpy as np
import pytest
from PIL import Image

from core.errors import DeadlineExceeded, ImageTooLarge, InvalidDetail
from core.images import OUTPUT_FORMATS
from core.media.render import IDENTICAL_DB, PictureAnswer, PictureOptions
from core.model.upscaler import Upscaler
from core.picture import Extras, Picture
from core.runtime.scheduler import RequestDeadline
from tests.support.stand_ins import make_card, noise, repeat

SYNTHETIC = "algorithmicallyEnhanced"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="here"/></rdf:RDF></x:xmpmeta>'
)


@pytest.fixture
def upscaler():
    return Upscaler(make_card(), repeat, window=16)


@pytest.fixture
def render(upscaler):
    """Render a picture and open the file."""

    def render(lr, **wish):
        rendering = PictureAnswer(upscaler, lr, PictureOptions(**wish))
        image = Image.open(io.BytesIO(b"".join(rendering.parts())))
        image.load()
        return image

    return render


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x + 40, 2 * y + 90, x + y], axis=2).astype(np.uint8)


def with_alpha(lr):
    alpha = np.full(lr.shape[:2], 255, np.uint8)
    alpha[:, : lr.shape[1] // 2] = 0
    return Picture(lr, alpha)


@pytest.mark.parametrize("lr", [Picture(noise(37, 21)), with_alpha(noise(37, 21))])
def test_a_png_holds_the_upscaled_pixels(upscaler, render, lr):
    sr = upscaler.upscale(lr)
    expected = sr.pixels if sr.alpha is None else np.dstack([sr.pixels, sr.alpha])
    np.testing.assert_array_equal(np.asarray(render(lr)), expected)


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_every_format_shows_the_same_picture(render, name):
    lr = smooth(24, 32)
    image = render(Picture(lr), format=name, quality=None if name == "png" else 95)
    assert image.format == name.upper()
    difference = np.asarray(image.convert("RGB")).astype(int) - repeat(lr)
    assert np.abs(difference).mean() < 2


def test_quality_is_obeyed(upscaler):
    lr = Picture(noise(20, 20))
    low, high = (
        len(b"".join(PictureAnswer(upscaler, lr, PictureOptions(format="jpeg", quality=q)).parts()))
        for q in (10, 95)
    )
    assert low < high / 2


def test_transparency_becomes_white_where_a_format_has_none(render):
    image = render(with_alpha(smooth(16, 16)), format="jpeg", quality=95)
    assert image.mode == "RGB"
    assert np.asarray(image)[:, :24].min() > 250


def test_the_print_size_stays(render):
    image = render(Picture(smooth(8, 8), extras=Extras(dpi=(72.0, 36.0))))
    assert image.info["dpi"] == pytest.approx((288, 144), abs=0.1)


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_a_file_says_that_its_detail_is_synthetic(upscaler, name):
    def file(**wish):
        return b"".join(
            PictureAnswer(upscaler, Picture(smooth(8, 8)), PictureOptions(name, **wish)).parts()
        )

    assert SYNTHETIC.encode() in file()
    assert SYNTHETIC.encode() not in file(has_note=False)


def test_metadata_goes_with_the_picture_if_that_is_wished(render):
    lr = Picture(smooth(8, 8), extras=Extras(xmp=XMP))
    dropped, kept = render(lr), render(lr, keeps_metadata=True)
    assert "here" not in dropped.info["XML:com.adobe.xmp"]
    assert "here" in kept.info["XML:com.adobe.xmp"]
    assert SYNTHETIC in kept.info["XML:com.adobe.xmp"]
    assert "here" in render(lr, keeps_metadata=True, has_note=False).info["XML:com.adobe.xmp"]


def test_a_png_tells_how_consistent_it_is(upscaler, render):
    rendering = PictureAnswer(upscaler, Picture(smooth(40, 8)), PictureOptions())
    b"".join(rendering.parts())
    assert rendering.consistency.psnr_db == IDENTICAL_DB
    assert render(Picture(smooth(40, 8))).info["Consistency-PSNR"] == "100.00 dB"
    assert "Consistency-PSNR" not in render(Picture(smooth(40, 8)), has_note=False).info


def test_what_a_format_cannot_hold_is_told_before_anything_is_made(upscaler):
    with pytest.raises(ImageTooLarge, match="16383"):
        PictureAnswer(upscaler, Picture(noise(1, 4096)), PictureOptions(format="webp"))


def test_a_wrong_detail_is_told_before_anything_is_made(upscaler):
    with pytest.raises(InvalidDetail):
        PictureAnswer(upscaler, Picture(noise(2, 2)), PictureOptions(detail=2.0))


def test_a_deadline_is_kept(upscaler):
    rendering = PictureAnswer(
        upscaler, Picture(noise(40, 40)), PictureOptions(), patience=RequestDeadline(at_s=0.0)
    )
    with pytest.raises(DeadlineExceeded):
        b"".join(rendering.parts())


def test_whoever_stops_reading_stops_the_network(upscaler):
    parts = PictureAnswer(upscaler, Picture(noise(400, 16)), PictureOptions()).parts()
    for _ in range(2):
        next(parts)
    parts.close()
    assert upscaler.scheduler.backlog_s == 0
