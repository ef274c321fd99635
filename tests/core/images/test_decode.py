"""Every kind of picture is compared with values that are computed in another way."""

import io
import struct
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from PIL import Image

from core.errors import ImageTooLarge, UnreadableImage, UnsupportedImage
from core.images import Limits, decode_image, decode_rgb, read_header
from core.pixels import to_uint8
from tests.support.picture_files import Tag, encoded, png, tiff
from tests.support.stand_ins import noise

HEIGHT, WIDTH = 5, 7
RGB = noise(HEIGHT, WIDTH)
GREY = noise(HEIGHT, WIDTH, 1, seed=2)
ALPHA = noise(HEIGHT, WIDTH, 1, seed=1) // 2 + 100
DEEP = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
DEEP_GREY = DEEP[..., :1]
DEEP_ALPHA = DEEP[..., 1:2] // 2 + np.uint16(30_000)
PALETTE = noise(1, 256, seed=4)[0]
INDICES = GREY[..., 0]
FEW = INDICES // 64  # levels of 2 bits
SMOOTH = np.dstack(
    np.broadcast_arrays(
        np.linspace(40, 200, 48)[None], np.linspace(60, 180, 32)[:, None], np.float64(120)
    )
).astype(np.uint8)
ORIENTATION_TAG = 0x0112
TRANSPARENT = b"tRNS"


def three(grey):
    return np.repeat(grey.reshape(*grey.shape[:2], 1), 3, axis=2)


def with_palette(file_format="PNG", **options):
    image = in_mode("P", INDICES)
    image.putpalette(PALETTE.tobytes())
    return encoded(image, file_format, **options)


def in_mode(mode, pixels):
    height, width = pixels.shape[:2]
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def pack_2_bits(levels):
    """Pack (H, W) levels in [0, 3] into bytes."""
    padded = np.pad(levels, ((0, 0), (0, -levels.shape[1] % 4))).reshape(len(levels), -1, 4)
    return (padded << np.uint8([6, 4, 2, 0])).sum(axis=2).astype(np.uint8)[..., None]


def premultiplied(pixels, alpha):
    highest = np.iinfo(pixels.dtype).max
    mixed = pixels.astype(np.uint64) * alpha / highest
    return np.dstack([np.rint(mixed), alpha]).astype(pixels.dtype)


def transparent(*levels):
    """Return a tRNS chunk of 16-bit levels."""
    return [(TRANSPARENT, struct.pack(f">{len(levels)}H", *map(int, levels)))]


CMYK = noise(HEIGHT, WIDTH, 4)
INKED = np.rint((255.0 - CMYK[..., :3]) * (255.0 - CMYK[..., 3:]) / 255)
JPEG_YCC = partial(encoded, SMOOTH, "JPEG", quality=98)

