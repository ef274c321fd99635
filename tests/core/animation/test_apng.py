"""Animated PNG files built chunk by chunk, and the frames that are read from them."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from core.animation import is_animation, read_animation
from core.errors import ImageTooLarge, UnreadableImage
from core.images import Limits
from core.media.medium import ClipLimits
from tests.support.animations import apng, frame
from tests.support.picture_files import png
from tests.support.stand_ins import noise

LIMITS = ClipLimits(Limits(1000, 100, 20), 30)
NONE, BACKGROUND, PREVIOUS = range(3)
RED, GREEN, CLEAR = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 0, 0)


def full(colour, height=2, width=3):
    return np.full((height, width, 4), colour, np.uint8)


def read(data, limits=LIMITS):
    return read_animation(io.BytesIO(data), limits)


def shown_pixels(data):
    """Return (N, H, W, 4); transparent pixels are all zero."""
    pictures = [each.picture for each in read(data).frames()]
    alphas = [np.full(p.pixels.shape[:2], 255) if p.alpha is None else p.alpha for p in pictures]
    both = [np.dstack([p.pixels, alpha]) for p, alpha in zip(pictures, alphas, strict=True)]
    return np.where(np.array(alphas)[..., None] > 0, both, 0)


def test_delays_are_exact():
    delays = [(1, 3), (2, 7), (0, 100), (9, 0), (65535, 1)]
    animation = read(apng(*(frame(full(RED), delay=d) for d in delays), size=(2, 3), plays=7), None)
    seconds = [duration * animation.time_base for duration in animation.durations]
    assert seconds == [Fraction(1, 3), Fraction(2, 7), 0, Fraction(9, 100), 65535]
    assert animation.plays == 7


def test_a_default_picture_is_not_a_frame():
    data = apng(frame(full(GREEN)), size=(2, 3), default=full(RED))
    assert (shown_pixels(data) == full(GREEN)).all()


@pytest.mark.parametrize(
    ("disposal", "left"), [(NONE, GREEN), (BACKGROUND, CLEAR), (PREVIOUS, RED)]
)
def test_disposals(disposal, left):
    patches = [
        frame(full(RED)),
        frame(full(GREEN, 1, 1), (2, 1), disposal=disposal),
        frame(full(GREEN, 1, 1), (0, 0)),
    ]
    frames = shown_pixels(apng(*patches, size=(2, 3)))
    assert tuple(frames[1, 1, 2]) == GREEN
    assert tuple(frames[2, 1, 2]) == left
    assert tuple(frames[2, 0, 0]) == GREEN and tuple(frames[2, 0, 1]) == RED


def test_restoring_the_first_frame_leaves_transparency():
    patches = [frame(full(RED), disposal=PREVIOUS), frame(full(GREEN, 1, 1))]
    assert tuple(shown_pixels(apng(*patches, size=(2, 3)))[1, 1, 1]) == CLEAR


def test_a_source_frame_replaces_opacity():
    frames = shown_pixels(apng(frame(full(RED)), frame(full((1, 2, 3, 200))), size=(2, 3)))
    assert (frames[1] == (1, 2, 3, 200)).all()


def test_an_over_frame_is_blended_with_the_canvas():
    under, over = (200, 0, 100, 128), (0, 100, 100, 64)
    patches = [frame(full(under)), frame(full(over), over=True)]
    weight, behind = 64 / 255, 128 / 255 * (1 - 64 / 255)
    total = weight + behind
    colour = (weight * np.array(over[:3]) + behind * np.array(under[:3])) / total
    expected = [*np.rint(colour), np.rint(255 * total)]
    assert (shown_pixels(apng(*patches, size=(2, 3)))[1] == expected).all()


def test_blending_of_opaque_and_transparent_pixels():
    over = np.array([[RED, CLEAR, RED]] * 2, np.uint8)
    frames = shown_pixels(apng(frame(full(GREEN)), frame(over, over=True), size=(2, 3)))
    assert frames[1].tolist() == [[list(RED), list(GREEN), list(RED)]] * 2


def test_a_still_png_is_not_an_animation(encode):
    assert not is_animation(io.BytesIO(encode(noise(2, 3))))
    assert is_animation(io.BytesIO(apng(frame(full(RED)), size=(2, 3))))


def test_frames_of_16_bits_are_rounded():
    levels = np.full((2, 3, 4), 257 * 100 + 100, np.uint16)
    levels[..., 3] = 65535
    still = png(levels)
    head, body = still[8:33], still[33:]
    actl = apng(size=(2, 3), announced=1)[33:53]
    fctl = apng(frame(full(RED)), size=(2, 3))[53:91]
    data = still[:8] + head + actl + fctl + body
    assert (shown_pixels(data)[0][..., :3] == 100).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB"])
def test_all_sample_formats_are_decoded(mode):
    stills = [Image.fromarray(noise(2, 3, seed=seed)).convert(mode) for seed in range(2)]
    file = io.BytesIO()
    stills[0].save(file, "PNG", save_all=True, append_images=stills[1:])
    expected = [np.asarray(still.convert("RGBA")) for still in stills]
    assert np.array_equal(shown_pixels(file.getvalue()), expected)


class TestLimits:
    """Limits are checked before anything of that size is allocated."""

    def test_too_many_pixels_are_refused(self):
        with pytest.raises(ImageTooLarge, match="pixels"):
            read(apng(frame(full(RED)), size=(60, 60)))

    def test_too_many_frames_are_refused(self):
        with pytest.raises(ImageTooLarge, match="at most 20 frames"):
            read(apng(*[frame(full(RED))] * 21, size=(2, 3)))

    def test_too_long_animations_are_refused(self):
        with pytest.raises(ImageTooLarge, match="at most 30 s"):
            read(apng(frame(full(RED), delay=(31, 1)), size=(2, 3)))


class TestDamage:
    """A damaged file yields the frames before the damage, and describes it."""

    two = frame(full(RED)), frame(full(GREEN))

    def test_a_wrong_checksum_ends_the_animation(self):
        data = bytearray(apng(*self.two, size=(2, 3)))
        data[-20] ^= 1
        animation = read(bytes(data))
        assert len(animation.durations) == 1 and "checksum" in animation.damage

    def test_missing_frames_are_reported(self):
        animation = read(apng(*self.two, size=(2, 3), announced=3))
        assert animation.damage == "Only 2 of 3 frames are in the file."

    def test_a_frame_outside_the_picture_ends_the_animation(self):
        animation = read(apng(self.two[0], frame(full(GREEN), (1, 0)), size=(2, 3)))
        assert len(animation.durations) == 1 and "outside" in animation.damage

    def test_parts_out_of_order_end_the_animation(self):
        data = apng(*self.two, size=(2, 3))
        last = data.rindex(b"fcTL") - 4
        animation = read(data[:last] + data[last + 38 :])
        assert len(animation.durations) == 1 and "out of order" in animation.damage

    def test_undecodable_pixels_end_the_animation(self):
        def broken(number, is_first):
            for kind, body in self.two[1](number, is_first):
                yield kind, body[:8] + b"\0\0" if kind == b"fdAT" else body

        animation = read(apng(self.two[0], broken, size=(2, 3)))
        assert len(animation.durations) == 1 and animation.damage.startswith("After frame 1")

    def test_an_empty_frame_ends_the_animation(self):
        def empty(number, is_first):
            yield next(self.two[1](number, is_first))

        animation = read(apng(self.two[0], empty, self.two[1], size=(2, 3)))
        assert len(animation.durations) == 1 and animation.damage == "Frame 2 is empty."

    def test_a_chunk_of_wrong_length_ends_the_animation(self):
        def short(number, is_first):
            for kind, body in self.two[1](number, is_first):
                yield kind, body[:-1] if kind == b"fcTL" else body

        animation = read(apng(self.two[0], short, size=(2, 3)))
        assert len(animation.durations) == 1 and "wrong length" in animation.damage

    def test_a_file_without_frames_is_refused(self):
        with pytest.raises(UnreadableImage, match="must have a whole frame"):
            read(apng(size=(2, 3), default=full(RED)))
