import io
import struct

import pytest
from PIL import Image

from core.errors import ImageTooLarge
from core.images import Limits, decode_image, read_header
from core.images.header import percent_from_quality, quality_from_percent
from tests.support.picture_files import encoded, gif_of_frames, tiff
from tests.support.stand_ins import noise


def frames_of(data, max_frames=None):
    limits = None if max_frames is None else Limits(10_000, 1000, max_frames)
    return read_header(io.BytesIO(data), limits).frames


def big_tiff(pages):
    """Return a BigTIFF of empty pages; Pillow can open the first one."""
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 279: 1}
    entries = b"".join(struct.pack("<HHQQ", tag, 3, 1, value) for tag, value in tags.items())
    length = 8 + len(entries) + 8
    data = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16)
    for page in range(pages):
        following = 16 + (page + 1) * length if page + 1 < pages else 0
        data += struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", following)
    return data


@pytest.mark.parametrize("count", [1, 2, 7])
def test_frames_of_a_gif_are_counted(count):
    assert frames_of(gif_of_frames(count)) == count


def test_frames_are_counted_past_palettes_and_comments():
    file = io.BytesIO()
    frames = [Image.fromarray(noise(20, 30, seed=i)) for i in range(4)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], comment=b"a" * 600)
    assert frames_of(file.getvalue()) == Image.open(file).n_frames == 4


@pytest.mark.parametrize("count", [1, 2, 5])
def test_pages_of_a_big_tiff_are_counted(count):
    assert frames_of(big_tiff(count)) == count


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_page_beyond_the_end_of_the_file_is_not_counted(order):
    assert frames_of(tiff(noise(5, 7), order, next_offset=10**9)) == 1


def test_the_limit_on_frames_is_inclusive():
    assert frames_of(gif_of_frames(7), max_frames=7) == 7
    with pytest.raises(ImageTooLarge, match="at most 6 frames. Received: more"):
        frames_of(gif_of_frames(7), max_frames=6)


def test_more_than_a_thousand_frames_count_as_unknown_without_a_limit():
    assert frames_of(gif_of_frames(1000)) == 1000
    assert frames_of(gif_of_frames(1001)) == 0


def quality_of(data):
    return decode_image(data).extras.jpeg_quality


@pytest.mark.parametrize("quality", [25, 30, 50, 75, 90, 95, 99, 100])
@pytest.mark.parametrize("kind", ["colour", "grey", "CMYK"])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(kind, quality):
    picture = {
        "colour": Image.fromarray(noise(20, 30)),
        "grey": Image.fromarray(noise(20, 30)[..., 0]),
        "CMYK": Image.fromarray(noise(20, 30)).convert("CMYK"),
    }[kind]
    assert quality_of(encoded(picture, "JPEG", quality=quality)) == pytest.approx(quality, abs=1)


@pytest.mark.parametrize(("step", "quality"), [(1, 99), (2, 98), (255, 11)])
def test_the_quality_of_equal_steps_is_that_of_their_mean(step, quality):
    data = encoded(noise(20, 30), "JPEG", qtables=[[step] * 64, [1] * 64])
    assert quality_of(data) == pytest.approx(quality, abs=1)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_only_a_jpeg_has_a_quality(file_format):
    assert quality_of(encoded(noise(20, 30), file_format)) is None


@pytest.mark.parametrize("quality", [1, 25, 50, 51, 75, 99, 100])
def test_sizes_of_steps_and_qualities_are_converted_both_ways(quality):
    assert quality_from_percent(percent_from_quality(quality)) == quality


@pytest.mark.parametrize(("percent", "quality"), [(0, 100), (10_000, 1)])
def test_a_quality_is_limited_to_its_range(percent, quality):
    assert quality_from_percent(percent) == quality