EXACT = {
    "PNG of RGB": (lambda: encoded(RGB, "PNG"), RGB, None),
    "PNG of RGBA": (lambda: encoded(np.dstack([RGB, ALPHA]), "PNG"), RGB, ALPHA),
    "PNG with alpha that is opaque": (
        lambda: encoded(np.dstack([RGB, np.full_like(ALPHA, 255)]), "PNG"),
        RGB,
        None,
    ),
    "PNG with a transparent colour": (
        lambda: png(RGB, before=transparent(*RGB[1, 1])),
        RGB,
        np.where((RGB[1, 1] == RGB).all(axis=2), 0, 255),
    ),
    "PNG of grey": (lambda: encoded(INDICES, "PNG"), GREY, None),
    "PNG of grey with alpha": (lambda: png(np.dstack([GREY, ALPHA])), GREY, ALPHA),
    "PNG of grey with a transparent level": (
        lambda: png(GREY, before=transparent(GREY[0, 0, 0])),
        GREY,
        np.where(GREY[..., 0] == GREY[0, 0, 0], 0, 255),
    ),
    "PNG of 2-bit grey": (
        lambda: png(pack_2_bits(FEW), size=(HEIGHT, WIDTH), bits=2),
        FEW[..., None] * 85,
        None,
    ),
    "PNG of 2-bit grey with a transparent level": (
        lambda: png(pack_2_bits(FEW), size=(HEIGHT, WIDTH), bits=2, before=transparent(1)),
        FEW[..., None] * 85,
        np.where(FEW == 1, 0, 255),
    ),
    "PNG of 1 bit": (
        lambda: encoded(Image.fromarray(INDICES > 99), "PNG"),
        np.uint8(255) * (GREY > 99),
        None,
    ),
    "PNG of a palette": (lambda: with_palette(), PALETTE[INDICES], None),
    "PNG of a palette with a transparent colour": (
        lambda: with_palette(transparency=int(INDICES[2, 3])),
        PALETTE[INDICES],
        np.where(INDICES[2, 3] == INDICES, 0, 255),
    ),
    "PNG of a palette with opacities": (
        lambda: with_palette(transparency=bytes(range(255, 99, -1)) + bytes([100] * 100)),
        PALETTE[INDICES],
        np.maximum(100, 255 - INDICES.astype(int)),
    ),
    "PNG of 16-bit RGB": (lambda: png(DEEP), DEEP, None),
    "PNG of 16-bit RGB with a transparent colour": (
        lambda: png(DEEP, before=transparent(*DEEP[1, 1])),
        DEEP,
        np.where((DEEP[1, 1] == DEEP).all(axis=2), 0, 65535),
    ),
    "PNG of 16-bit RGBA": (lambda: png(np.dstack([DEEP, DEEP_ALPHA])), DEEP, DEEP_ALPHA),
    "PNG of 16-bit grey": (lambda: png(DEEP_GREY), DEEP_GREY, None),
    "PNG of 16-bit grey with alpha": (
        lambda: png(np.dstack([DEEP_GREY, DEEP_ALPHA])),
        DEEP_GREY,
        DEEP_ALPHA,
    ),
    "PNG of 16-bit grey with a transparent level": (
        lambda: png(DEEP_GREY, before=transparent(DEEP_GREY[2, 2, 0])),
        DEEP_GREY,
        np.where(DEEP_GREY[..., 0] == DEEP_GREY[2, 2, 0], 0, 65535),
    ),
    "TIFF of RGB": (lambda: encoded(RGB, "TIFF"), RGB, None),
    "TIFF of RGB, LZW": (lambda: encoded(RGB, "TIFF", compression="tiff_lzw"), RGB, None),
    "TIFF of RGBA": (lambda: encoded(np.dstack([RGB, ALPHA]), "TIFF"), RGB, ALPHA),
    "TIFF of grey": (lambda: encoded(INDICES, "TIFF"), GREY, None),
    "TIFF of grey, white is zero": (lambda: tiff(GREY, photometric=0), 255 - GREY, None),
    "TIFF of grey with alpha": (
        lambda: tiff(np.dstack([GREY, ALPHA]), extras=[2]),
        GREY,
        ALPHA,
    ),
    "TIFF of planes": (lambda: tiff(RGB, planar=2), RGB, None),
    "TIFF of a channel of no known use": (
        lambda: tiff(np.dstack([RGB, ALPHA]), extras=[0]),
        RGB,
        None,
    ),
    "TIFF of 16-bit RGB": (lambda: tiff(DEEP), DEEP, None),
    "TIFF of 16-bit RGB, big-endian": (lambda: tiff(DEEP, ">"), DEEP, None),
    "TIFF of 16-bit RGB in planes": (lambda: tiff(DEEP, planar=2), DEEP, None),
    "TIFF of 16-bit RGB in planes, big-endian": (lambda: tiff(DEEP, ">", planar=2), DEEP, None),
    "TIFF of 16-bit RGBA": (
        lambda: tiff(np.dstack([DEEP, DEEP_ALPHA]), extras=[2]),
        DEEP,
        DEEP_ALPHA,
    ),
    "TIFF of 16-bit RGBA that does not say so": (
        lambda: tiff(np.dstack([DEEP, DEEP_ALPHA])),
        DEEP,
        DEEP_ALPHA,
    ),
    "TIFF of 16-bit RGB and a channel of no known use": (
        lambda: tiff(np.dstack([DEEP, DEEP_ALPHA]), extras=[0]),
        DEEP,
        None,
    ),
    "TIFF of 16-bit grey": (lambda: tiff(DEEP_GREY), DEEP_GREY, None),
    "TIFF of 16-bit grey, big-endian": (lambda: tiff(DEEP_GREY, ">"), DEEP_GREY, None),
    "TIFF of 16-bit grey, white is zero": (
        lambda: tiff(DEEP_GREY, photometric=0),
        65535 - DEEP_GREY,
        None,
    ),
    "TIFF of 16-bit grey, white is zero, big-endian": (
        lambda: tiff(DEEP_GREY, ">", photometric=0),
        65535 - DEEP_GREY,
        None,
    ),
    "TIFF of 16-bit grey with alpha": (
        lambda: tiff(np.dstack([DEEP_GREY, DEEP_ALPHA]), extras=[2]),
        DEEP_GREY,
        DEEP_ALPHA,
    ),
    "TIFF of 16-bit grey with alpha, big-endian, in planes": (
        lambda: tiff(np.dstack([DEEP_GREY, DEEP_ALPHA]), ">", planar=2, extras=[2]),
        DEEP_GREY,
        DEEP_ALPHA,
    ),
    "TIFF of 16-bit grey and a channel of no known use": (
        lambda: tiff(np.dstack([DEEP_GREY, DEEP_ALPHA]), extras=[0]),
        DEEP_GREY,
        None,
    ),
    "BMP of RGB": (lambda: encoded(RGB, "BMP"), RGB, None),
    "BMP of grey": (lambda: encoded(INDICES, "BMP"), GREY, None),
    "WebP, lossless": (lambda: encoded(RGB, "WEBP", lossless=True), RGB, None),
    "WebP with alpha, lossless": (
        lambda: encoded(np.dstack([RGB, ALPHA]), "WEBP", lossless=True, exact=True),
        RGB,
        ALPHA,
    ),
    "GIF": (lambda: with_palette("GIF"), PALETTE[INDICES], None),
    "GIF with a transparent colour": (
        lambda: with_palette("GIF", transparency=int(INDICES[2, 3])),
        PALETTE[INDICES],
        np.where(INDICES[2, 3] == INDICES, 0, 255),
    ),
}

