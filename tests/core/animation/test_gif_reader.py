"""GIF files built block by block, and the frames that are read from them."""

import io

import numpy as np
import pytest

from core.animation import read_animation, read_animation_header
from core.animation.gif_reader import decode_indices
from core.animation.gif_writer import encode_indices
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


def shown_indices(animation):
    """Return the palette index of each pixel of each frame; CLEAR for transparent pixels."""
    return [_indices(frame.picture) for frame in animation.frames()]


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


def test_the_header_describes_the_animation():
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
def test_the_number_of_plays_is_read(blocks, plays):
    assert read(gif(*blocks, full(RED), size=SQUARE)).plays == plays


@pytest.mark.parametrize("disposal", [0, KEEP])
def test_kept_images_stay_visible(disposal):
    parts = [control(5, disposal), full(BLACK), control(5, disposal), image([[RED]], (1, 0))]
    assert shown_indices(read(gif(*parts, size=SQUARE)))[1] == [[BLACK, RED], [BLACK, BLACK]]


def test_cleared_images_leave_transparency():
    parts = [control(5, BACKGROUND), image([[RED]], (0, 0)), control(5), image([[GREEN]], (1, 1))]
    assert shown_indices(read(gif(*parts, size=SQUARE))) == [
        [[RED, CLEAR], [CLEAR, CLEAR]],
        [[CLEAR, CLEAR], [CLEAR, GREEN]],
    ]


@pytest.mark.parametrize("disposal", [PREVIOUS, 4])
def test_the_previous_pixels_are_restored(disposal):
    parts = [control(5), full(WHITE)]
    for position in [(0, 0), (1, 1)]:
        parts += [control(5, disposal), image([[RED]], position)]
    assert shown_indices(read(gif(*parts, size=SQUARE)))[1:] == [
        [[RED, WHITE], [WHITE, WHITE]],
        [[WHITE, WHITE], [WHITE, RED]],
    ]


def test_restoring_the_first_image_leaves_transparency():
    parts = [control(5, PREVIOUS), full(RED), control(5), image([[GREEN]])]
    assert shown_indices(read(gif(*parts, size=SQUARE)))[1] == [[GREEN, CLEAR], [CLEAR, CLEAR]]


def test_transparent_pixels_keep_the_canvas():
    parts = [control(5), full(RED), control(5, transparent=BLACK), image([[BLACK, GREEN]] * 2)]
    animation = read(gif(*parts, size=SQUARE))
    assert shown_indices(animation)[1] == [[RED, GREEN], [RED, GREEN]]
    assert not animation.has_alpha


def test_a_first_frame_can_be_transparent():
    animation = read(
        gif(control(5, transparent=RED), full(RED), control(5), full(WHITE), size=SQUARE)
    )
    assert shown_indices(animation) == [[[CLEAR] * 2] * 2, [[WHITE] * 2] * 2]
    assert animation.has_alpha


def test_the_last_graphic_control_before_an_image_counts():
    parts = [control(5, transparent=RED), control(7), full(RED)]
    animation = read(gif(*parts, size=SQUARE))
    assert shown_indices(animation) == [[[RED] * 2] * 2] and animation.durations == (7,)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ((1, 1), [[CLEAR, CLEAR], [CLEAR, RED]]),
        ((2, 2), [[CLEAR] * 2] * 2),
        ((60000, 0), [[CLEAR] * 2] * 2),
    ],
)
def test_pixels_outside_the_screen_are_dropped(position, expected):
    assert shown_indices(read(gif(image([[RED] * 2] * 2, position), size=SQUARE))) == [expected]


def test_an_image_can_have_a_local_palette():
    mine = (*PALETTE[:2], (0, 255, 0), (255, 0, 0))
    assert shown_indices(read(gif(image([[RED] * 2] * 2, palette=mine), size=SQUARE))) == [
        [[GREEN] * 2] * 2
    ]


def test_a_global_palette_is_optional():
    animation = read(gif(image([[RED]], palette=PALETTE), size=(1, 1), palette=()))
    assert shown_indices(animation) == [[[RED]]]


