"""What is seen of a GIF, block by block."""

import io

import numpy as np
import pytest

from core.animation import read_animation, read_animation_header
from core.errors import ImageTooLarge, UnreadableImage
from core.images import Limits
from core.media.medium import ClipLimits
from tests.support.animations import (
    BACKGROUND,
    BLACK,
    GREEN,
    KEEP,
    PALETTE,
    PREVIOUS,
    RED,
    WHITE,
    comment,
    control,
    gif,
    image,
    loops,
    sub_blocks,
)

LIMITS = ClipLimits(Limits(1000, 100, 20), 30)
CLEAR = None
SQUARE = (2, 2)


def read(data, limits=LIMITS):
    return read_animation(io.BytesIO(data), limits)


def seen(reel):
    """Of each frame, the palette's index of each pixel; CLEAR where nothing is seen."""
    return [_indices(frame.picture) for frame in reel.frames()]


def _indices(picture):
    height, width = picture.pixels.shape[:2]
    alpha = np.full((height, width), 255) if picture.alpha is None else picture.alpha
    return [
        [PALETTE.index(tuple(picture.pixels[y, x])) if alpha[y, x] else CLEAR for x in range(width)]
        for y in range(height)
    ]


def full(colour):
    return image([[colour] * 2] * 2)


def test_frames_have_their_times():
    blocks = [control(5), full(RED), control(7), full(GREEN), control(65535), full(WHITE)]
    frames = list(read(gif(loops(0), *blocks, size=SQUARE), None).frames())
    assert [(frame.start, frame.duration) for frame in frames] == [(0, 5), (5, 7), (12, 65535)]


def test_the_header_tells_all_that_is_known():
    data = gif(control(50), image([[RED] * 3] * 2), size=(2, 3))
    header = read_animation_header(io.BytesIO(data), LIMITS)
    assert (header.format, header.height, header.width, header.frames) == ("GIF", 2, 3, 1)
    assert header.seconds == 0.5 and header.time_base * 50 == header.seconds
    assert not header.has_alpha and header.damage is None


@pytest.mark.parametrize(
    ("blocks", "plays"),
    [
        ([], 1),
        ([loops(0)], 0),
        ([loops(1)], 2),
        ([loops(65535)], 65536),
        ([loops(0, b"ANIMEXTS1.0")], 0),
        ([loops(0, b"SOMETHING12")], 1),
    ],
)
def test_it_is_known_how_often_it_is_shown(blocks, plays):
    assert read(gif(*blocks, full(RED), size=SQUARE)).plays == plays


@pytest.mark.parametrize("disposal", [0, KEEP])
def test_images_stay(disposal):
    parts = [control(5, disposal), full(BLACK), control(5, disposal), image([[RED]], (1, 0))]
    assert seen(read(gif(*parts, size=SQUARE)))[1] == [[BLACK, RED], [BLACK, BLACK]]


def test_images_that_are_cleared_leave_nothing():
    parts = [control(5, BACKGROUND), image([[RED]], (0, 0)), control(5), image([[GREEN]], (1, 1))]
    assert seen(read(gif(*parts, size=SQUARE))) == [
        [[RED, CLEAR], [CLEAR, CLEAR]],
        [[CLEAR, CLEAR], [CLEAR, GREEN]],
    ]


@pytest.mark.parametrize("disposal", [PREVIOUS, 4])
def test_what_was_there_before_comes_back(disposal):
    parts = [control(5), full(WHITE)]
    for place in [(0, 0), (1, 1)]:
        parts += [control(5, disposal), image([[RED]], place)]
    assert seen(read(gif(*parts, size=SQUARE)))[1:] == [
        [[RED, WHITE], [WHITE, WHITE]],
        [[WHITE, WHITE], [WHITE, RED]],
    ]


def test_before_the_first_image_there_was_nothing():
    parts = [control(5, PREVIOUS), full(RED), control(5), image([[GREEN]])]
    assert seen(read(gif(*parts, size=SQUARE)))[1] == [[GREEN, CLEAR], [CLEAR, CLEAR]]