NEAR = {
    "CMYK TIFF without a profile": (lambda: encoded(in_mode("CMYK", CMYK), "TIFF"), INKED, 1),
    "TIFF of 8-bit RGB that alpha multiplied": (
        lambda: tiff(premultiplied(RGB, ALPHA), extras=[1]),
        RGB,
        2,
    ),
    "TIFF of 8-bit grey that alpha multiplied": (
        lambda: tiff(premultiplied(GREY, ALPHA), extras=[1]),
        GREY,
        2,
    ),
    "TIFF of 16-bit RGB that alpha multiplied": (
        lambda: tiff(premultiplied(DEEP, DEEP_ALPHA), extras=[1]),
        DEEP,
        2,
    ),
    "TIFF of 16-bit grey that alpha multiplied": (
        lambda: tiff(premultiplied(DEEP_GREY, DEEP_ALPHA), extras=[1]),
        DEEP_GREY,
        2,
    ),
    "JPEG": (JPEG_YCC, SMOOTH, 4),
    "JPEG of grey": (lambda: encoded(SMOOTH[..., 0], "JPEG", quality=98), SMOOTH[..., :1], 3),
    "JPEG of ink": (
        lambda: encoded(in_mode("CMYK", three(SMOOTH[..., :1])[..., [0, 1, 2, 2]]), "JPEG"),
        np.rint((255.0 - three(SMOOTH[..., :1])) * (255.0 - SMOOTH[..., :1]) / 255),
        5,
    ),
    "WebP": (lambda: encoded(SMOOTH, "WEBP", quality=95), SMOOTH, 6),
    "AVIF": (lambda: encoded(SMOOTH, "AVIF", quality=95), SMOOTH, 4),
    "AVIF of grey": (lambda: encoded(SMOOTH[..., 0], "AVIF", quality=95), SMOOTH[..., :1], 4),
    "HEIC": (lambda: encoded(SMOOTH, "HEIF", quality=95), SMOOTH, 6),
}
IS_GREY = {name for name, (_, pixels, *_) in (EXACT | NEAR).items() if pixels.shape[2] == 1}


