from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest

from core.media.medium import WARM_UP, Frame
from core.model.grid import output_grid
from core.model.strips import fitted_strips, picture_strips
from core.model.upscaler import assemble
from core.options import OutputOptions
from core.picture import Extras, Picture
from core.temporal.coherence import Coherence, upscale_frames, with_cache
from core.temporal.fusion import BAND, find_motion
from tests.support.stand_ins import noise, repeat

HEIGHT, WIDTH = 48, 64
FLICKER = 12  # levels
FOUR_TIMES = partial(output_grid, OutputOptions(), scale=4)


class Flickering:
    """Interpolates, and adds detail finer than the LR grid that differs in every frame."""

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
    """A still scene with camera noise, so that no two frames are equal."""
    drawn = np.random.default_rng(seed)
    return pictures([scene() + drawn.normal(0, 1, (HEIGHT, WIDTH, 1)) for _ in range(count)])


def upscaled(clip, upscale=None, **options):
    frames = [Frame(picture, number, 1) for number, picture in enumerate(clip)]
    options = {"find_grid": FOUR_TIMES, "is_coherent": True, **options}
    return list(upscale_frames(frames, upscale or Flickering(), **options))


def pixels(frames):
    return np.stack([frame.picture.pixels for frame in frames]).astype(float)


def flicker(frames):
    """Mean absolute difference of consecutive frames, levels."""
    return np.abs(np.diff(pixels(frames), axis=0)).mean()


def test_a_still_clip_flickers_less_than_a_third_as_much():
    clip = still_clip(12)
    separate = upscaled(clip, is_coherent=False)
    coherent = upscaled(clip)
    assert flicker(coherent[4:]) < flicker(separate[4:]) / 3


def test_incoherent_frames_are_upscaled_one_by_one():
    clip = still_clip(4)
    network = Flickering()
    expected = [network(picture).pixels for picture in clip]
    assert np.array_equal(pixels(upscaled(clip, is_coherent=False)), np.stack(expected))


def test_the_first_frame_is_upscaled_by_itself():
    clip = still_clip(2)
    assert np.array_equal(upscaled(clip)[0].picture.pixels, Flickering()(clip[0]).pixels)


def test_times_are_kept():
    frames = upscaled(still_clip(3), warm_up=1)
    assert [(frame.start, frame.duration) for frame in frames] == [(1, 1), (2, 1)]


def test_equal_frames_have_equal_results_and_are_upscaled_once():
    frame = still_clip(2)[1]
    upscale = Flickering()
    first, second, third = upscaled([still_clip(1)[0], frame, frame], upscale)
    assert np.array_equal(second.picture.pixels, third.picture.pixels)
    assert not np.array_equal(first.picture.pixels, second.picture.pixels)
    assert upscale.calls == 2


def test_an_equal_frame_keeps_its_own_extras():
    lr = still_clip(1)[0]
    other = Picture(lr.pixels, extras=Extras(dpi=(72, 72)))
    assert upscaled([lr, other])[1].picture.extras.dpi == (72, 72)


def moving_square(count, step=3):
    """A bright square that moves `step` LR px per frame over soft texture, and its masks."""
    frames, masks = [], []
    for number in range(count):
        frame, mask = scene().copy(), np.zeros((HEIGHT, WIDTH), bool)
        mask[16:32, 6 + step * number : 22 + step * number] = True
        frame[mask] = 250 - scene(seed=5)[mask] / 4
        frames.append(frame)
        masks.append(mask)
    return pictures(frames), masks


def interpolate(lr):
    """A network that adds no detail: interpolation."""
    alpha = None if lr.alpha is None else repeat(lr.alpha)
    return Picture(np.rint(smooth(lr)).astype(np.uint8), alpha, lr.is_grey, lr.extras)


def test_a_moving_square_leaves_no_ghost():
    clip, masks = moving_square(8)
    separate, coherent = (pixels(upscaled(clip, interpolate, is_coherent=c)) for c in (False, True))
    for number in range(1, len(clip)):
        left = repeat((masks[number - 1] & ~masks[number])[..., None])[..., 0]
        difference = np.abs(coherent[number] - separate[number])[left]
        assert difference.mean() < 2
        assert np.quantile(difference, 0.99) < 12


