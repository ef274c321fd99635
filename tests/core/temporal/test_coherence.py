import cv2
import numpy as np
import pytest

from core.media.medium import WARM_UP, Frame
from core.picture import Extras, Picture
from core.temporal.coherence import Coherence, upscale_frames
from core.temporal.fusion import BAND, find_motion
from tests.support.stand_ins import noise, repeat

HEIGHT, WIDTH = 48, 64
FLICKER = 12  # levels


class Flickering:
    """Interpolation, with detail finer than the LR grid that is another in every frame."""

    def __init__(self):
        self.calls = 0

    def __call__(self, lr):
        self.calls += 1
        height, width = lr.pixels.shape[:2]
        drawn = np.random.default_rng(self.calls).normal(0, FLICKER, (height, 4, width, 4))
        drawn -= drawn.mean(axis=(1, 3), keepdims=True)
        drawn = drawn.reshape(4 * height, 4 * width, 1)
        return Picture(
            np.clip(np.rint(smooth(lr) + drawn), 0, 255).astype(np.uint8),
            None if lr.alpha is None else repeat(lr.alpha),
            lr.is_grey,
            lr.extras,
        )


def smooth(lr):
    height, width = lr.pixels.shape[:2]
    levels = lr.pixels.astype(np.float32)
    return cv2.resize(levels, (4 * width, 4 * height), interpolation=cv2.INTER_LINEAR)