def test_indices_beyond_the_palette_are_black():
    assert shown_indices(read(gif(image([[RED]]), size=(1, 1), palette=PALETTE[:2]))) == [[[BLACK]]]


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 13])
def test_interlaced_rows_come_in_order(height):
    rows = np.random.default_rng(height).integers(0, 4, (height, 3)).tolist()
    data = gif(image(rows, interlaced=True), size=(height, 3))
    assert shown_indices(read(data)) == [rows]


@pytest.mark.parametrize("bits", [2, 3, 5, 8, 11])
def test_all_valid_code_sizes_are_decoded(bits):
    rows = np.random.default_rng(bits).integers(0, 4, (9, 7)).tolist()
    assert shown_indices(read(gif(image(rows, bits=bits), size=(9, 7)))) == [rows]


@pytest.mark.parametrize("bits", [0, 1, 12, 255])
def test_invalid_code_sizes_are_refused(bits):
    data = gif(image([[RED]]), size=(1, 1))
    start = data.index(b"\x02\x02", 25)
    with pytest.raises(UnreadableImage, match=f"Received: {bits}"):
        read(data[:start] + bytes([bits]) + data[start + 1 :])


def test_missing_pixels_are_transparent():
    data = gif(image([[RED, GREEN, WHITE]], size=(2, 3)), size=(2, 3))
    assert shown_indices(read(data)) == [[[RED, GREEN, WHITE], [CLEAR] * 3]]


def test_surplus_pixels_are_ignored():
    assert shown_indices(read(gif(image([[RED] * 9] * 9, size=(1, 2)), size=(1, 2)))) == [
        [[RED, RED]]
    ]


def test_other_blocks_are_skipped():
    plain_text = b"\x21\x01" + sub_blocks(bytes(12)) + b""
    unknown = b"\x21\x2a" + sub_blocks(b"?" * 600)
    parts = [comment(b"\xff\0"), control(9), plain_text, unknown, b"\0\0", full(RED)]
    animation = read(gif(*parts, size=SQUARE))
    assert shown_indices(animation) == [[[RED] * 2] * 2] and animation.durations == (9,)


class TestWithoutDelays:
    """Images without a delay are frames, as in browsers, or drawn together on request."""

    MIXED = gif(
        *(loops(0), control(5), full(BLACK), image([[RED]])),
        *(control(6), image([[GREEN]], (1, 0)), full(WHITE)),
        size=SQUARE,
    )

    def merged(self, data):
        return read_animation(io.BytesIO(data), LIMITS, merges_undelayed=True)

    def test_each_image_is_a_frame_among_others_with_delays(self):
        animation = read(self.MIXED)
        assert animation.durations == (5, 0, 6, 0)
        assert shown_indices(animation) == [
            [[BLACK, BLACK], [BLACK, BLACK]],
            [[RED, BLACK], [BLACK, BLACK]],
            [[RED, GREEN], [BLACK, BLACK]],
            [[WHITE, WHITE], [WHITE, WHITE]],
        ]

    def test_each_image_is_a_frame_if_the_file_does_not_repeat(self):
        parts = [image([[RED]]), image([[GREEN]], (1, 0))]
        animation = read(gif(*parts, size=SQUARE))
        assert animation.durations == (0, 0) and animation.plays == 1
        assert shown_indices(animation)[1] == [[RED, GREEN], [CLEAR, CLEAR]]

    def test_they_are_merged_with_the_next_one_on_request(self):
        animation = self.merged(self.MIXED)
        assert animation.durations == (5, 6, 0)
        assert shown_indices(animation) == [
            [[BLACK, BLACK], [BLACK, BLACK]],
            [[RED, GREEN], [BLACK, BLACK]],
            [[WHITE, WHITE], [WHITE, WHITE]],
        ]

    def test_all_are_merged_on_request_if_the_file_does_not_repeat(self):
        parts = [image([[RED]]), image([[GREEN]], (1, 0)), image([[WHITE] * 2], (0, 1))]
        animation = self.merged(gif(*parts, size=SQUARE))
        assert shown_indices(animation) == [[[RED, GREEN], [WHITE, WHITE]]]

    @pytest.mark.parametrize("graphic_control", [b"", control(0)])
    def test_none_is_merged_if_the_file_repeats_and_has_no_delays(self, graphic_control):
        data = gif(loops(0), graphic_control, full(RED), graphic_control, full(GREEN), size=SQUARE)
        for animation in (read(data), self.merged(data)):
            assert animation.durations == (0, 0)
            assert shown_indices(animation) == [[[RED] * 2] * 2, [[GREEN] * 2] * 2]

    def test_none_is_merged_in_gif87(self):
        data = gif(full(RED), full(GREEN), size=SQUARE, version=b"GIF87a")
        for animation in (read(data), self.merged(data)):
            assert animation.durations == (0, 0) and animation.plays == 0