@pytest.mark.parametrize("name", EXACT)
def test_a_lossless_picture_is_decoded_exactly(name):
    make, pixels, alpha = EXACT[name]
    picture = decode_image(make())
    assert (picture.is_grey, picture.bits) == (name in IS_GREY, 8 * pixels.itemsize)
    if alpha is None:
        assert picture.alpha is None
        visible = np.full((HEIGHT, WIDTH), True)
    else:
        np.testing.assert_array_equal(picture.alpha, alpha.reshape(HEIGHT, WIDTH))
        assert picture.alpha.dtype == pixels.dtype
        visible = picture.alpha > 0
    np.testing.assert_array_equal(
        picture.pixels[visible], np.broadcast_to(pixels, RGB.shape)[visible]
    )
    assert picture.pixels.shape == RGB.shape
    assert picture.pixels.dtype == pixels.dtype


@pytest.mark.parametrize("name", NEAR)
def test_a_lossy_picture_is_decoded_approximately(name):
    make, pixels, tolerance = NEAR[name]
    picture = decode_image(make())
    assert (picture.is_grey, picture.bits) == (name in IS_GREY, 8 * picture.pixels.itemsize)
    expected = np.broadcast_to(pixels, picture.pixels.shape).astype(int)
    np.testing.assert_allclose(picture.pixels, expected, atol=tolerance)


@pytest.mark.parametrize("name", EXACT | NEAR)
def test_the_header_matches_the_decoded_picture(name):
    data = (EXACT | NEAR)[name][0]()
    file = io.BytesIO(data)
    header, picture = read_header(file), decode_image(data)
    assert (header.height, header.width) == (picture.height, picture.width)
    assert (header.bits, header.frames) == (picture.bits, 1)
    is_opaque = name == "PNG with alpha that is opaque"  # which the header cannot know
    assert header.channels == picture.channels + is_opaque
    assert file.tell() == 0


def test_a_gradient_of_16_bits_is_exact():
    levels = np.arange(65536, dtype=np.uint16).reshape(128, 512, 1)
    for data in (
        png(levels),
        tiff(levels),
        tiff(levels, ">"),
        png(three(levels)),
        tiff(three(levels)),
    ):
        np.testing.assert_array_equal(decode_image(data).pixels, three(levels))


def test_12_bit_grey_is_scaled_to_16_bits():
    packed = np.uint8([0xFF, 0xF0, 0x00, 0x80, 0x08, 0x01]).reshape(1, 6, 1)
    data = tiff(packed, tags=[Tag(256, [4]), Tag(258, [12])])
    levels = np.rint(np.array([0xFFF, 0x000, 0x800, 0x801]) * 65535 / 4095)
    np.testing.assert_array_equal(decode_image(data).pixels[0, :, 0], levels)


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((0, 0, 0), (0, 0, 0)), ((100, 0, 0), (255, 255, 255)), ((54.29, 80.80, 69.89), (255, 0, 0))],
)
def test_lab_is_converted_to_rgb(lab, rgb):
    stored = np.rint([lab[0] * 2.55, lab[1], lab[2]]).astype(np.int8).view(np.uint8)
    image = np.broadcast_to(stored, (HEIGHT, WIDTH, 3))
    data = tiff(np.ascontiguousarray(image), photometric=8)
    np.testing.assert_allclose(decode_image(data).pixels[0, 0], rgb, atol=6)


def test_a_heic_is_turned_by_its_own_rotation_not_by_exif():
    data = encoded(SMOOTH, "HEIF", quality=95, exif=oriented(6))  # Pillow's writer sees bytes only
    assert b"irot" not in data
    np.testing.assert_allclose(decode_image(data).pixels, SMOOTH, atol=6)