def test_transparent_pixels_leave_what_is_there():
    parts = [control(5), full(RED), control(5, transparent=BLACK), image([[BLACK, GREEN]] * 2)]
    reel = read(gif(*parts, size=SQUARE))
    assert seen(reel)[1] == [[RED, GREEN], [RED, GREEN]]
    assert not reel.has_alpha


def test_a_first_frame_can_be_transparent():
    reel = read(gif(control(5, transparent=RED), full(RED), control(5), full(WHITE), size=SQUARE))
    assert seen(reel) == [[[CLEAR] * 2] * 2, [[WHITE] * 2] * 2]
    assert reel.has_alpha


def test_a_later_word_about_an_image_replaces_an_earlier_one():
    parts = [control(5, transparent=RED), control(7), full(RED)]
    reel = read(gif(*parts, size=SQUARE))
    assert seen(reel) == [[[RED] * 2] * 2] and reel.durations == (7,)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((1, 1), [[CLEAR, CLEAR], [CLEAR, RED]]),
        ((2, 2), [[CLEAR] * 2] * 2),
        ((60000, 0), [[CLEAR] * 2] * 2),
    ],
)
def test_what_lies_outside_is_not_seen(place, expected):
    assert seen(read(gif(image([[RED] * 2] * 2, place), size=SQUARE))) == [expected]


def test_an_image_has_a_palette_of_its_own():
    mine = (*PALETTE[:2], (0, 255, 0), (255, 0, 0))
    assert seen(read(gif(image([[RED] * 2] * 2, palette=mine), size=SQUARE))) == [[[GREEN] * 2] * 2]


def test_there_need_be_no_palette_for_all():
    reel = read(gif(image([[RED]], palette=PALETTE), size=(1, 1), palette=()))
    assert seen(reel) == [[[RED]]]


def test_indices_beyond_the_palette_are_black():
    assert seen(read(gif(image([[RED]]), size=(1, 1), palette=PALETTE[:2]))) == [[[BLACK]]]


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 13])
def test_interlaced_rows_come_in_order(height):
    rows = np.random.default_rng(height).integers(0, 4, (height, 3)).tolist()
    data = gif(image(rows, interlaced=True), size=(height, 3))
    assert seen(read(data)) == [rows]


@pytest.mark.parametrize("bits", [2, 3, 5, 8, 11])
def test_codes_begin_with_any_number_of_bits(bits):
    rows = np.random.default_rng(bits).integers(0, 4, (9, 7)).tolist()
    assert seen(read(gif(image(rows, bits=bits), size=(9, 7)))) == [rows]


@pytest.mark.parametrize("bits", [0, 1, 12, 255])
def test_other_numbers_of_bits_are_refused(bits):
    data = gif(image([[RED]]), size=(1, 1))
    start = data.index(b"\x02\x02", 25)
    with pytest.raises(UnreadableImage, match=f"Received: {bits}"):
        read(data[:start] + bytes([bits]) + data[start + 1 :])


def test_pixels_that_are_missing_are_transparent():
    data = gif(image([[RED, GREEN, WHITE]], size=(2, 3)), size=(2, 3))
    assert seen(read(data)) == [[[RED, GREEN, WHITE], [CLEAR] * 3]]


def test_pixels_beyond_the_last_are_ignored():
    assert seen(read(gif(image([[RED] * 9] * 9, size=(1, 2)), size=(1, 2)))) == [[[RED, RED]]]


def test_other_blocks_are_passed_over():
    plain_text = b"\x21\x01" + sub_blocks(bytes(12)) + b""
    unknown = b"\x21\x2a" + sub_blocks(b"?" * 600)
    parts = [comment(b"\xff\0"), control(9), plain_text, unknown, b"\0\0", full(RED)]
    reel = read(gif(*parts, size=SQUARE))
    assert seen(reel) == [[[RED] * 2] * 2] and reel.durations == (9,)