def scene(height=HEIGHT, width=WIDTH, seed=0):
    """Soft texture, (height, width, 3) float32."""
    drawn = noise(height // 4 + 2, width // 4 + 2, seed=seed).astype(np.float32)
    large = cv2.resize(drawn, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    return np.clip(large[4 : 4 + height, 4 : 4 + width], 20, 235)


def pictures(frames):
    return [Picture(np.clip(np.rint(frame), 0, 255).astype(np.uint8)) for frame in frames]


def still_clip(count, seed=0):
    """One scene with the noise of a camera, so that no two frames are equal."""
    drawn = np.random.default_rng(seed)
    return pictures([scene() + drawn.normal(0, 1, (HEIGHT, WIDTH, 1)) for _ in range(count)])


def upscaled(clip, upscale=None, **options):
    frames = [Frame(picture, number, 1) for number, picture in enumerate(clip)]
    options = {"is_coherent": True, **options}
    return list(upscale_frames(frames, upscale or Flickering(), **options))


def pixels(frames):
    return np.stack([frame.picture.pixels for frame in frames]).astype(float)


def flicker(frames):
    """Mean absolute difference of consecutive frames, levels."""
    return np.abs(np.diff(pixels(frames), axis=0)).mean()


def test_a_still_clip_flickers_less_than_a_third_as_much():
    clip = still_clip(12)
    apart = upscaled(clip, is_coherent=False)
    together = upscaled(clip)
    assert flicker(together[4:]) < flicker(apart[4:]) / 3


def test_incoherent_frames_are_those_of_the_network():
    clip = still_clip(4)
    alone = Flickering()
    expected = [alone(picture).pixels for picture in clip]
    assert np.array_equal(pixels(upscaled(clip, is_coherent=False)), np.stack(expected))


def test_the_first_frame_is_that_of_the_network():
    clip = still_clip(2)
    assert np.array_equal(upscaled(clip)[0].picture.pixels, Flickering()(clip[0]).pixels)


def test_times_go_through():
    shown = upscaled(still_clip(3), warm_up=1)
    assert [(frame.start, frame.duration) for frame in shown] == [(1, 1), (2, 1)]


def test_equal_frames_have_equal_results_and_are_upscaled_once():
    frame = still_clip(2)[1]
    upscale = Flickering()
    first, second, third = upscaled([still_clip(1)[0], frame, frame], upscale)
    assert np.array_equal(second.picture.pixels, third.picture.pixels)
    assert not np.array_equal(first.picture.pixels, second.picture.pixels)
    assert upscale.calls == 2


def test_an_equal_frame_keeps_what_its_own_file_said():
    lr = still_clip(1)[0]
    other = Picture(lr.pixels, extras=Extras(dpi=(72, 72)))
    assert upscaled([lr, other])[1].picture.extras.dpi == (72, 72)


def moving_square(count, step=3):
    """A bright square over soft texture, `step` LR px further in each frame; where it is."""
    frames, masks = [], []
    for number in range(count):
        frame, mask = scene().copy(), np.zeros((HEIGHT, WIDTH), bool)
        mask[16:32, 6 + step * number : 22 + step * number] = True
        frame[mask] = 250 - scene(seed=5)[mask] / 4
        frames.append(frame)
        masks.append(mask)
    return pictures(frames), masks


def exactly(lr):
    """A network that draws nothing of its own."""
    alpha = None if lr.alpha is None else repeat(lr.alpha)
    return Picture(np.rint(smooth(lr)).astype(np.uint8), alpha, lr.is_grey, lr.extras)


def test_a_moving_square_leaves_no_ghost():
    clip, masks = moving_square(8)
    apart, together = (pixels(upscaled(clip, exactly, is_coherent=c)) for c in (False, True))
    for number in range(1, len(clip)):
        left = repeat((masks[number - 1] & ~masks[number])[..., None])[..., 0]
        difference = np.abs(together[number] - apart[number])[left]
        assert difference.mean() < 2
        assert np.quantile(difference, 0.99) < 12


def test_what_comes_out_from_behind_shows_no_trace():
    clip = moving_square(8)[0]
    uncovered = [picture.pixels.astype(np.float32) for picture in clip]
    clip = pictures([*uncovered, scene()])
    apart, together = (pixels(upscaled(clip, exactly, is_coherent=c)) for c in (False, True))
    assert np.abs(together[-1] - apart[-1]).max() < 12


def test_a_scene_cut_takes_nothing_over():
    clip = [*still_clip(3), *pictures([255 - scene(seed=3)])]
    upscale = Flickering()
    together = upscaled(clip, upscale)
    alone = Flickering()
    expected = [alone(picture) for picture in clip][-1]
    assert np.array_equal(together[-1].picture.pixels, expected.pixels)


def test_without_a_cut_something_is_taken_over():
    clip = still_clip(4)
    alone = Flickering()
    expected = [alone(picture) for picture in clip][-1]
    assert not np.array_equal(upscaled(clip)[-1].picture.pixels, expected.pixels)


def test_a_pan_flickers_less():
    wide = scene(HEIGHT, WIDTH + 20, seed=2)
    clip = pictures([wide[:, number : number + WIDTH] for number in range(10)])
    apart, together = (pixels(upscaled(clip, is_coherent=c)) for c in (False, True))
    exact = pixels(upscaled(clip, exactly, is_coherent=False))
    inner = np.s_[5:, 16:-16, 16:-64]
    assert np.abs(together - exact)[inner].mean() < 0.7 * np.abs(apart - exact)[inner].mean()


def test_frames_after_a_warm_up_are_those_of_the_whole_clip():
    clip = still_clip(40)
    whole = pixels(upscaled(clip))[-8:]
    network = Flickering()
    network.calls = len(clip) - 8 - WARM_UP
    tail = pixels(upscaled(clip[-8 - WARM_UP :], network, warm_up=WARM_UP))
    assert tail.shape == whole.shape
    gaps = np.abs(tail - whole).mean(axis=(1, 2, 3))
    assert gaps[0] < 0.25 * FLICKER
    assert gaps[-1] < 0.05 * FLICKER


@pytest.mark.parametrize("side", range(1, 9))
@pytest.mark.parametrize("longer", [0, 1, 200])
def test_tiny_frames_are_fused_too(side, longer):
    clip = pictures(
        [noise(side, side + longer).astype(float) * 0.5 + number for number in range(3)]
    )
    together = pixels(upscaled(clip, exactly))
    assert together.shape == (3, 4 * side, 4 * (side + longer), 3)
    assert np.abs(together - pixels(upscaled(clip, exactly, is_coherent=False))).max() < 40


def test_alpha_is_that_of_the_present_frame():
    clip = [
        Picture(picture.pixels, np.full((HEIGHT, WIDTH), 100 + number, np.uint8))
        for number, picture in enumerate(still_clip(3))
    ]
    together = upscaled(clip)
    assert [np.unique(frame.picture.alpha).tolist() for frame in together] == [[100], [101], [102]]
    assert flicker(together) < flicker(upscaled(clip, is_coherent=False))


def test_frames_that_differ_in_alpha_alone_are_not_equal():
    lr = still_clip(1)[0]
    clip = [Picture(lr.pixels, np.full((HEIGHT, WIDTH), level, np.uint8)) for level in (0, 255)]
    assert [np.unique(f.picture.alpha).item() for f in upscaled(clip, exactly)] == [0, 255]


def test_grey_stays_grey():
    clip = [
        Picture(picture.pixels[..., :1].repeat(3, axis=2), is_grey=True)
        for picture in still_clip(4)
    ]
    for frame in upscaled(clip):
        assert frame.picture.is_grey
        assert np.ptp(frame.picture.pixels.astype(int), axis=2).max() == 0


def test_sixteen_bits_are_fused_like_eight():
    clip = still_clip(6)
    fine = [Picture(picture.pixels.astype(np.uint16) * 257) for picture in clip]

    def upscale(lr):
        return Picture(
            exactly(Picture((lr.pixels // 257).astype(np.uint8))).pixels * np.uint16(257)
        )

    together = pixels(upscaled(fine, upscale)) / 257
    assert np.abs(together - pixels(upscaled(clip, exactly))).max() < 1


def test_another_size_begins_anew():
    clip = [*still_clip(2), *pictures([scene(40, 56)])]
    assert np.array_equal(upscaled(clip, exactly)[-1].picture.pixels, exactly(clip[-1]).pixels)


def test_bands_leave_no_seam(monkeypatch):
    clip = still_clip(4)
    whole = pixels(upscaled(clip))
    monkeypatch.setattr("core.temporal.fusion.BAND", 16)
    banded = pixels(upscaled(clip))
    assert HEIGHT < BAND
    assert np.abs(whole - banded).max() <= 1


def test_the_result_does_not_depend_on_threads():
    clip = still_clip(4)
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        results.append(pixels(upscaled(clip)))
    cv2.setNumThreads(before)
    assert np.array_equal(*results)


def test_local_means_stay_those_of_the_present_frame():
    clip = still_clip(8)
    apart, together = (pixels(upscaled(clip, is_coherent=c))[-1] for c in (False, True))
    means = [
        cv2.resize(sr, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for sr in (apart, together)
    ]
    assert np.abs(means[0] - means[1]).mean() < 0.3 * np.abs(apart - together).mean()


def test_any_motion_can_be_given():
    clip = still_clip(3)
    asked = []

    def find(present, before):
        asked.append(present.shape)
        return find_motion(present, before)

    advance = Coherence(exactly, find_motion=find)
    for lr in clip:
        advance(lr)
    assert asked == [(HEIGHT, WIDTH)] * 2
