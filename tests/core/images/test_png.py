import io
import struct
import tracemalloc
import weakref
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from core.images import encode_png, png
from core.images.png import PngChunk, PngLayout, encode_png_rows, extra_chunks, text_chunk
from core.picture import Extras, Picture
from tests.support.stand_ins import noise

EXIF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"  # of no entries
XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>Zürich</x:xmpmeta>".encode()
SIZES = [(1, 1), (1, 7), (7, 1), (2, 3), (37, 53)]


def gradient(height, width, channels):
    levels = np.add.outer(3 * np.arange(height), 5 * np.arange(width))
    return np.stack([levels * (1 + c) for c in range(channels)], axis=2).astype(np.uint8)


def flat(height, width, channels):
    return np.full((height, width, channels), 200, np.uint8)


def cut(pixels, rows):
    return [pixels[top : top + rows] for top in range(0, len(pixels), rows)]


def parts_of(pixels, rows, **kwargs):
    layout = PngLayout(*pixels.shape, bits=8 * pixels.itemsize)
    return encode_png_rows(iter(cut(pixels, rows)), layout, **kwargs)


def encode(pixels, rows=16, **kwargs):
    return b"".join(parts_of(pixels, rows, **kwargs))


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def chunks_of(data):
    """Yield kind, body and checksum of each chunk."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    start = 8
    while start < len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        body = data[start + 8 : start + 8 + length]
        yield kind, body, struct.unpack_from(">I", data, start + 8 + length)[0]
        start += 12 + length


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("drawn", [noise, gradient, flat])
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_pillow_reads_every_layout(drawn, height, width, channels, rows):
    pixels = drawn(height, width, channels)
    decoded = decode(encode(pixels, rows)).reshape(pixels.shape)
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_all_16_bits_are_written(height, width, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (height, width, channels), np.uint16)
    decoded = imagecodecs.png_decode(encode(pixels, 5)).reshape(pixels.shape)
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("seed", range(20))
def test_any_size_is_encoded_from_strips_of_any_height(seed, monkeypatch):
    random = np.random.default_rng(seed)
    height, width, channels, blur = random.integers([1, 1, 3, 1], [90, 120, 5, 9])
    monkeypatch.setattr(png, "BLOCK_BYTES", int(random.integers(1, 5000)))
    grain = noise(height, width, channels, seed=seed)
    smooth = np.cumsum(grain // (10 * blur), axis=1).astype(np.uint8)
    pixels = np.where(random.random((height, 1, 1)) < 0.5, grain, smooth)
    edges = np.sort(random.integers(0, height + 1, random.integers(0, 9)))
    strips = np.split(pixels, edges)  # some of them without rows
    parts = encode_png_rows(strips, PngLayout(height, width, channels))
    np.testing.assert_array_equal(decode(b"".join(parts)), pixels)


def test_strips_may_be_strided_views():
    pixels = noise(40, 60, 4)[::2, ::-3, :3]
    np.testing.assert_array_equal(decode(encode(pixels)), pixels)


@pytest.mark.parametrize("levels", [(0, 255), (0, 1, 127, 128, 254, 255)])
def test_the_paeth_prediction_follows_the_specification(levels):
    left, above, corner = (grid.ravel() for grid in np.meshgrid(levels, levels, levels))
    framed = np.zeros((2, 2 * len(left), 1), np.uint8)
    framed[0, 0::2, 0], framed[0, 1::2, 0], framed[1, 0::2, 0] = corner, above, left
    # The private function takes all combinations at once; whole pictures would take hours.
    residual = png._subtract_paeth(framed)[0, 1::2]
    expected = [
        -paeth(*(int(level) for level in levels)) % 256
        for levels in zip(left, above, corner, strict=True)
    ]
    np.testing.assert_array_equal(residual, expected)


def paeth(left, above, corner):
    """Follow PNG, third edition, section 9.4, word by word."""
    estimate = left + above - corner
    distances = [abs(estimate - level) for level in (left, above, corner)]
    return (left, above, corner)[distances.index(min(distances))]


@pytest.mark.parametrize("channels", [3, 4])
def test_every_chunk_has_a_valid_checksum(channels):
    data = encode(noise(300, 200, channels))
    chunks = list(chunks_of(data))
    assert all(zlib.crc32(kind + body) == checksum for kind, body, checksum in chunks)
    kinds = [kind for kind, _, _ in chunks]
    assert kinds == [b"IHDR", *[b"IDAT"] * (len(kinds) - 2), b"IEND"]
    assert all(body for kind, body, _ in chunks if kind == b"IDAT")
    Image.open(io.BytesIO(data)).verify()


def test_the_pixels_are_one_complete_zlib_stream():
    data = encode(noise(300, 200))
    stream = zlib.decompressobj()
    rows = stream.decompress(b"".join(body for kind, body, _ in chunks_of(data) if kind == b"IDAT"))
    assert (len(rows), stream.eof, stream.unused_data) == (300 * (1 + 200 * 3), True, b"")


def test_chunks_may_come_before_and_after_the_pixels():
    said = [PngChunk(b"tEXt", b"Author\0me")]
    counted = []

    def strips():
        yield noise(5, 7)
        counted.append(text_chunk("Rows", "5"))

    parts = encode_png_rows(strips(), PngLayout(5, 7, 3), opening=said, closing=lambda: counted)
    data = b"".join(parts)
    kinds = [kind for kind, _, _ in chunks_of(data)]
    assert kinds == [b"IHDR", b"tEXt", b"IDAT", b"tEXt", b"IEND"]
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.info == {"Author": "me", "Rows": "5"}


def test_no_chunk_is_written_that_was_not_requested():
    assert Image.open(io.BytesIO(encode(noise(5, 7)))).info == {}


def test_a_smooth_picture_is_smaller_than_imagecodecs_png():
    smooth = np.asarray(Image.fromarray(noise(40, 60)).resize((480, 320), Image.Resampling.BICUBIC))
    assert len(encode(smooth)) < len(encode_png(Picture(smooth)))


def test_the_header_is_yielded_before_the_first_strip_is_requested():
    parts = encode_png_rows(never(), PngLayout(5, 7, 3))
    assert next(parts).startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")


def never():
    raise AssertionError("requested a strip")
    yield


def test_the_header_can_wait_for_the_first_rows():
    pixels = noise(300, 200)
    parts = list(parts_of(pixels, 16, holds_header=True))
    assert [kind for kind, _, _ in chunks_of(parts[0])] == [b"IHDR", b"IDAT"]
    assert b"".join(parts) == encode(pixels)


def test_an_error_in_the_first_strip_comes_before_a_header_that_waits():
    parts = encode_png_rows(never(), PngLayout(5, 7, 3), holds_header=True)
    with pytest.raises(AssertionError, match="requested a strip"):
        next(parts)


def test_a_strip_is_yielded_before_the_next_one_is_requested():
    strip_bytes = 200 * 600 * 3
    may_be_held_back = 2**17  # by the compressor, until it closes a block; noise does not shrink
    sent = []

    def strips():
        for strip in cut(noise(800, 600), 200):
            sent.append(len(out))
            yield strip

    out = bytearray()
    for part in encode_png_rows(strips(), PngLayout(800, 600, 3)):
        out += part
    expected = [strip_bytes * done - may_be_held_back for done in range(4)]
    assert all(np.greater(sent, expected))


def test_the_encoder_never_holds_the_whole_picture():
    height, width, rows = 4000, 4000, 100
    strip_bytes = rows * width * 3

    def strips():
        for level in range(height // rows):
            yield np.full((rows, width, 3), level, np.uint8)

    tracemalloc.start()
    try:
        for _ in encode_png_rows(strips(), PngLayout(height, width, 3)):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * strip_bytes + 10 * png.BLOCK_BYTES


def test_no_strip_is_held_while_the_next_one_is_made():
    strip = noise(3, 5)
    held = []

    def strips():
        for _ in range(2):
            made = strip.copy()
            alive = weakref.ref(made)
            yield made
            del made
            held.append(alive() is not None)

    for _ in encode_png_rows(strips(), PngLayout(6, 5, 3)):
        pass
    assert held == [False, False]


def test_closing_early_closes_the_strips():
    closed = []

    def strips():
        try:
            while True:
                yield noise(50, 300)
        finally:
            closed.append(True)

    parts = encode_png_rows(strips(), PngLayout(1000, 300, 3))
    assert len([next(parts) for _ in range(3)]) == 3
    parts.close()
    assert closed == [True]


def test_an_error_in_the_strips_is_propagated():
    def strips():
        yield noise(3, 5)
        raise RuntimeError("the network is gone")

    with pytest.raises(RuntimeError, match="the network is gone"):
        list(encode_png_rows(strips(), PngLayout(6, 5, 3)))


@pytest.mark.parametrize(
    ("strip", "received"),
    [
        (noise(4, 6), r"Received: \(4, 6, 3\) uint8"),
        (noise(4, 7, 4), r"Received: \(4, 7, 4\) uint8"),
        (noise(4, 7)[..., 0], r"Received: \(4, 7\) uint8"),
        (noise(4, 7) / 255, r"Received: \(4, 7, 3\) float64"),
    ],
)
def test_a_strip_of_another_shape_or_type_is_refused(strip, received):
    with pytest.raises(ValueError, match=r"`strips` must be \(h, 7, 3\) uint8. " + received):
        list(encode_png_rows([strip], PngLayout(4, 7, 3)))


def test_too_few_rows_are_refused_before_the_end_chunk():
    out = []
    with pytest.raises(ValueError, match="`strips` must have 9 rows in all. Received: 8"):
        out.extend(encode_png_rows(cut(noise(8, 7), 4), PngLayout(9, 7, 3)))
    assert b"IEND" not in b"".join(out)


def test_too_many_rows_are_refused():
    with pytest.raises(ValueError, match="must have 7 rows in all. Received: 8 or more"):
        list(encode_png_rows(cut(noise(12, 7), 4), PngLayout(7, 7, 3)))


@pytest.mark.parametrize("sizes", [{"height": 0}, {"width": 0}, {"width": 2**31}])
def test_an_invalid_size_is_refused(sizes):
    with pytest.raises(ValueError, match="`height` and `width` must be from 1 to 2147483647"):
        PngLayout(**({"height": 5, "width": 7, "channels": 3} | sizes))


@pytest.mark.parametrize(("channels", "bits"), [(0, 8), (5, 8), (3, 4), (3, 32)])
def test_unsupported_channels_and_bits_are_refused(channels, bits):
    with pytest.raises(ValueError, match=f"Received: channels={channels}, bits={bits}"):
        PngLayout(5, 7, channels, bits)


def image_with(extras):
    opening = extra_chunks(extras)
    data = b"".join(encode_png_rows([noise(3, 4)], PngLayout(3, 4, 3), opening=opening))
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_pixels_without_a_profile_are_declared_as_srgb():
    assert image_with(Extras()).info == {"srgb": 0}


def test_pillow_reads_all_extras():
    profile = bytes(range(256)) * 3
    image = image_with(Extras(profile, (300.0, 150.0), EXIF, XMP))
    assert image.info["icc_profile"] == profile
    assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    assert image.info["exif"].removeprefix(b"Exif\0\0") == EXIF
    assert image.info["XML:com.adobe.xmp"].encode() == XMP
    assert "srgb" not in image.info


@pytest.mark.parametrize("dpi", [(1e12, 0.0), (0.001, 72.0)])
def test_an_extreme_density_is_clamped(dpi):
    assert np.isfinite(image_with(Extras(dpi=dpi)).info["dpi"]).all()
