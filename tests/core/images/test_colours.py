"""Colours that files declare by numbers of H.273 or chunks of PNG; depth of AVIF and HEIC."""

import io
import struct

import imagecodecs
import numpy as np
import pillow_heif
import pytest

from core.errors import UnsupportedImage
from core.images import decode_image, encode_png, from_srgb, read_header
from core.images.boxes import read_avif_info
from core.images.colours import PRIMARIES, make_profile, matrix_to_srgb
from tests.support.picture_files import chunk, encoded, grey_profile, png
from tests.support.stand_ins import noise

GREY = np.full((4, 6, 3), 128, np.uint8)
MUTED = noise(23, 31) // 4 + 96  # in Display P3, these colours lie within sRGB
SMOOTH = np.stack(np.meshgrid(np.arange(32) * 2 + 110, np.arange(24) * 2 + 110, [120]), axis=-1)
SMOOTH = np.ascontiguousarray(SMOOTH[:, :, 0]).astype(np.uint8)
P3 = make_profile(PRIMARIES[12], 0.0, grey=False)
P3_CHROMATICITIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def cicp(primaries, transfer, is_full=1):
    return b"cICP", bytes([primaries, transfer, 0, is_full])


def gamma(value):
    return b"gAMA", struct.pack(">I", value)


def iccp(profile):
    data = encoded(GREY, icc_profile=profile)
    start = data.index(b"iCCP")
    length = int.from_bytes(data[start - 4 : start], "big")
    return b"iCCP", data[start + 4 : start + 4 + length]


SRGB_CHUNK = b"sRGB", b"\0"
CHROMATICITIES = b"cHRM", struct.pack(">8I", *P3_CHROMATICITIES)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize(
    ("chunks", "level"),
    [
        ([], 128),
        ([gamma(100_000)], 188),
        ([gamma(55_556)], 146),
        ([gamma(45_455)], 128),
        ([gamma(0)], 128),
        ([SRGB_CHUNK, gamma(100_000)], 128),
        ([cicp(1, 13), gamma(100_000)], 128),
        ([cicp(1, 8), SRGB_CHUNK], 188),
        ([cicp(9, 1), gamma(100_000)], 128),
        ([cicp(99, 13), gamma(100_000)], 188),
        ([cicp(1, 99), gamma(100_000)], 188),
        ([cicp(2, 2), gamma(100_000)], 188),
        ([cicp(1, 2), gamma(100_000)], 188),
        ([cicp(9, 16)], 181),
        ([cicp(1, 16), SRGB_CHUNK], 181),
        ([cicp(9, 18)], 137),
    ],
)
def test_grey_128_gets_the_level_that_the_chunks_of_a_png_declare(chunks, level, scale, channels):
    stored = GREY[..., :channels].astype(np.uint8 if scale == 1 else np.uint16) * scale
    picture = decode_image(png(stored, before=chunks))
    assert picture.pixels.dtype == stored.dtype
    np.testing.assert_allclose(picture.pixels / scale, level, atol=1)


def test_cicp_comes_before_iccp_and_iccp_before_gamma():
    by_profile = decode_image(png(MUTED, before=[iccp(P3)])).pixels
    assert np.abs(by_profile - MUTED.astype(int)).max() > 5
    both = png(MUTED, before=[cicp(1, 13), iccp(P3)])
    np.testing.assert_array_equal(decode_image(both).pixels, MUTED)
    for later in ([SRGB_CHUNK], [gamma(100_000), CHROMATICITIES]):
        both = png(MUTED, before=[iccp(P3), *later])
        np.testing.assert_array_equal(decode_image(both).pixels, by_profile)


def test_a_profile_that_cannot_be_used_leaves_the_gamma():
    data = png(GREY, before=[iccp(grey_profile()), gamma(100_000)])
    assert (decode_image(data).pixels == 188).all()


@pytest.mark.parametrize("numbers", [(2, 2), (1, 2), (2, 13)])
def test_numbers_that_leave_colours_open_come_after_a_profile(numbers):
    declared = decode_image(png(MUTED, before=[cicp(*numbers), iccp(P3)]))
    assert np.array_equal(declared.pixels, decode_image(png(MUTED, before=[iccp(P3)])).pixels)


@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize("chunks", [[cicp(12, 13)], [cicp(12, 2)], [CHROMATICITIES]])
def test_p3_by_numbers_equals_p3_by_profile(chunks, scale):
    stored = MUTED.astype(np.uint8 if scale == 1 else np.uint16) * scale
    picture = decode_image(png(stored, before=chunks))
    expected = decode_image(png(stored, before=[iccp(P3)]))
    assert np.abs(picture.pixels.astype(int) - expected.pixels).max() <= scale
    kept = picture.extras.icc_profile
    np.testing.assert_allclose(from_srgb(picture.pixels, kept), stored.astype(int), atol=2 * scale)
    assert b"iCCP" in encode_png(picture)