class TestEmptyFiles:
    """Files without an image, or with an empty screen or image."""

    def test_a_file_without_an_image_is_transparent(self):
        animation = read(gif(size=SQUARE))
        assert shown_indices(animation) == [[[CLEAR] * 2] * 2]
        assert animation.damage == "There is no image in the file."

    @pytest.mark.parametrize("size", [(0, 1), (1, 0), (0, 0)])
    def test_a_screen_without_size_is_refused(self, size):
        with pytest.raises(UnreadableImage, match="must have a height and a width"):
            read(gif(size=size))

    @pytest.mark.parametrize("size", [(0, 1), (1, 0), (0, 0)])
    def test_an_image_without_a_size_draws_nothing(self, size):
        nothing = image([[RED]], size=size)
        assert (
            shown_indices(read(gif(control(5), nothing, full(RED), size=SQUARE)))[0]
            == [[CLEAR] * 2] * 2
        )


class TestLimits:
    """Limits are checked before anything of that size is allocated."""

    def test_a_screen_with_too_many_pixels_is_refused(self):
        with pytest.raises(ImageTooLarge, match="Received: 65535 x 65535"):
            read(gif(size=(65535, 65535)))

    def test_an_image_with_too_many_pixels_is_refused(self):
        with pytest.raises(ImageTooLarge, match="Received: 65535 x 65535"):
            read(gif(image([[RED]], size=(65535, 65535)), size=(1, 1)))

    def test_too_many_frames_are_refused(self):
        blocks = [control(1), image([[RED]])] * 20
        assert len(read(gif(*blocks, size=(1, 1))).durations) == 20
        with pytest.raises(ImageTooLarge, match="at most 20 frames"):
            read(gif(*blocks, image([[RED]]), size=(1, 1)))

    def test_too_long_animations_are_refused(self):
        with pytest.raises(ImageTooLarge, match=r"at most 30 s. Received: 30.01 s"):
            read(gif(control(3001), image([[RED]]), size=(1, 1)))


class TestDamage:
    """A damaged file yields the frames before the damage, and describes it."""

    def test_invalid_codes_end_the_animation(self):
        broken = image([[RED] * 2] * 2)[:-4] + b"\xff\xff\xff\0"
        animation = read(gif(control(5), full(RED), control(5), broken, size=SQUARE))
        assert len(shown_indices(animation)) == 1
        assert animation.damage.startswith("After frame 1 the file is damaged")

    def test_an_unknown_block_ends_the_animation(self):
        animation = read(gif(control(5), full(RED), b"?", control(5), full(RED), size=SQUARE))
        assert len(shown_indices(animation)) == 1 and "must begin a block" in animation.damage

    def test_a_missing_trailer_is_reported(self):
        animation = read(gif(full(RED), size=SQUARE, trailer=b""))
        assert (
            shown_indices(animation) == [[[RED] * 2] * 2]
            and animation.damage == "The file ends too early."
        )


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 41)])
def test_indices_are_decoded_as_encoded(bits, size):
    indices = np.random.default_rng(bits).integers(0, 2**bits, size, np.uint8)
    encoded = encode_indices(indices, bits)
    assert encoded[0] == max(bits, 2) and encoded.endswith(b"\0")
    decoded, there = decode_indices(encoded[1:-1], *size, bits=encoded[0], is_interlaced=False)
    assert there is None
    assert np.array_equal(decoded, indices)


def test_missing_indices_are_reported():
    indices = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    encoded = encode_indices(indices, 8)
    half = encoded[1 : 1 + 4 * 256]
    decoded, there = decode_indices(half, 40, 50, bits=8, is_interlaced=False)
    assert 0.3 < there.mean() < 0.7
    assert np.array_equal(decoded[there], indices[there])