def test_an_mpo_is_decoded_as_a_jpeg_of_one_frame():
    preview = Image.fromarray(SMOOTH[::2, ::2])
    data = encoded(SMOOTH, "MPO", quality=98, save_all=True, append_images=[preview])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    np.testing.assert_allclose(decode_image(data).pixels, SMOOTH, atol=4)
    assert read_header(io.BytesIO(data), Limits(10_000, 100, max_frames=1)).frames == 1


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_of_several_frames_is_decoded(file_format):
    red, blue, green = (Image.new("RGB", (64, 48), name) for name in ("red", "blue", "lime"))
    data = encoded(red, file_format, save_all=True, append_images=[blue, green])
    assert read_header(io.BytesIO(data)).frames == 3
    np.testing.assert_allclose(decode_image(data).pixels[0, 0], [255, 0, 0], atol=3)


def turn(pixels, orientation):
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels),
    }[orientation]


def oriented(orientation):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    return exif


LYING = {
    "PNG": (lambda o: encoded(RGB, "PNG", exif=oriented(o)), RGB, 0),
    "PNG, EXIF after the pixels": (
        lambda o: png(RGB, after=[(b"eXIf", oriented(o).tobytes().removeprefix(b"Exif\0\0"))]),
        RGB,
        0,
    ),
    "PNG of 16 bits": (
        lambda o: png(DEEP, before=[(b"eXIf", oriented(o).tobytes().removeprefix(b"Exif\0\0"))]),
        DEEP,
        0,
    ),
    "TIFF": (lambda o: tiff(RGB, tags=[Tag(ORIENTATION_TAG, [o])]), RGB, 0),
    "TIFF, LZW": (
        lambda o: encoded(RGB, "TIFF", compression="tiff_lzw", tiffinfo={ORIENTATION_TAG: o}),
        RGB,
        0,
    ),
    "TIFF of 16 bits": (lambda o: tiff(DEEP, tags=[Tag(ORIENTATION_TAG, [o])]), DEEP, 0),
    "TIFF of 16-bit grey": (
        lambda o: tiff(DEEP_GREY, ">", tags=[Tag(ORIENTATION_TAG, [o])]),
        three(DEEP_GREY),
        0,
    ),
    "JPEG": (lambda o: encoded(SMOOTH, "JPEG", quality=98, exif=oriented(o)), SMOOTH, 4),
    "WebP": (lambda o: encoded(RGB, "WEBP", lossless=True, exif=oriented(o)), RGB, 0),
    "AVIF": (lambda o: encoded(SMOOTH, "AVIF", quality=95, exif=oriented(o)), SMOOTH, 4),
    "HEIC": (
        lambda o: encoded(SMOOTH, "HEIF", quality=95, exif=oriented(o).tobytes()),
        SMOOTH,
        6,
    ),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", LYING)
def test_a_stored_orientation_is_applied_once(name, orientation):
    make, pixels, tolerance = LYING[name]
    data = make(orientation)
    expected = turn(pixels, orientation)
    picture = decode_image(data)
    np.testing.assert_allclose(picture.pixels, expected.astype(int), atol=tolerance)
    header = read_header(io.BytesIO(data))
    assert (header.height, header.width) == expected.shape[:2]


def test_blocks_of_rows_make_the_same_pictures(monkeypatch):
    files = [make() for make, *_ in (EXACT | NEAR).values()]
    files += [make(orientation) for make, *_ in LYING.values() for orientation in range(1, 9)]
    files.append(encoded(np.dstack([RGB, INDICES // 4])))  # faint pixels get colour from afar
    whole = [decode_image(data) for data in files]
    for module in ("core.picture", "core.images.alpha"):
        monkeypatch.setattr(f"{module}.BLOCK_PIXELS", 4 * WIDTH)
    for data, expected in zip(files, whole, strict=True):
        picture = decode_image(data)
        np.testing.assert_array_equal(picture.pixels, expected.pixels)
        np.testing.assert_array_equal(picture.alpha, expected.alpha)


@pytest.mark.parametrize("pixels", [RGB, DEEP])
def test_only_the_colour_is_decoded_to_8_bits(pixels):
    rgb = decode_rgb(png(pixels))
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, to_uint8(pixels))


def test_alpha_is_turned_like_the_colour():
    data = encoded(np.dstack([RGB, ALPHA]), "PNG", exif=oriented(6))
    np.testing.assert_array_equal(decode_image(data).alpha, np.rot90(ALPHA[..., 0], -1))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_samples_are_refused_with_their_mode(mode):
    with pytest.raises(UnsupportedImage, match=f"32-bit samples .mode {mode}."):
        decode_image(encoded(Image.new(mode, (WIDTH, HEIGHT)), "TIFF"))


@pytest.mark.parametrize(
    ("data", "received"),
    [(b"", "0 bytes"), (b"Hello, world", "12 bytes that begin with b'Hello, w'")],
)
def test_bytes_that_are_not_an_image_are_quoted_in_the_error(data, received):
    with pytest.raises(UnreadableImage, match=received):
        decode_image(data)


def test_an_unsupported_format_is_refused_with_the_list_of_formats():
    with pytest.raises(UnreadableImage, match="PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF or HEIC"):
        decode_image(encoded(RGB, "PPM"))


def fail(*_, **__):
    raise RuntimeError


@pytest.mark.parametrize(
    ("data", "levels"),
    [
        (lambda: png(DEEP), DEEP / 257),
        (lambda: tiff(DEEP), DEEP / 257),
        (lambda: tiff(DEEP_GREY), three(DEEP_GREY)),
        (lambda: tiff(DEEP_GREY, photometric=0), three(65535 - DEEP_GREY)),
    ],
)
def test_pillow_decodes_16_bit_files_that_imagecodecs_cannot(monkeypatch, data, levels):
    monkeypatch.setattr("imagecodecs.png_decode", fail)
    monkeypatch.setattr("imagecodecs.tiff_decode", fail)
    np.testing.assert_allclose(decode_image(data()).pixels, levels, atol=1)


def test_pillow_decodes_a_file_of_which_imagecodecs_makes_another_size(monkeypatch):
    monkeypatch.setattr("imagecodecs.png_decode", lambda _: np.zeros((1, 1, 3), np.uint16))
    np.testing.assert_allclose(decode_image(png(DEEP)).pixels, DEEP / 257, atol=1)


def test_pillow_does_not_decode_16_bit_planes(monkeypatch):
    monkeypatch.setattr("imagecodecs.tiff_decode", fail)
    with pytest.raises(UnreadableImage, match="planes that cannot be decoded"):
        decode_image(tiff(DEEP, planar=2))


def test_16_bit_planes_of_cmyk_are_refused():
    ink = np.dstack([DEEP, DEEP_GREY])
    with pytest.raises(UnsupportedImage, match="planes of 16 bits"):
        decode_image(tiff(ink, photometric=5, planar=2))


@pytest.mark.parametrize(
    ("size", "lr_size", "advice"),
    [
        ((16_128, 12_096), (4032, 3024), "The largest that fits is scale=2.29."),
        ((24_000, 32_000), (6000, 8000), "The largest that fits is scale=1.15."),
        ((9000, 9000), (9000, 9000), "No size fits."),
        ((16_000, 16_000), (1000, 1000), "The largest that fits is scale=8."),
    ],
)
def test_a_result_over_the_limit_is_refused_with_the_largest_that_fits(size, lr_size, advice):
    limits = Limits(10**9, 10**9, max_output_pixels=64_000_000)
    with pytest.raises(ImageTooLarge, match=r"at most 64000000 pixels\. Received: ") as refused:
        limits.check_output(*size, lr_size)
    assert str(refused.value).endswith(advice)


@pytest.mark.parametrize("lr_size", [(7, 999), (3024, 4032)])
@pytest.mark.parametrize("most", [10, 1001, 64_000_000])
def test_the_advised_scale_fits_and_the_next_one_does_not(lr_size, most):
    limits = Limits(10**9, 10**9, max_output_pixels=most)
    with pytest.raises(ImageTooLarge) as refused:
        limits.check_output(*(10_000 * side for side in lr_size), lr_size)
    if str(refused.value).endswith("No size fits."):
        assert lr_size[0] * lr_size[1] > most
        return
    scale = Fraction(str(refused.value).rstrip(".").partition("scale=")[2])
    limits.check_output(*result_size(lr_size, scale), lr_size)
    with pytest.raises(ImageTooLarge):
        limits.check_output(*result_size(lr_size, scale + Fraction(1, 100)), lr_size)


def result_size(lr_size, scale):
    return [int(side * scale + Fraction(1, 2)) for side in lr_size]
