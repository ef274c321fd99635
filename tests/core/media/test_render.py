import io

import numpy as np
import pytest
from PIL import Image

from core.errors import DeadlineExceeded, ImageTooLarge, InvalidDetail
from core.images import OUTPUT_FORMATS
from core.media.render import (
    IDENTICAL_DB,
    Consistency,
    PictureEncoder,
    downscale,
    upscale_to_stream,
)
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.picture import Extras, Picture
from core.runtime.tile_tasks import RequestDeadline
from tests.support.scaling_attacks import small_attack
from tests.support.stand_ins import (
    lighten,
    make_card,
    make_restorer,
    noise,
    plain_grid,
    repeat,
)

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
    """Upscale a picture, encode it and open the file."""

    def render(lr, **options):
        file = b"".join(upscale_to_stream(upscaler, lr, OutputOptions(**options)))
        image = Image.open(io.BytesIO(file))
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
        len(b"".join(upscale_to_stream(upscaler, lr, OutputOptions(format="jpeg", quality=q))))
        for q in (10, 95)
    )
    assert low < high / 2


def test_transparency_becomes_white_in_a_format_without_alpha(render):
    image = render(with_alpha(smooth(16, 16)), format="jpeg", quality=95)
    assert image.mode == "RGB"
    assert np.asarray(image)[:, :24].min() > 250


def test_the_print_size_is_kept(render):
    image = render(Picture(smooth(8, 8), extras=Extras(dpi=(72.0, 36.0))))
    assert image.info["dpi"] == pytest.approx((288, 144), abs=0.1)


def test_the_print_size_is_kept_at_every_size(render):
    lr = Picture(smooth(8, 10), extras=Extras(dpi=(72.0, 36.0)))
    for options in ({"scale": 1}, {"scale": 2.5}, {"width": 100}):
        image = render(lr, **options)
        inches = np.divide(image.size, image.info["dpi"])
        assert inches == pytest.approx((10 / 72, 8 / 36), abs=1e-3)


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_a_file_says_that_its_detail_is_synthetic(upscaler, name):
    def file(**options):
        lr = Picture(smooth(8, 8))
        return b"".join(upscale_to_stream(upscaler, lr, OutputOptions(name, **options)))

    assert SYNTHETIC.encode() in file()
    assert SYNTHETIC.encode() not in file(has_note=False)


def test_metadata_is_kept_only_if_asked_for(render):
    lr = Picture(smooth(8, 8), extras=Extras(xmp=XMP))
    dropped, kept = render(lr), render(lr, keeps_metadata=True)
    assert "here" not in dropped.info["XML:com.adobe.xmp"]
    assert "here" in kept.info["XML:com.adobe.xmp"]
    assert SYNTHETIC in kept.info["XML:com.adobe.xmp"]
    assert "here" in render(lr, keeps_metadata=True, has_note=False).info["XML:com.adobe.xmp"]


def test_a_png_states_its_consistency(upscaler, render):
    lr = Picture(smooth(40, 8))
    encoder = PictureEncoder(lr, OutputOptions(), plain_grid(lr))
    assert encoder.encode(upscaler.strips(lr)).startswith(b"\x89PNG")
    assert encoder.consistency.psnr_db == IDENTICAL_DB
    assert render(lr).info["Consistency-PSNR"] == "100.00 dB"
    assert "Consistency-PSNR" not in render(lr, has_note=False).info


def test_a_png_says_that_the_picture_probably_hides_another_one(render):
    attack = Picture(small_attack(64, 96))
    assert render(attack).text["Scaling-Attack"] == "suspected"
    assert "Scaling-Attack" not in render(attack, has_note=False).text
    assert "Scaling-Attack" not in render(Picture(noise(64, 96))).text


def test_a_size_that_the_format_cannot_hold_is_refused_at_once(upscaler):
    with pytest.raises(ImageTooLarge, match="16383"):
        upscale_to_stream(upscaler, Picture(noise(1, 4096)), OutputOptions(format="webp"))


@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_a_wrong_detail_is_refused_at_the_first_part(upscaler, name):
    options = OutputOptions(name, detail=2.0)
    with pytest.raises(InvalidDetail):
        next(upscale_to_stream(upscaler, Picture(noise(2, 2)), options))


@pytest.fixture
def windows():
    """Heights of the windows that the network has seen."""
    return []


@pytest.fixture
def counting_upscaler(windows):
    return Upscaler(make_card(), lambda lr: windows.append(len(lr)) or repeat(lr), window=64)


@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_nothing_is_computed_before_the_first_part_is_asked_for(counting_upscaler, windows, name):
    parts = upscale_to_stream(counting_upscaler, Picture(noise(600, 40)), OutputOptions(name))
    assert windows == []
    next(parts)
    assert len(windows) > 0
    parts.close()


