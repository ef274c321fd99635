import io
import logging
import time

import numpy as np
import pytest
from PIL import Image

from core.errors import (
    ImageTooLarge,
    TooMuchMemory,
    UnreadableClip,
    UnreadableImage,
    UnsupportedImage,
)
from core.images import PILLOW_FORMATS, Limits, decode_image, read_header
from core.picture import Header
from core.sandbox import decoder as module
from core.sandbox.decoder import InProcessDecoder, SandboxedDecoder, decoding_bytes, read_one
from tests.support import hostile, streams
from tests.support.picture_files import encoded, png, png_of_rows, tiff
from tests.support.stand_ins import noise

LIMITS = Limits(max_pixels=4_000_000, max_side=16_000)
MEMORY_BYTES = decoding_bytes(LIMITS.max_pixels)

SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6


@pytest.fixture(scope="module")
def decoders():
    decoders = SandboxedDecoder(2, memory_bytes=MEMORY_BYTES, wall_s=20)
    yield decoders
    decoders.close()


@pytest.fixture
def hostile_decoders():
    made = []

    def hostile_decoders(wall_s=20, **functions):
        made.append(SandboxedDecoder(1, memory_bytes=MEMORY_BYTES, wall_s=wall_s, **functions))
        return made[-1]

    yield hostile_decoders
    for decoders in made:
        decoders.close()


@pytest.mark.parametrize("file_format", PILLOW_FORMATS)
def test_a_picture_is_the_same_as_if_it_were_decoded_here(decoders, file_format):
    file = io.BytesIO(encoded(noise(21, 34), file_format))
    assert decoders.read_header(file, LIMITS) == read_header(file, LIMITS)
    there = decoders.decode(file, LIMITS)
    file.seek(0)
    here = InProcessDecoder().decode(file, LIMITS)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert there.extras == here.extras


def test_alpha_arrives(decoders):
    rgba = noise(5, 7, 4)
    picture = decoders.decode(io.BytesIO(encoded(rgba)), LIMITS)
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])


def test_grey_takes_one_byte_for_each_pixel(decoders):
    grey = noise(5, 7, 1)
    picture = decoders.decode(io.BytesIO(encoded(grey[..., 0])), LIMITS)
    np.testing.assert_array_equal(picture.pixels, np.repeat(grey, 3, axis=2))
    assert picture.pixels.strides == (7, 1, 0)


def gradient(channels, dtype=np.uint8):
    """Return 2.4 megapixels that files of few bytes hold."""
    levels = np.add.outer(np.arange(1200), np.arange(2000)) * (np.iinfo(dtype).max // 3300)
    return np.repeat(levels.astype(dtype)[..., None], channels, axis=2)


LARGE = {
    "JPEG": lambda: encoded(gradient(3), "JPEG"),
    "JPEG, progressive": lambda: encoded(gradient(3), "JPEG", progressive=True, subsampling=0),
    "JPEG, CMYK": lambda: encoded(Image.fromarray(gradient(3)).convert("CMYK"), "JPEG"),
    "PNG": lambda: encoded(gradient(3)),
    "PNG with alpha": lambda: encoded(gradient(4)),
    "PNG, grey with alpha": lambda: encoded(gradient(2)),
    "PNG of 16 bits": lambda: png(gradient(4, np.uint16)),
    "WebP": lambda: encoded(gradient(4), "WEBP"),
    "TIFF": lambda: encoded(gradient(3), "TIFF", compression="tiff_lzw", exif=SIDEWAYS),
    "TIFF of 16 bits": lambda: tiff(gradient(3, np.uint16)),
    "AVIF": lambda: encoded(gradient(4), "AVIF", speed=10, subsampling="4:4:4"),
    "HEIC": lambda: encoded(gradient(4), "HEIF", chroma=444),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_decoder_needs_no_more_memory_than_the_header_announces(name):
    file = io.BytesIO(LARGE[name]())
    header = read_header(file)
    assert header.decoder_bytes < 80_000_000 + file.seek(0, io.SEEK_END)
    decoders = SandboxedDecoder(1, memory_bytes=header.decoder_bytes, wall_s=60)
    try:
        assert decoders.decode(file, LIMITS, header).width == header.width
    finally:
        decoders.close()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"Hello", UnreadableImage, "5 bytes that begin with"),
        (encoded(noise(40, 60))[:500], UnreadableImage, "undamaged"),
        (encoded(noise(1, 16_001)), ImageTooLarge, "16001 x 1"),
    ],
)
def test_a_refusal_has_the_same_message_as_in_process(decoders, data, error, message):
    with pytest.raises(error, match=message):
        decoders.decode(io.BytesIO(data), LIMITS)


