import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from core.errors import ImageTooLarge
from core.images import (
    OUTPUT_FORMATS,
    ImageOutput,
    check_output_size,
    decode_image,
    encode_jpeg,
    encode_picture,
    encode_png,
    encode_webp,
    mark_synthetic_detail,
)
from core.picture import Extras, Picture
from tests.support.picture_files import display_p3, grey_profile
from tests.support.stand_ins import noise

HEIGHT, WIDTH = 32, 48
ACROSS, DOWN = np.linspace(60, 200, WIDTH)[None], np.linspace(80, 180, HEIGHT)[:, None]
SMOOTH = np.dstack(np.broadcast_arrays(ACROSS, DOWN, np.float64(120))).astype(np.uint8)
GREY = np.repeat(SMOOTH[..., :1], 3, axis=2)
ALPHA = np.ascontiguousarray(SMOOTH[..., 1])
LOSSY = ["jpeg", "webp", "avif"]


def exif():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    return exif.tobytes().removeprefix(b"Exif\0\0")


EXTRAS = Extras(dpi=(300, 150), exif=exif(), xmp=mark_synthetic_detail(None))
PICTURES = {
    "colour": Picture(SMOOTH),
    "colour with alpha": Picture(SMOOTH, ALPHA),
    "grey": Picture(GREY, is_grey=True),
    "grey with alpha": Picture(GREY, ALPHA, is_grey=True),
}


def deep(picture):
    alpha = None if picture.alpha is None else picture.alpha.astype(np.uint16) * 257
    return Picture(picture.pixels.astype(np.uint16) * 257, alpha, picture.is_grey, picture.extras)


def opened(data):
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("bits", [8, 16])
def test_png_keeps_every_bit_of_every_kind_of_picture(name, bits):
    picture = PICTURES[name] if bits == 8 else deep(PICTURES[name])
    again = decode_image(encode_png(picture))
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert (again.is_grey, again.bits, again.channels) == (picture.is_grey, bits, picture.channels)
    if picture.alpha is not None:
        np.testing.assert_array_equal(again.alpha, picture.alpha)


def test_imagecodecs_reads_a_16_bit_png():
    levels = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
    np.testing.assert_array_equal(imagecodecs.png_decode(encode_png(Picture(levels))), levels)


@pytest.mark.parametrize("output_format", LOSSY)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", PICTURES)
def test_a_lossy_format_encodes_every_kind_of_picture(output_format, bits, name):
    picture = PICTURES[name] if bits == 8 else deep(PICTURES[name])
    again = decode_image(encode_picture(picture, ImageOutput(output_format, quality=95)))
    expected = PICTURES[name].pixels.astype(float)
    if output_format == "jpeg" and picture.alpha is not None:
        opacity = ALPHA[..., None] / 255
        expected = expected * opacity + 255 * (1 - opacity)
    np.testing.assert_allclose(again.pixels, expected, atol=7)
    assert again.bits == 8
    if output_format != "jpeg" and picture.alpha is not None:
        np.testing.assert_allclose(again.alpha, ALPHA.astype(int), atol=3)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "avif"])
def test_grey_stays_grey(output_format):
    data = encode_picture(PICTURES["grey"], ImageOutput(output_format))
    assert opened(data).mode == "L"


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_extras_of_the_output_are_written(output_format):
    data = encode_picture(PICTURES["colour"], ImageOutput(output_format, extras=EXTRAS))
    extras = decode_image(data).extras
    assert extras.dpi == pytest.approx(EXTRAS.dpi, abs=0.2)
    kept = Image.Exif()
    kept.load(extras.exif)
    assert dict(kept) == {0x010F: "Maker"}
    assert ElementTree.canonicalize(extras.xmp) == ElementTree.canonicalize(EXTRAS.xmp)


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_extras_of_the_picture_itself_are_not_written(output_format):
    picture = Picture(SMOOTH, extras=EXTRAS)
    extras = decode_image(encode_picture(picture, ImageOutput(output_format))).extras
    assert replace(extras, jpeg_quality=None) == Extras()


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
@pytest.mark.parametrize("name", ["colour", "grey"])
def test_pixels_are_declared_as_srgb(output_format, name):
    data = encode_picture(PICTURES[name], ImageOutput(output_format))
    image = opened(data)
    if output_format == "png":
        assert image.info["srgb"] == 1
    elif output_format == "avif":
        assert b"nclx\x00\x01\x00\x0d" in data  # primaries of BT.709, curve of sRGB
    else:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])).profile
        assert profile.xcolor_space.strip() == ("GRAY" if image.mode == "L" else "RGB")


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_pixels_are_converted_to_the_profile_that_is_written(output_format):
    profile = display_p3()
    output = ImageOutput(output_format, quality=95, extras=Extras(icc_profile=profile))
    data = encode_picture(PICTURES["colour"], output)
    assert opened(data).info["icc_profile"] == profile
    assert np.abs(np.asarray(opened(data)).astype(int) - SMOOTH).max() > 8
    np.testing.assert_allclose(decode_image(data).pixels, SMOOTH.astype(int), atol=12)