def sized(upscale, **size):
    """Return an upscaler to a size of at most 4x, from one to 4x, and the grids of its frames."""
    find_grid = partial(output_grid, OutputOptions(**size), scale=4)

    def upscale_to_size(lr):
        grid = find_grid(lr.height, lr.width)
        shown = grid.crop(lr)
        strips = fitted_strips(picture_strips(upscale(shown)), shown, grid)
        return assemble(strips, shown)

    return upscale_to_size, find_grid


SIZES = [
    {"scale": 1.5},
    {"scale": 2},
    {"scale": 3},
    {"width": 2 * WIDTH - 1},
    {"width": 90, "height": 91, "fit": "cover"},
]


@pytest.mark.parametrize("size", SIZES)
def test_a_pan_flickers_less_at_every_size(size):
    wide = scene(HEIGHT, WIDTH + 20, seed=2)
    clip = pictures([wide[:, 2 * number : 2 * number + WIDTH] for number in range(8)])
    results = []
    for network, is_coherent in (
        (Flickering(), False),
        (Flickering(), True),
        (interpolate, False),
    ):
        upscale, find_grid = sized(network, **size)
        frames = upscaled(clip, upscale, find_grid=find_grid, is_coherent=is_coherent)
        results.append(pixels(frames))
    separate, coherent, exact = results
    assert coherent.shape == separate.shape
    inner = np.s_[4:, 24:-24, 24:-24]
    assert np.abs(coherent - exact)[inner].mean() < 0.8 * np.abs(separate - exact)[inner].mean()


def test_a_restored_frame_of_the_same_size_is_fused_with_care():
    clip = still_clip(4)
    upscale, find_grid = sized(lambda lr: replace(lr, pixels=255 - lr.pixels), scale=1)
    separate, coherent = (
        upscaled(clip, upscale, find_grid=find_grid, is_coherent=c) for c in (False, True)
    )
    assert 0 < flicker(coherent) < flicker(separate)


def test_frames_that_are_not_changed_are_not_fused():
    clip = still_clip(4)
    upscale, find_grid = sized(lambda lr: lr, scale=1)
    for lr, frame in zip(clip, upscaled(clip, upscale, find_grid=find_grid), strict=True):
        assert np.array_equal(frame.picture.pixels, lr.pixels)


def test_uncovered_background_shows_no_trace():
    clip = moving_square(8)[0]
    uncovered = [picture.pixels.astype(np.float32) for picture in clip]
    clip = pictures([*uncovered, scene()])
    separate, coherent = (pixels(upscaled(clip, interpolate, is_coherent=c)) for c in (False, True))
    assert np.abs(coherent[-1] - separate[-1]).max() < 12


def test_a_scene_cut_resets_fusion():
    clip = [*still_clip(3), *pictures([255 - scene(seed=3)])]
    upscale = Flickering()
    coherent = upscaled(clip, upscale)
    network = Flickering()
    expected = [network(picture) for picture in clip][-1]
    assert np.array_equal(coherent[-1].picture.pixels, expected.pixels)


def test_frames_without_a_cut_are_fused():
    clip = still_clip(4)
    network = Flickering()
    expected = [network(picture) for picture in clip][-1]
    assert not np.array_equal(upscaled(clip)[-1].picture.pixels, expected.pixels)


def test_a_pan_flickers_less():
    wide = scene(HEIGHT, WIDTH + 20, seed=2)
    clip = pictures([wide[:, number : number + WIDTH] for number in range(10)])
    separate, coherent = (pixels(upscaled(clip, is_coherent=c)) for c in (False, True))
    exact = pixels(upscaled(clip, interpolate, is_coherent=False))
    inner = np.s_[5:, 16:-16, 16:-64]
    assert np.abs(coherent - exact)[inner].mean() < 0.7 * np.abs(separate - exact)[inner].mean()


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
    coherent = pixels(upscaled(clip, interpolate))
    assert coherent.shape == (3, 4 * side, 4 * (side + longer), 3)
    assert np.abs(coherent - pixels(upscaled(clip, interpolate, is_coherent=False))).max() < 40