def test_the_largest_picture_fits(decoders):
    rows = (b"\0" + bytes(8 * 2000)) * 2000  # four samples of 16 bits
    file = io.BytesIO(png_of_rows(2000, 2000, rows, bits=16, colour_type=6))
    assert decoders.read_header(file, LIMITS).height == 2000
    assert decoders.decode(file, LIMITS).pixels.shape == (2000, 2000, 3)


def test_a_header_that_announces_too_much_costs_nothing(decoders):
    bomb = io.BytesIO(png_of_rows(60_000, 60_000, bytes(15_000_000)))
    decoders.read_header(io.BytesIO(encoded(noise(2, 3))), LIMITS)
    began = time.perf_counter()
    with pytest.raises(ImageTooLarge, match="3600000000 pixels"):
        decoders.read_header(bomb, LIMITS)
    assert time.perf_counter() - began < 0.5


def test_a_file_that_crashes_its_decoder_is_refused(hostile_decoders, caplog):
    decoders = hostile_decoders(decode=hostile.segfault_if_told_so)
    with pytest.raises(UnreadableImage, match=r"survives\. Received: .* twice .SIGSEGV"):
        decoders.decode(io.BytesIO(b"BOOM"), LIMITS)
    assert caplog.records[0].levelno == logging.WARNING
    assert decoders.decode(io.BytesIO(encoded(noise(2, 3))), LIMITS).width == 3


def test_a_header_that_takes_too_long_is_refused(hostile_decoders):
    decoders = hostile_decoders(read_header=hostile.compute)
    with pytest.raises(UnreadableImage, match="within 10 s, of which 1 s"):
        decoders.read_header(io.BytesIO(), LIMITS)


def test_a_picture_that_takes_too_long_is_refused(hostile_decoders):
    decoders = hostile_decoders(wall_s=0.5, decode=hostile.sleep)
    with pytest.raises(UnreadableImage, match=r"within 0\.5 s, .* takes longer"):
        decoders.decode(io.BytesIO(), LIMITS)


def test_a_picture_that_takes_too_much_memory_is_refused(hostile_decoders):
    decoders = hostile_decoders(decode=hostile.eat_memory)
    with pytest.raises(TooMuchMemory, match="at most 512 MB"):
        decoders.decode(io.BytesIO(), LIMITS)


def test_a_picture_may_not_take_much_more_memory_than_its_header_announces(hostile_decoders):
    decoders = hostile_decoders(decode=hostile.eat_memory)
    with pytest.raises(TooMuchMemory, match="at most 276 MB"):
        decoders.decode(io.BytesIO(), LIMITS, Header(2, 3, 3, decoder_bytes=10_000_000))


def test_a_picture_whose_rows_cannot_be_computed_is_refused(hostile_decoders):
    decoders = hostile_decoders(decode=hostile.decode_with_failing_rows)
    with pytest.raises(UnreadableImage, match=r"survives\. Received: .* twice .exit code 1"):
        decoders.decode(io.BytesIO(), LIMITS)


def test_a_large_picture_has_more_time(hostile_decoders):
    decoders = hostile_decoders(wall_s=0.1, decode=hostile.sleep)
    limits = Limits(80_000_000, 16_000)
    with pytest.raises(UnreadableImage, match=r"within 0\.5 s"):
        decoders.decode(io.BytesIO(), limits, Header(8000, 10_000, 3))