def test_a_png_of_narrow_range_is_refused():
    with pytest.raises(UnsupportedImage, match="full range. Received: PNG of narrow range"):
        decode_image(png(GREY, before=[cicp(1, 13, is_full=0)]))


def avif(pixels, bits=None, **colour):
    return imagecodecs.avif_encode(np.ascontiguousarray(pixels), 100, bitspersample=bits, **colour)


def heic(pixels, mode, **colour):
    """Return a HEIC; levels of 16 bits are stored with 10."""
    names = ("color_primaries", "transfer_characteristics", "matrix_coefficients")
    options = dict(zip(names, colour.values(), strict=True)) if colour else {}
    file = io.BytesIO()
    size = pixels.shape[1::-1]
    data = np.ascontiguousarray(pixels).tobytes()
    full = {"full_range_flag": 1, "quality": -1, "chroma": 444}
    pillow_heif.encode(mode, size, data, file, **full, **options)
    return file.getvalue()


@pytest.mark.parametrize("primaries", [1, 9, 12])
@pytest.mark.parametrize("write", [avif, lambda pixels, **c: heic(pixels, "RGB", **c)])
def test_primaries_of_avif_and_heic_are_obeyed(write, primaries):
    data = write(SMOOTH, primaries=primaries, transfer=13, matrix=1)
    expected = decode_image(png(SMOOTH, before=[cicp(primaries, 13)])).pixels.astype(int)
    np.testing.assert_allclose(decode_image(data).pixels, expected, atol=3)
    assert (np.abs(expected - SMOOTH).max() > 4) == (primaries != 1)


LEVELS_10 = np.linspace(0, 1023, 24 * 32).reshape(24, 32).astype(np.uint16)
DEEP = np.stack([LEVELS_10, LEVELS_10[::-1], LEVELS_10[:, ::-1]], axis=-1)
OPACITY = np.full((24, 32, 1), 700, np.uint16)


def expanded(levels):
    return np.rint(levels / 1023 * 65535)


DEEP_FILES = {
    "AVIF": (lambda: avif(DEEP, 10), DEEP, 3),
    "AVIF of 12 bits": (lambda: avif(DEEP * 4, 12), DEEP * (4 * 1023 / 4095), 3),
    "grey AVIF": (lambda: avif(LEVELS_10, 10), LEVELS_10[..., None], 1),
    "AVIF with alpha": (lambda: avif(np.dstack([DEEP, OPACITY]), 10), DEEP, 4),
    "HEIC": (lambda: heic(DEEP << 6, "RGB;16"), DEEP, 3),
    "grey HEIC": (lambda: heic(LEVELS_10 << 6, "I;16"), LEVELS_10[..., None], 1),
    "HEIC with alpha": (lambda: heic(np.dstack([DEEP, OPACITY]) << 6, "RGBA;16"), DEEP, 4),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_avif_and_heic_of_more_than_8_bits_keep_them(name):
    make, levels, channels = DEEP_FILES[name]
    data = make()
    header = read_header(io.BytesIO(data))
    picture = decode_image(data)
    assert (header.bits, header.channels) == (picture.bits, picture.channels) == (16, channels)
    assert np.abs(picture.pixels - expanded(levels)).max() <= 66  # one level of 10 bits
    if channels == 4:
        np.testing.assert_allclose(picture.alpha, expanded(700), atol=1)


def test_avif_and_heic_of_8_bits_keep_8():
    for data in (avif(SMOOTH), heic(SMOOTH, "RGB")):
        assert read_header(io.BytesIO(data)).bits == decode_image(data).bits == 8


def test_the_boxes_of_an_avif_tell_depth_and_colours():
    info = read_avif_info(avif(DEEP, 10, primaries=9, transfer=16, matrix=9))
    assert info["bit_depth"] == 10
    assert list(info["nclx_profile"].values()) == [9, 16, 9]
    assert "nclx_profile" not in read_avif_info(b"")


def test_damaged_boxes_tell_what_they_can():
    data = avif(DEEP, 10, primaries=9, transfer=16, matrix=9)
    end = data.index(b"mdat")
    for position in range(end):
        for value in (0, 0xFF):
            damaged = data[:position] + bytes([value]) + data[position + 1 :]
            assert read_avif_info(damaged)["bit_depth"] in range(256)
        assert read_avif_info(data[:position])["bit_depth"] in (8, 10)


def test_white_stays_white_whatever_the_primaries():
    for number in PRIMARIES:
        np.testing.assert_allclose(np.sum(matrix_to_srgb(number), axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("values", [(0,) * 8, (31270, 32900, *[33333] * 6), (2**32 - 1,) * 8])
def test_impossible_chromaticities_are_ignored(values):
    data = png(GREY, before=[(b"cHRM", struct.pack(">8I", *values))])
    np.testing.assert_allclose(decode_image(data).pixels, 128, atol=1)


def test_a_chunk_after_the_pixels_does_not_count():
    data = png(GREY, after=[gamma(100_000)])
    assert (decode_image(data).pixels == 128).all()
    assert chunk(*gamma(100_000)) in data
