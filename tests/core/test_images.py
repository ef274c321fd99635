import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from core import images
from core.errors import ImageTooLarge, UnreadableImage, UnsupportedImage
from core.images import (
    Limits,
    decode_image,
    encode_jpeg,
    encode_png,
    resize_bicubic,
    resize_bicubic_rows,
)
from core.picture import Picture
from tests.stand_ins import noise

HEIGHT, WIDTH = 5, 7
RGB = noise(HEIGHT, WIDTH)
ALPHA = noise(HEIGHT, WIDTH, 1, seed=1)[..., 0]
ORIENTATION_TAG = 0x0112


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_a_lossless_picture_comes_back_pixel_for_pixel(encode, file_format):
    picture = decode_image(encode(RGB, file_format))
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert picture.alpha is None


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_a_lossy_picture_comes_back_nearly(encode, file_format):
    grey = np.full((16, 24, 3), 128, np.uint8)
    pixels = decode_image(encode(grey, file_format, quality=95)).pixels
    np.testing.assert_allclose(pixels, grey, atol=2)


def test_of_an_animation_the_first_frame_is_taken(encode):
    red, blue = (Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue"))
    data = encode(red, "GIF", save_all=True, append_images=[blue])
    np.testing.assert_array_equal(decode_image(data).pixels[0, 0], [255, 0, 0])


def test_grey_becomes_rgb(encode):
    picture = decode_image(encode(ALPHA))
    np.testing.assert_array_equal(picture.pixels, np.repeat(ALPHA[..., None], 3, axis=2))


def test_grey_of_16_bits_is_scaled_not_wrapped(encode):
    levels = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    picture = decode_image(encode(levels))
    np.testing.assert_array_equal(picture.pixels[..., 0], np.rint(levels / 257))


def test_colour_of_16_bits_keeps_its_brightness():
    data = png_of_16_bit_rgb(np.full((HEIGHT, WIDTH, 3), 0x8080, np.uint16))
    np.testing.assert_array_equal(decode_image(data).pixels, 0x80)


def png_of_16_bit_rgb(levels):
    """PNG by hand, since Pillow writes no 16-bit colour."""
    height, width, _ = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def test_alpha_is_set_aside(encode):
    picture = decode_image(encode(np.dstack([RGB, ALPHA])))
    np.testing.assert_array_equal(picture.pixels, RGB)
    np.testing.assert_array_equal(picture.alpha, ALPHA)


def test_grey_with_alpha_is_read(encode):
    picture = decode_image(encode(Image.merge("LA", [Image.fromarray(ALPHA)] * 2)))
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    np.testing.assert_array_equal(picture.pixels[..., 0], ALPHA)


def test_a_transparent_palette_colour_becomes_alpha(encode):
    palette = Image.new("P", (WIDTH, HEIGHT), 1)
    palette.putpalette([9, 9, 9, 200, 100, 50])
    palette.putpixel((0, 0), 0)
    picture = decode_image(encode(palette, transparency=0))
    assert picture.alpha[0, 0] == 0
    assert picture.alpha[1, 1] == 255
    np.testing.assert_array_equal(picture.pixels[1, 1], [200, 100, 50])


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb_of_the_same_size(encode, mode):
    image = Image.new(mode, (WIDTH, HEIGHT))
    assert decode_image(encode(image, "TIFF")).pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_put_upright(encode, orientation):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    turned = decode_image(encode(RGB, exif=exif)).pixels
    expected = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: np.rot90(RGB, 2).transpose(1, 0, 2),
        8: np.rot90(RGB),
    }[orientation]
    np.testing.assert_array_equal(turned, expected)