@pytest.mark.parametrize(
    ("output_format", "is_written"), [("png", True), ("jpeg", True), ("webp", False)]
)
def test_a_grey_profile_is_written_if_the_format_stores_grey(output_format, is_written):
    profile = grey_profile()
    output = ImageOutput(output_format, quality=95, extras=Extras(icc_profile=profile))
    data = encode_picture(PICTURES["grey"], output)
    assert (opened(data).info["icc_profile"] == profile) == is_written
    np.testing.assert_allclose(decode_image(data).pixels, GREY.astype(int), atol=6)


def test_a_profile_of_another_kind_of_colour_is_not_written():
    output = ImageOutput("png", extras=Extras(icc_profile=grey_profile()))
    assert "icc_profile" not in opened(encode_picture(PICTURES["colour"], output)).info


def test_xmp_too_long_for_jpeg_is_left_out():
    packet = mark_synthetic_detail(None).replace(b"algorithmically", b"a" * 66_000)
    data = encode_picture(PICTURES["colour"], ImageOutput("jpeg", extras=Extras(xmp=packet)))
    assert "xmp" not in opened(data).info


@pytest.mark.parametrize("output_format", LOSSY)
def test_higher_quality_means_less_error_and_more_bytes(output_format):
    picture = Picture(noise(HEIGHT, WIDTH))
    low, high = (encode_picture(picture, ImageOutput(output_format, q)) for q in (20, 95))
    errors = [
        np.abs(decode_image(d).pixels - picture.pixels.astype(int)).mean() for d in (low, high)
    ]
    assert errors[1] < errors[0]
    assert len(low) < len(high)


@pytest.mark.parametrize("output_format", LOSSY)
def test_the_default_quality_equals_that_quality_set_explicitly(output_format):
    picture = PICTURES["colour"]
    usual = ImageOutput(output_format)
    chosen = ImageOutput(output_format, usual.effective_quality)
    assert encode_picture(picture, usual) == encode_picture(picture, chosen)
    assert usual.effective_quality < 95


@pytest.mark.parametrize(
    ("output_format", "at_most"), [("webp", 16_383), ("jpeg", 65_535), ("avif", 65_536)]
)
def test_a_picture_too_large_for_a_format_is_refused_before_encoding(output_format, at_most):
    check_output_size(output_format, 1, at_most)
    too_high = f"at most {at_most} pixels wide and high. .* would become 7 x {at_most + 1} pixels"
    with pytest.raises(ImageTooLarge, match=too_high):
        check_output_size(output_format, at_most + 1, 7)


def test_the_limit_of_webp_is_the_encoders_limit():
    wide = Picture(np.zeros((1, 16_383, 3), np.uint8))
    assert opened(encode_picture(wide, ImageOutput("webp"))).width == 16_383
    with pytest.raises(ImageTooLarge, match="WebP"):
        encode_picture(Picture(np.zeros((1, 16_384, 3), np.uint8)), ImageOutput("webp"))


def test_a_picture_too_large_for_jpeg_is_refused():
    with pytest.raises(ImageTooLarge, match="JPEG"):
        encode_picture(Picture(np.zeros((65_536, 1, 3), np.uint8)), ImageOutput("jpeg"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "bmp"}, "`format` must be one of png, jpeg, webp, avif. Received: bmp"),
        ({"quality": 0}, "`quality` must be from 1 to 100. Received: 0"),
        ({"quality": 101}, "`quality` must be from 1 to 100. Received: 101"),
    ],
)
def test_invalid_output_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ImageOutput(**settings)


@pytest.mark.parametrize(("quality", "sampling"), [(80, (2, 2)), (90, (1, 1))])
def test_jpeg_stores_colour_at_full_resolution_from_quality_90(quality, sampling):
    image = opened(encode_picture(PICTURES["colour"], ImageOutput("jpeg", quality)))
    assert image.layer[0][1:3] == sampling


def test_bare_jpeg_of_higher_quality_has_less_error_and_more_bytes():
    grey = np.repeat(noise(24, 40, 1), 3, axis=2)
    low, high = (encode_jpeg(grey, quality) for quality in (30, 100))
    errors = [np.abs(decode_image(data).pixels - grey.astype(int)).max() for data in (low, high)]
    assert errors[1] <= 2 < errors[0]
    assert len(low) < len(high)


def test_bare_jpeg_stores_colour_at_half_resolution():
    image = opened(encode_jpeg(SMOOTH, 75))
    assert (image.format, image.size) == ("JPEG", (WIDTH, HEIGHT))
    assert [sampling[1:3] for sampling in image.layer] == [(2, 2), (1, 1), (1, 1)]


def test_bare_jpeg_can_store_colour_at_full_resolution():
    image = opened(encode_jpeg(SMOOTH, 75, "4:4:4"))
    assert [sampling[1:3] for sampling in image.layer] == [(1, 1)] * 3


def test_bare_webp_of_higher_quality_has_less_error():
    low, high = (decode_image(encode_webp(SMOOTH, quality)).pixels for quality in (5, 100))
    assert np.abs(high - SMOOTH.astype(int)).mean() < np.abs(low - SMOOTH.astype(int)).mean()
    assert opened(encode_webp(SMOOTH, 75)).format == "WEBP"


def test_a_narrow_column_of_noise_fits_into_the_output_buffer():
    # Each row takes a byte for its filter, and deflate saves nothing.
    for seed in range(40):
        picture = Picture(np.random.default_rng(seed).integers(0, 256, (201, 1, 3), np.uint8))
        np.testing.assert_array_equal(decode_image(encode_png(picture)).pixels, picture.pixels)
