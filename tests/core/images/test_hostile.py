"""Damaged and malicious files are decoded, or refused with an error of `core.errors`."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import ImageTooLarge, SuperResolutionError, TooMuchMemory, UnreadableImage
from core.images import Limits, decode_image, read_header
from core.images.samples import Samples
from core.picture import PixelRows
from tests.support.picture_files import (
    PNG_SIGNATURE,
    Tag,
    chunk,
    display_p3,
    encoded,
    gif_of_frames,
    png,
    tiff,
)
from tests.support.stand_ins import noise

RGB = noise(5, 7)
SMALL = noise(12, 18)
SMALL_DEEP = SMALL.astype(np.uint16) * 257
LIMITS = Limits(max_pixels=10_000, max_side=1000, max_frames=10)

pytestmark = pytest.mark.filterwarnings("ignore")  # the service does not raise warnings either


def exif():
    tags = Image.Exif()
    tags[0x0112], tags[0x010F], tags[0x011A] = 6, "Maker", 72.0
    tags[0x8769] = {0x9003: "2026:01:02 03:04:05"}
    return tags.tobytes()


EVERYTHING = {"exif": exif(), "icc_profile": display_p3()}
ALPHA = np.dstack([SMALL, SMALL[..., 0]])
FILES = {
    "PNG": encoded(ALPHA, "PNG", **EVERYTHING),
    "PNG of 16 bits": png(SMALL_DEEP, before=[(b"tRNS", bytes(6))]),
    "APNG": encoded(SMALL, "PNG", save_all=True, append_images=[Image.fromarray(SMALL[::-1])]),
    "JPEG": encoded(SMALL, "JPEG", **EVERYTHING),
    "JPEG, progressive": encoded(SMALL, "JPEG", progressive=True),
    "MPO": encoded(SMALL, "MPO", save_all=True, append_images=[Image.fromarray(SMALL)]),
    "WebP": encoded(ALPHA, "WEBP", **EVERYTHING),
    "TIFF": encoded(SMALL, "TIFF", **EVERYTHING),
    "TIFF, LZW": encoded(ALPHA, "TIFF", compression="tiff_lzw"),
    "TIFF of 16 bits": tiff(SMALL_DEEP, extras=[], tags=[Tag(274, [6])]),
    "TIFF of 16-bit planes": tiff(np.dstack([SMALL_DEEP, SMALL_DEEP[..., :1]]), ">", planar=2),
    "BMP": encoded(SMALL, "BMP"),
    "GIF": encoded(SMALL[..., 0], "GIF", save_all=True, append_images=[Image.fromarray(SMALL)]),
    "AVIF": encoded(ALPHA, "AVIF", **EVERYTHING),
    "HEIC": encoded(ALPHA, "HEIF", **EVERYTHING),
}


def assert_decoded_or_refused(data):
    """Read the header and the picture; allow only errors that say what was received."""
    for read in (lambda: read_header(io.BytesIO(data), LIMITS), lambda: decode_image(data, LIMITS)):
        try:
            read()
        except SuperResolutionError as error:
            assert "Received" in str(error)


@pytest.mark.parametrize("name", FILES)
def test_the_sample_files_can_be_decoded_before_they_are_damaged(name):
    assert decode_image(FILES[name], LIMITS).pixels.size == SMALL.size


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_decoded_or_refused_with_a_named_error(name):
    data = FILES[name]
    for length in range(0, len(data), 1 + len(data) // 60):
        assert_decoded_or_refused(data[:length])


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"GIF", "APNG", "MPO"}))
def test_a_file_without_its_second_half_is_refused(name):
    with pytest.raises(UnreadableImage):
        decode_image(FILES[name][: len(FILES[name]) // 2])


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
@pytest.mark.parametrize("name", FILES)
def test_a_corrupted_file_is_decoded_or_refused_with_a_named_error(name, data):
    changed = bytearray(FILES[name])
    near_the_head = st.integers(0, min(400, len(changed) - 1))
    anywhere = st.integers(0, len(changed) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(near_the_head | anywhere)] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(changed)) | st.integers(0, len(changed)))
    assert_decoded_or_refused(bytes(changed[:end]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from([data[:16] for data in FILES.values()]),
    st.binary(max_size=300),
)
def test_a_valid_start_with_random_bytes_raises_only_named_errors(head, rest):
    assert_decoded_or_refused(head + rest)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (10_000, 10_000), (1, 100_000)])
def test_a_picture_is_refused_by_the_size_in_its_header(width, height):
    data = png(RGB, size=(height, width))
    for read in (decode_image, lambda data, limits: read_header(io.BytesIO(data), limits)):
        with pytest.raises(ImageTooLarge, match="at most 10000 pixels") as caught:
            read(data, LIMITS)
        assert f"{width * height}" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        lambda: png(RGB, size=(100, 100)),
        lambda: tiff(RGB, tags=[Tag(256, [100]), Tag(257, [100])]),
        lambda: tiff(RGB.astype(np.uint16), tags=[Tag(256, [100]), Tag(257, [100])]),
        lambda: png(RGB.astype(np.uint16), size=(100, 100)),
    ],
)
def test_a_header_larger_than_its_pixels_is_refused(data):
    with pytest.raises(UnreadableImage):
        decode_image(data(), LIMITS)


def test_too_many_pixels_are_refused_with_the_limit_and_the_size():
    with pytest.raises(ImageTooLarge, match="at most 34 pixels. Received: 7 x 5 = 35 pixels"):
        decode_image(encoded(RGB, "PNG"), Limits(max_pixels=34, max_side=100))


def test_too_long_a_side_is_refused_with_the_limit_and_the_size():
    with pytest.raises(ImageTooLarge, match="at most 6 pixels wide and high. Received: 7 x 5"):
        decode_image(encoded(RGB, "PNG"), Limits(max_pixels=1000, max_side=6))


def test_pixels_beyond_the_size_in_the_header_are_refused(monkeypatch):
    large = Samples("RGB", PixelRows.of(np.zeros((200, 100, 3), np.uint8)), None)
    monkeypatch.setattr("core.images.decode.read_samples", lambda *_: large)
    with pytest.raises(ImageTooLarge, match="Received: 100 x 200 = 20000 pixels"):
        decode_image(png(RGB), LIMITS)


def test_limits_are_inclusive():
    assert decode_image(encoded(RGB, "PNG"), Limits(max_pixels=35, max_side=7)).width == 7


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_chunk_that_inflates_to_100_megabytes_is_refused_in_little_memory(kind):
    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    head = {b"zTXt": b"Text\0\0", b"iTXt": b"Text\0\1\0\0\0", b"iCCP": b"Profile\0\0"}[kind]
    data = png(RGB, before=[(kind, head + packed)])
    tracemalloc.start()
    with pytest.raises(UnreadableImage):
        decode_image(data, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_many_long_text_chunks_are_refused():
    text = (b"zTXt", b"Text\0\0" + zlib.compress(bytes(1_000_000)))
    with pytest.raises(UnreadableImage):
        decode_image(png(RGB, before=[text] * 100), LIMITS)


@pytest.mark.parametrize("keyword", [b"dpi", b"icc_profile", b"transparency", b"exif", b"xmp"])
def test_a_text_chunk_named_like_a_field_of_pillow_is_harmless(keyword):
    data = png(RGB, before=[(b"tEXt", keyword + b"\0nonsense")])
    assert_decoded_or_refused(data)


def test_a_tiff_whose_pages_form_a_loop_is_counted_once():
    data = tiff(RGB, next_offset=8)
    assert read_header(io.BytesIO(data), LIMITS).frames == 1


def test_a_tiff_with_huge_tiles_is_refused():
    data = tiff(RGB, tags=[Tag(322, [60_000]), Tag(323, [60_000])])
    with pytest.raises(UnreadableImage, match="tiles of 3600000000 pixels"):
        decode_image(data, LIMITS)


def test_a_tiff_with_many_layers_is_refused():
    with pytest.raises(UnreadableImage, match="60000 layers"):
        decode_image(tiff(RGB, tags=[Tag(32997, [60_000])]), LIMITS)


def test_a_gif_of_a_million_frames_is_refused_within_a_second():
    data = gif_of_frames(1_000_000)
    start = time.process_time()
    with pytest.raises(ImageTooLarge, match="at most 10 frames"):
        read_header(io.BytesIO(data), LIMITS)
    assert time.process_time() - start < 1


def test_an_apng_with_a_billion_frames_in_its_header_is_refused():
    animation = struct.pack(">II", 10**9, 0)
    with pytest.raises(ImageTooLarge, match="at most 10 frames"):
        decode_image(png(RGB, before=[(b"acTL", animation)]), LIMITS)


def test_a_png_of_text_chunks_alone_is_refused():
    endless = PNG_SIGNATURE + chunk(b"tEXt", b"a\0b") * 1000
    with pytest.raises(UnreadableImage):
        decode_image(endless)


def test_a_memory_error_becomes_too_much_memory(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("core.images.decode.to_srgb", fail)
    with pytest.raises(TooMuchMemory, match="needs more"):
        decode_image(encoded(RGB, "PNG"))