def test_alpha_is_that_of_the_present_frame():
    clip = [
        Picture(picture.pixels, np.full((HEIGHT, WIDTH), 100 + number, np.uint8))
        for number, picture in enumerate(still_clip(3))
    ]
    coherent = upscaled(clip)
    assert [np.unique(frame.picture.alpha).tolist() for frame in coherent] == [[100], [101], [102]]
    assert flicker(coherent) < flicker(upscaled(clip, is_coherent=False))


def test_frames_that_differ_in_alpha_alone_are_not_equal():
    lr = still_clip(1)[0]
    clip = [Picture(lr.pixels, np.full((HEIGHT, WIDTH), level, np.uint8)) for level in (0, 255)]
    assert [np.unique(f.picture.alpha).item() for f in upscaled(clip, interpolate)] == [0, 255]


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
            interpolate(Picture((lr.pixels // 257).astype(np.uint8))).pixels * np.uint16(257)
        )

    coherent = pixels(upscaled(fine, upscale)) / 257
    assert np.abs(coherent - pixels(upscaled(clip, interpolate))).max() < 1


def test_a_new_frame_size_resets_fusion():
    clip = [*still_clip(2), *pictures([scene(40, 56)])]
    assert np.array_equal(
        upscaled(clip, interpolate)[-1].picture.pixels, interpolate(clip[-1]).pixels
    )


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
    separate, coherent = (pixels(upscaled(clip, is_coherent=c))[-1] for c in (False, True))
    means = [
        cv2.resize(sr, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for sr in (separate, coherent)
    ]
    assert np.abs(means[0] - means[1]).mean() < 0.3 * np.abs(separate - coherent).mean()


def test_motion_estimation_can_be_replaced():
    clip = still_clip(3)
    asked = []

    def find(present, before):
        asked.append(present.shape)
        return find_motion(present, before)

    advance = Coherence(interpolate, FOUR_TIMES, find_motion=find)
    for lr in clip:
        advance(lr)
    assert asked == [(HEIGHT, WIDTH)] * 2


@pytest.fixture
def inputs():
    return []


@pytest.fixture
def upscale(inputs):
    def upscale(picture):
        inputs.append(picture)
        return replace(picture, pixels=repeat(picture.pixels))

    return upscale


def noise_pictures(count):
    return [Picture(noise(4, 5, seed=seed)) for seed in range(count)]


def test_a_repeated_picture_is_upscaled_once(upscale, inputs):
    cached = with_cache(upscale)
    one, other = noise_pictures(2)
    results = [cached(picture) for picture in (one, other, Picture(one.pixels.copy()))]
    assert len(inputs) == 2
    assert np.array_equal(results[2].pixels, repeat(one.pixels))


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": noise(4, 5, seed=1)},
        {"pixels": noise(4, 5).reshape(5, 4, 3)},
        {"pixels": noise(4, 5).astype(np.uint16)},
        {"alpha": np.full((4, 5), 200, np.uint8)},
        {"is_grey": True},
    ],
)
def test_any_difference_in_the_network_input_counts(upscale, inputs, change):
    cached = with_cache(upscale)
    picture = Picture(noise(4, 5))
    cached(picture)
    cached(replace(picture, **change))
    assert len(inputs) == 2


def test_extras_are_those_of_each_picture(upscale, inputs):
    cached = with_cache(upscale)
    cached(Picture(noise(4, 5)))
    assert cached(Picture(noise(4, 5), extras=Extras(dpi=(72, 72)))).extras.dpi == (72, 72)
    assert len(inputs) == 1


def test_the_least_recently_used_results_are_dropped(upscale, inputs):
    first, second, third = noise_pictures(3)
    cached = with_cache(upscale, max_bytes=2 * 16 * first.pixels.nbytes)
    for picture in (first, second, first, third):
        cached(picture)
    assert len(inputs) == 3
    cached(first)
    assert len(inputs) == 3
    cached(second)
    assert len(inputs) == 4


def test_the_last_result_is_always_kept(upscale, inputs):
    cached = with_cache(upscale, max_bytes=0)
    (picture,) = noise_pictures(1)
    cached(picture)
    cached(picture)
    assert len(inputs) == 1