def test_the_first_part_of_a_png_holds_its_header_and_its_first_rows(counting_upscaler, windows):
    lr = Picture(noise(1200, 100))
    parts = upscale_to_stream(counting_upscaler, lr, OutputOptions())
    first = next(parts)
    assert first.startswith(b"\x89PNG") and b"IDAT" in first and b"IEND" not in first
    begun = len(windows)
    rest = b"".join(parts)
    assert 0 < begun < len(windows) / 2
    with Image.open(io.BytesIO(first + rest)) as image:
        np.testing.assert_array_equal(np.asarray(image), repeat(lr.pixels))


def test_a_deadline_is_kept(upscaler):
    lr = Picture(noise(40, 40))
    encoder = PictureEncoder(lr, OutputOptions(), plain_grid(lr))
    with pytest.raises(DeadlineExceeded):
        encoder.encode(upscaler.strips(lr, deadline=RequestDeadline(at_s=0.0)))


def test_closing_the_stream_stops_the_network(upscaler):
    parts = upscale_to_stream(upscaler, Picture(noise(400, 16)), OutputOptions())
    next(parts)
    parts.close()
    assert upscaler.scheduler.backlog_s == 0


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_every_block_becomes_its_mean(depth):
    sr = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (8, 12, 3), depth, endpoint=True)
    expected = [[sr[y : y + 4, x : x + 4].mean((0, 1)) for x in (0, 4, 8)] for y in (0, 4)]
    np.testing.assert_allclose(downscale(sr, 4), expected, rtol=1e-6)


def test_a_repeated_picture_is_fully_consistent():
    lr = Picture(noise(6, 5))
    consistency = Consistency(lr, plain_grid(lr))
    for strip in np.split(repeat(lr.pixels), [4, 12]):
        consistency.add(strip)
    assert consistency.psnr_db == IDENTICAL_DB


@pytest.mark.parametrize(("highest", "depth"), [(255, np.uint8), (65535, np.uint16)])
def test_a_shift_of_a_tenth_is_twenty_decibels(highest, depth):
    lr = Picture(np.zeros((6, 5, 3), depth))
    consistency = Consistency(lr, plain_grid(lr))
    consistency.add(np.full((24, 20, 3), round(highest / 10), depth))
    assert consistency.psnr_db == pytest.approx(20, abs=0.2)


@pytest.mark.parametrize(
    "wanted",
    [
        {"scale": 1},
        {"scale": 2},
        {"scale": 2.7},
        {"scale": 9},
        {"width": 50, "height": 90, "fit": "cover"},
    ],
)
def test_consistency_is_high_for_a_smooth_picture_of_any_size(upscaler, wanted):
    lr = Picture(smooth(24, 32))
    grid = upscaler.grid(OutputOptions(**wanted), 24, 32)
    shown = grid.crop(lr)
    consistency = Consistency(shown, grid)
    for _ in consistency.watch(upscaler.strips(shown, grid=grid)):
        assert consistency.psnr_db > 45
    shifted = Consistency(shown, grid)
    for strip in upscaler.strips(shown, grid=grid):
        shifted.add(np.roll(strip, 4, axis=1))
    assert shifted.psnr_db < 40


def test_a_restored_picture_of_any_size_is_compared_with_what_the_network_saw():
    restorer = make_restorer(lighten)
    upscaler = Upscaler(make_card(), repeat, window=16, restorer=restorer)
    for wanted in ({"scale": 1}, {"scale": 1.5}, {"scale": 2}, {"scale": 6}):
        lr = Picture(smooth(90, 40) // 3)
        grid = upscaler.grid(OutputOptions(**wanted), 90, 40)
        restoration = upscaler.restoration(lr, 1.0)
        consistency = Consistency(lr, grid, restoration)
        for _ in consistency.watch(upscaler.strips(lr, grid=grid, restoration=restoration)):
            pass
        assert consistency.psnr_db > 45


def test_grey_is_compared_with_grey():
    lr = Picture(np.repeat(noise(6, 5, 1), 3, axis=2), is_grey=True)
    consistency = Consistency(lr, plain_grid(lr))
    consistency.add(repeat(lr.pixels[..., :1]))
    assert consistency.psnr_db == IDENTICAL_DB


def test_fully_transparent_pixels_do_not_count():
    alpha = np.full((6, 5), 255, np.uint8)
    alpha[2:] = 0
    lr = Picture(noise(6, 5), alpha)
    sr = np.concatenate([repeat(lr.pixels), repeat(alpha[..., None])], axis=2)
    sr[8:, :, :3] = 0
    consistency = Consistency(lr, plain_grid(lr))
    consistency.add(sr)
    assert consistency.psnr_db == IDENTICAL_DB
    sr[0, 0, :3] ^= 255
    consistency = Consistency(lr, plain_grid(lr))
    consistency.add(sr)
    assert consistency.psnr_db < IDENTICAL_DB