@pytest.mark.parametrize(
    "decode",
    [
        hostile.decode_without_channels,
        hostile.decode_more_than_allowed,
        hostile.decode_alpha_of_another_size,
        hostile.decode_with_negative_resolution,
        hostile.decode_with_huge_resolution,
        hostile.decode_with_quality_beyond_100,
    ],
)
def test_a_picture_that_no_decoder_returns_is_refused(hostile_decoders, decode):
    decoders = hostile_decoders(decode=decode)
    with pytest.raises(UnreadableImage, match="invalid answer"):
        decoders.decode(io.BytesIO(), LIMITS)


@pytest.mark.parametrize(
    "read_header",
    [
        hostile.read_header_without_pixels,
        hostile.read_header_of_nine_channels,
        hostile.read_header_of_twelve_bits,
    ],
)
def test_a_header_that_no_decoder_returns_is_refused(hostile_decoders, read_header):
    decoders = hostile_decoders(read_header=read_header)
    with pytest.raises(UnreadableImage, match="invalid answer"):
        decoders.read_header(io.BytesIO(), LIMITS)


@pytest.mark.parametrize(
    "header", [Header(3, 6, 3, 16), Header(5, 3, 3, 16), Header(6, 3, 3, 8), Header(6, 3, 1, 16)]
)
def test_a_picture_that_is_not_as_its_header_announces_is_refused(hostile_decoders, header):
    decoders = hostile_decoders(decode=hostile.decode_to_six_rows_of_16_bits)
    with pytest.raises(UnreadableImage, match="as its header announces"):
        decoders.decode(io.BytesIO(), LIMITS, header)
    assert decoders.decode(io.BytesIO(), LIMITS, Header(6, 3, 4, 16)).height == 6


def test_a_picture_that_is_not_as_its_header_announces_is_refused_in_this_process():
    file = io.BytesIO(encoded(noise(2, 3)))
    assert InProcessDecoder().decode(file, LIMITS, Header(2, 3, 3)).width == 3
    with pytest.raises(UnreadableImage, match="announces: 2 x 3 pixels.* Received: 3 x 2"):
        InProcessDecoder().decode(file, LIMITS, Header(3, 2, 3))


def test_a_picture_of_more_bytes_than_its_pixels_can_have_is_refused(hostile_decoders, monkeypatch):
    monkeypatch.setattr(module, "METADATA_BYTES", 0)
    decoders = hostile_decoders(decode=hostile.decode_to_six_rows_of_16_bits)
    with pytest.raises(UnreadableImage, match="108 bytes, more than 64"):
        decoders.decode(io.BytesIO(), LIMITS, Header(4, 2, 3))


def test_an_unsupported_kind_of_picture_is_refused(decoders):
    with pytest.raises(UnsupportedImage, match="32-bit"):
        decoders.decode(io.BytesIO(encoded(np.ones((9, 9), np.float32), "TIFF")), LIMITS)


def test_a_clip_whose_process_describes_nothing_is_refused():
    with pytest.raises(UnreadableClip, match="survives.*described nothing"):
        read_one(streams.count, (0,), 1000, int)


def test_start_returns_the_memory_of_the_processes():
    decoders = SandboxedDecoder(2, memory_bytes=MEMORY_BYTES, wall_s=20)
    assert 2 * 10_000_000 < decoders.start() < 2 * 300_000_000
    decoders.close()


def test_the_in_process_decoder_needs_no_memory_and_no_end():
    decoder = InProcessDecoder()
    assert decoder.start() == 0
    decoder.close()
    assert decoder.read_header(io.BytesIO(encoded(noise(2, 3))), LIMITS).width == 3


def test_the_file_can_be_read_again(decoders):
    file = io.BytesIO(encoded(noise(2, 3)))
    file.seek(7)
    decoders.read_header(file, LIMITS)
    assert file.tell() == 0
    assert decode_image(file).width == 3