class TestWithoutDelays:
    """Images without a delay are drawn together, unless the writer forgot all delays."""

    def test_they_make_one_picture(self):
        parts = [image([[RED]]), image([[GREEN]], (1, 0)), image([[WHITE] * 2], (0, 1))]
        assert seen(read(gif(*parts, size=SQUARE))) == [[[RED, GREEN], [WHITE, WHITE]]]

    def test_they_belong_to_the_next_that_has_one(self):
        parts = [control(5), full(BLACK), image([[RED]]), control(6), image([[GREEN]], (1, 0))]
        reel = read(gif(loops(0), *parts, size=SQUARE))
        assert reel.durations == (5, 6)
        assert seen(reel)[1] == [[RED, GREEN], [BLACK, BLACK]]

    def test_the_last_is_a_frame(self):
        reel = read(gif(control(5), full(RED), full(GREEN), size=SQUARE))
        assert reel.durations == (5, 0) and seen(reel)[1] == [[GREEN] * 2] * 2

    @pytest.mark.parametrize("said", [b"", control(0)])
    def test_each_is_a_frame_of_what_is_repeated(self, said):
        reel = read(gif(loops(0), said, full(RED), said, full(GREEN), size=SQUARE))
        assert reel.durations == (0, 0)
        assert seen(reel) == [[[RED] * 2] * 2, [[GREEN] * 2] * 2]

    def test_each_is_a_frame_where_no_delay_could_be_said(self):
        reel = read(gif(full(RED), full(GREEN), size=SQUARE, version=b"GIF87a"))
        assert reel.durations == (0, 0) and reel.plays == 0


class TestNothing:
    """Files that say nothing, or speak of nothing."""

    def test_a_file_without_an_image_is_transparent(self):
        reel = read(gif(size=SQUARE))
        assert seen(reel) == [[[CLEAR] * 2] * 2]
        assert reel.damage == "There is no image in the file."

    @pytest.mark.parametrize("size", [(0, 1), (1, 0), (0, 0)])
    def test_a_screen_has_a_size(self, size):
        with pytest.raises(UnreadableImage, match="must have a height and a width"):
            read(gif(size=size))

    @pytest.mark.parametrize("size", [(0, 1), (1, 0), (0, 0)])
    def test_an_image_without_a_size_draws_nothing(self, size):
        nothing = image([[RED]], size=size)
        assert seen(read(gif(control(5), nothing, full(RED), size=SQUARE)))[0] == [[CLEAR] * 2] * 2


class TestLimits:
    """Judged before anything of that size is made."""

    def test_pixels_of_the_screen(self):
        with pytest.raises(ImageTooLarge, match="Received: 65535 x 65535"):
            read(gif(size=(65535, 65535)))

    def test_pixels_of_an_image(self):
        with pytest.raises(ImageTooLarge, match="Received: 65535 x 65535"):
            read(gif(image([[RED]], size=(65535, 65535)), size=(1, 1)))

    def test_frames(self):
        blocks = [control(1), image([[RED]])] * 20
        assert len(read(gif(*blocks, size=(1, 1))).durations) == 20
        with pytest.raises(ImageTooLarge, match="at most 20 frames"):
            read(gif(*blocks, image([[RED]]), size=(1, 1)))

    def test_seconds(self):
        with pytest.raises(ImageTooLarge, match=r"at most 30 s. Received: 30.01 s"):
            read(gif(control(3001), image([[RED]]), size=(1, 1)))


class TestDamage:
    """Frames up to the damage, and a word about it."""

    def test_codes_that_cannot_be(self):
        broken = image([[RED] * 2] * 2)[:-4] + b"\xff\xff\xff\0"
        reel = read(gif(control(5), full(RED), control(5), broken, size=SQUARE))
        assert len(seen(reel)) == 1
        assert reel.damage.startswith("After frame 1 the file is damaged")

    def test_a_byte_that_begins_no_block(self):
        reel = read(gif(control(5), full(RED), b"?", control(5), full(RED), size=SQUARE))
        assert len(seen(reel)) == 1 and "no GIF any more" in reel.damage

    def test_a_file_without_its_end(self):
        reel = read(gif(full(RED), size=SQUARE, trailer=b""))
        assert seen(reel) == [[[RED] * 2] * 2] and reel.damage == "The file ends too early."
