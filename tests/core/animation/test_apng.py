"""What is seen of an animated PNG, chunk by chunk."""

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


def seen(data):
    """(N, H, W, 4); of no colour where nothing is seen."""
    pictures = [each.picture for each in read(data).frames()]
    alphas = [np.full(p.pixels.shape[:2], 255) if p.alpha is None else p.alpha for p in pictures]
    both = [np.dstack([p.pixels, alpha]) for p, alpha in zip(pictures, alphas, strict=True)]
    return np.where(np.array(alphas)[..., None] > 0, both, 0)


def test_delays_are_exact():
    delays = [(1, 3), (2, 7), (0, 100), (9, 0), (65535, 1)]
    reel = read(apng(*(frame(full(RED), delay=d) for d in delays), size=(2, 3), plays=7), None)
    seconds = [duration * reel.time_base for duration in reel.durations]
    assert seconds == [Fraction(1, 3), Fraction(2, 7), 0, Fraction(9, 100), 65535]
    assert reel.plays == 7


def test_a_default_picture_is_no_frame():
    data = apng(frame(full(GREEN)), size=(2, 3), default=full(RED))
    assert (seen(data) == full(GREEN)).all()


@pytest.mark.parametrize(
    ("disposal", "left"), [(NONE, GREEN), (BACKGROUND, CLEAR), (PREVIOUS, RED)]
)
def test_disposal(disposal, left):
    patches = [
        frame(full(RED)),
        frame(full(GREEN, 1, 1), (2, 1), disposal=disposal),
        frame(full(GREEN, 1, 1), (0, 0)),
    ]
    frames = seen(apng(*patches, size=(2, 3)))
    assert tuple(frames[1, 1, 2]) == GREEN
    assert tuple(frames[2, 1, 2]) == left
    assert tuple(frames[2, 0, 0]) == GREEN and tuple(frames[2, 0, 1]) == RED


def test_before_the_first_frame_there_was_nothing():
    patches = [frame(full(RED), disposal=PREVIOUS), frame(full(GREEN, 1, 1))]
    assert tuple(seen(apng(*patches, size=(2, 3)))[1, 1, 1]) == CLEAR


def test_a_frame_replaces_opacity_as_well():
    frames = seen(apng(frame(full(RED)), frame(full((1, 2, 3, 200))), size=(2, 3)))
    assert (frames[1] == (1, 2, 3, 200)).all()


def test_a_frame_is_mixed_with_what_is_under_it():
    under, over = (200, 0, 100, 128), (0, 100, 100, 64)
    patches = [frame(full(under)), frame(full(over), over=True)]
    weight, behind = 64 / 255, 128 / 255 * (1 - 64 / 255)
    total = weight + behind
    colour = (weight * np.array(over[:3]) + behind * np.array(under[:3])) / total
    expected = [*np.rint(colour), np.rint(255 * total)]
    assert (seen(apng(*patches, size=(2, 3)))[1] == expected).all()


def test_what_is_mixed_hides_all_or_nothing_at_the_ends():
    over = np.array([[RED, CLEAR, RED]] * 2, np.uint8)
    frames = seen(apng(frame(full(GREEN)), frame(over, over=True), size=(2, 3)))
    assert frames[1].tolist() == [[list(RED), list(GREEN), list(RED)]] * 2


def test_a_still_png_is_no_animation(encode):
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
    assert (seen(data)[0][..., :3] == 100).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB"])
def test_samples_of_all_kinds(mode):
    stills = [Image.fromarray(noise(2, 3, seed=seed)).convert(mode) for seed in range(2)]
    file = io.BytesIO()
    stills[0].save(file, "PNG", save_all=True, append_images=stills[1:])
    expected = [np.asarray(still.convert("RGBA")) for still in stills]
    assert np.array_equal(seen(file.getvalue()), expected)


class TestLimits:
    """Judged before anything of that size is made."""

    def test_pixels(self):
        with pytest.raises(ImageTooLarge, match="pixels"):
            read(apng(frame(full(RED)), size=(60, 60)))

    def test_frames(self):
        with pytest.raises(ImageTooLarge, match="at most 20 frames"):
            read(apng(*[frame(full(RED))] * 21, size=(2, 3)))

    def test_seconds(self):
        with pytest.raises(ImageTooLarge, match="at most 30 s"):
            read(apng(frame(full(RED), delay=(31, 1)), size=(2, 3)))


class TestDamage:
    """Frames up to the damage, and a word about it."""

    two = frame(full(RED)), frame(full(GREEN))

    def test_a_wrong_checksum(self):
        data = bytearray(apng(*self.two, size=(2, 3)))
        data[-20] ^= 1
        reel = read(bytes(data))
        assert len(reel.durations) == 1 and "checksum" in reel.damage

    def test_missing_frames(self):
        reel = read(apng(*self.two, size=(2, 3), announced=3))
        assert reel.damage == "Of 3 frames 2 are in the file."

    def test_a_frame_outside(self):
        reel = read(apng(self.two[0], frame(full(GREEN), (1, 0)), size=(2, 3)))
        assert len(reel.durations) == 1 and "outside" in reel.damage

    def test_parts_out_of_order(self):
        data = apng(*self.two, size=(2, 3))
        last = data.rindex(b"fcTL") - 4
        reel = read(data[:last] + data[last + 38 :])
        assert len(reel.durations) == 1 and "out of order" in reel.damage

    def test_pixels_that_cannot_be_decoded(self):
        def broken(number, is_first):
            for kind, body in self.two[1](number, is_first):
                yield kind, body[:8] + b"\0\0" if kind == b"fdAT" else body

        reel = read(apng(self.two[0], broken, size=(2, 3)))
        assert len(reel.durations) == 1 and reel.damage.startswith("After frame 1")

    def test_an_empty_frame(self):
        def empty(number, is_first):
            yield next(self.two[1](number, is_first))

        reel = read(apng(self.two[0], empty, self.two[1], size=(2, 3)))
        assert len(reel.durations) == 1 and reel.damage == "Frame 2 is empty."

    def test_a_chunk_of_a_wrong_length(self):
        def short(number, is_first):
            for kind, body in self.two[1](number, is_first):
                yield kind, body[:-1] if kind == b"fcTL" else body

        reel = read(apng(self.two[0], short, size=(2, 3)))
        assert len(reel.durations) == 1 and "wrong length" in reel.damage

    def test_no_frame(self):
        with pytest.raises(UnreadableImage, match="must have a whole frame"):
            read(apng(size=(2, 3), default=full(RED)))