def test_the_colour_profile_is_kept(encode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = decode_image(encode(RGB, icc_profile=profile))
    assert picture.extras.icc_profile == profile
    assert Image.open(io.BytesIO(encode_png(picture))).info["icc_profile"] == profile


def test_a_profile_that_does_not_describe_rgb_is_dropped(encode):
    assert decode_image(encode(ALPHA, icc_profile=b"of grey")).extras.icc_profile is None


@pytest.mark.parametrize("mode", ["I", "F"])
def test_samples_of_32_bits_are_refused_by_name(encode, mode):
    with pytest.raises(UnsupportedImage, match=f"32-bit samples .mode {mode}."):
        decode_image(encode(Image.new(mode, (WIDTH, HEIGHT)), "TIFF"))


@pytest.mark.parametrize(
    ("data", "received"),
    [(b"", "0 bytes"), (b"Hello, world", "12 bytes that begin with b'Hello, w'")],
)
def test_what_is_no_picture_is_refused_with_what_came(data, received):
    with pytest.raises(UnreadableImage, match=received):
        decode_image(data)


def test_a_format_outside_the_list_is_not_even_tried(encode):
    with pytest.raises(UnreadableImage, match="PNG, JPEG, WebP, TIFF, BMP or GIF"):
        decode_image(encode(RGB, "PPM"))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_file_cut_anywhere_is_refused_or_read_never_worse(encode, file_format):
    data = encode(noise(40, 60), file_format)
    for length in range(0, len(data) - 1, 1 + len(data) // 60):
        try:
            assert decode_image(data[:length]).pixels.shape == (40, 60, 3)
        except UnreadableImage as error:
            assert "Received" in str(error)


def test_half_a_png_is_refused(encode):
    data = encode(noise(40, 60))
    with pytest.raises(UnreadableImage, match="undamaged"):
        decode_image(data[: len(data) // 2])


def test_too_many_pixels_are_refused_with_limit_and_size(encode):
    with pytest.raises(ImageTooLarge, match="at most 34 pixels. Received: 7 x 5 = 35 pixels"):
        decode_image(encode(RGB), Limits(max_pixels=34, max_side=100))


def test_too_long_a_side_is_refused_with_limit_and_size(encode):
    with pytest.raises(ImageTooLarge, match="at most 6 pixels wide and high. Received: 7 x 5"):
        decode_image(encode(RGB), Limits(max_pixels=1000, max_side=6))


def test_limits_are_inclusive(encode):
    assert decode_image(encode(RGB), Limits(max_pixels=35, max_side=7)).width == 7


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (10_000, 10_000)])
def test_the_header_alone_decides_about_size(encode, width, height):
    data = bytearray(encode(RGB))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(ImageTooLarge, match="at most 1000 pixels") as caught:
        decode_image(bytes(data), Limits(max_pixels=1000, max_side=1000))
    assert f"{width * height} pixels." in str(caught.value)


def test_png_output_holds_pixels_and_alpha():
    image = Image.open(io.BytesIO(encode_png(Picture(RGB, ALPHA))))
    np.testing.assert_array_equal(np.asarray(image), np.dstack([RGB, ALPHA]))


def test_jpeg_of_higher_quality_is_nearer_and_larger():
    grey = np.repeat(noise(24, 40, 1), 3, axis=2)
    low, high = (encode_jpeg(grey, quality) for quality in (30, 100))
    errors = [np.abs(decode_image(data).pixels - grey.astype(int)).max() for data in (low, high)]
    assert errors[1] <= 2 < errors[0]
    assert len(low) < len(high)


def test_jpeg_holds_colour_at_half_resolution():
    image = Image.open(io.BytesIO(encode_jpeg(RGB, 75)))
    assert (image.format, image.size) == ("JPEG", (WIDTH, HEIGHT))
    assert [sampling[1:3] for sampling in image.layer] == [(2, 2), (1, 1), (1, 1)]


def test_bicubic_resizing_keeps_a_flat_colour():
    flat = np.full((8, 12, 3), 77, np.uint8)
    np.testing.assert_array_equal(resize_bicubic(flat, 2, 3), flat[:2, :3])


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (37, 53), (300, 200)])
@pytest.mark.parametrize("rows", [1, 2, 7, 64, 130])
def test_strips_resized_apart_are_those_of_the_whole(height, width, channels, rows):
    pixels = noise(height, width, channels or 1)
    pixels = pixels if channels else pixels[..., 0]
    np.testing.assert_array_equal(in_strips(pixels, 4, rows), in_whole(pixels, 4))


@pytest.mark.parametrize("scale", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(("height", "width"), [(3, 90), (90, 3)])
def test_strips_fit_together_at_any_scale(height, width, scale):
    pixels = noise(height, width)
    np.testing.assert_array_equal(in_strips(pixels, scale, 11), in_whole(pixels, scale))


def in_strips(pixels, scale, rows):
    height = scale * len(pixels)
    strips = [
        resize_bicubic_rows(pixels, scale, top, min(top + rows, height))
        for top in range(0, height, rows)
    ]
    return np.concatenate(strips)


def in_whole(pixels, scale):
    height, width = pixels.shape[:2]
    return resize_bicubic(pixels, scale * height, scale * width)


def test_a_strip_is_resized_from_a_few_rows(monkeypatch):
    seen = []

    def noted(pixels, height, width):
        seen.append((len(pixels), height, width))
        return resize_bicubic(pixels, height, width)

    monkeypatch.setattr(images, "resize_bicubic", noted)
    strip = resize_bicubic_rows(noise(300, 20), 4, 401, 403)
    assert (strip.shape, seen) == ((2, 80, 3), [(5, 20, 80)])


@pytest.mark.parametrize(("top", "bottom"), [(-1, 3), (3, 3), (5, 4), (19, 21)])
def test_rows_outside_the_resized_picture_are_refused(top, bottom):
    with pytest.raises(ValueError, match=re.escape(f"Received: [{top}, {bottom})")):
        resize_bicubic_rows(RGB, 4, top, bottom)
