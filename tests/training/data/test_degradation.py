from dataclasses import replace

import numpy as np
import pytest

from core.images import resize_bicubic
from core.model.tiles import Box
from tests.support.stand_ins import noise
from training.data.degradation import (
    Degradation,
    DegradationMix,
    DegradationProcess,
    DegradationRound,
    add_noise,
    apply_all,
    compress,
    crop_lr,
    degrade,
    degrade_pairs,
)
from training.data.distortions import Blur, Compression, Noise, Resizing, Sharpening
from training.data.photos import make_pair

NONE = Degradation(
    blur_sigma=[0.0, 0.0],
    noise_sigma=[0.0, 0.0],
    jpeg_quality=[100, 100],
    grey_noise_share=0.0,
    clean_share=0.0,
)


@pytest.fixture
def hr():
    """A smooth picture in strong colours."""
    return resize_bicubic(noise(5, 6, seed=4), 112, 144)


EVERYTHING = DegradationRound(
    blur_share=1.0,
    blur_sigma=(0.5, 2.0),
    anisotropic_share=0.5,
    blur_shapes=(0.6, 2.0),
    resize=(0.4, 1.2),
    noise_share=1.0,
    sharpen_share=1.0,
    jpeg_share=0.7,
    webp_share=0.3,
)
TWICE = DegradationProcess("twice", share=1.0, rounds=(EVERYTHING, EVERYTHING))
CLEAN = DegradationProcess("clean", share=0.0, rounds=(DegradationRound(),), clean_share=1.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def grey(height, width):
    return np.repeat(noise(height, width, 1), 3, axis=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blur_sigma": [3.0, 0.2]}, r"`blur_sigma` must be .* Received: blur_sigma=\[3.0, 0.2\]"),
        ({"blur_sigma": 2.0}, "Received: blur_sigma=2.0"),
        ({"noise_sigma": [-1.0, 5.0]}, "from 0 to 255. Received"),
        ({"noise_sigma": [1.0, 2.0, 3.0]}, "`noise_sigma`"),
        ({"noise_sigma": [1.0, float("nan")]}, "`noise_sigma`"),
        ({"jpeg_quality": [30.5, 95.5]}, "numbers of type int from 1 to 100"),
        ({"jpeg_quality": [0, 95]}, "`jpeg_quality`"),
        ({"clean_share": 1.5}, "`clean_share` must be between 0 and 1. Received: clean_share=1.5"),
        ({"grey_noise_share": -0.1}, "`grey_noise_share`"),
    ],
)
def test_invalid_settings_are_refused(degradation, change, message):
    with pytest.raises(ValueError, match=message):
        replace(degradation, **change)


def test_the_random_generator_determines_a_degraded_picture(degradation, hr):
    before = hr.copy()
    lr = degrade(hr, degradation, rng(1))
    assert (lr.shape, lr.dtype) == ((28, 36, 3), np.uint8)
    np.testing.assert_array_equal(degrade(hr, degradation, rng(1)), lr)
    assert not np.array_equal(degrade(hr, degradation, rng(2)), lr)
    np.testing.assert_array_equal(hr, before)


def test_degraded_pictures_stay_aligned_with_hr(degradation, hr):
    clean = luma(resize_bicubic(hr, 28, 36))
    generator = rng()
    mean = np.mean([luma(degrade(hr, degradation, generator)) for _ in range(200)], axis=0)
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    errors = [np.abs(np.roll(mean, by, (0, 1)) - clean)[2:-2, 2:-2].mean() for by in shifts]
    assert shifts[np.argmin(errors)] == (0, 0)
    assert min(errors) < 0.5
    assert abs(find_shift(mean, clean)).max() < 0.05


def luma(pixels):
    """Return luma, which JPEG keeps at full resolution."""
    return pixels @ np.array([0.299, 0.587, 0.114])


def find_shift(moved, fixed):
    """Return by how many pixels `moved` is shifted down and right, by least squares."""
    gradients = [np.gradient(fixed, axis=axis)[2:-2, 2:-2].ravel() for axis in (0, 1)]
    difference = (fixed - moved)[2:-2, 2:-2].ravel()
    return np.linalg.lstsq(np.stack(gradients, axis=1), difference, rcond=None)[0]


def test_the_alignment_test_notices_a_shift_of_a_tenth_of_a_pixel(hr):
    clean = luma(resize_bicubic(hr, 28, 36))
    moved = 0.9 * clean + 0.1 * np.roll(clean, 1, axis=1)
    assert find_shift(moved, clean)[1] == pytest.approx(0.1, abs=0.02)


def test_clean_patches_are_downscaled_by_bicubic_interpolation(degradation):
    pair = make_pair(noise(96, 120))
    clean = replace(degradation, clean_share=1.0)
    for box in (Box(0, 0, 8, 8), Box(9, 11, 17, 19), Box(16, 22, 24, 30)):
        np.testing.assert_array_equal(crop_lr(pair, box, clean, rng()), box.crop(pair.lr))


def test_the_clean_share_is_kept(degradation, hr):
    clean = resize_bicubic(hr, 28, 36)
    half = replace(degradation, clean_share=0.5, noise_sigma=[5.0, 5.0])
    generator = rng()
    same = [np.array_equal(degrade(hr, half, generator), clean) for _ in range(100)]
    assert 35 < sum(same) < 65


BOXES = [Box(0, 0, 12, 12), Box(10, 13, 22, 25), Box(28, 38, 40, 50)]


@pytest.mark.parametrize("box", BOXES, ids=["corner", "middle", "opposite corner"])
def test_a_degraded_patch_equals_that_part_of_the_degraded_photograph(box):
    pair = make_pair(grey(160, 200))
    blurred = replace(NONE, blur_sigma=[3.0, 3.0])
    whole = degrade(pair.hr, blurred, rng())
    patch = crop_lr(pair, box, blurred, rng())
    assert np.abs(patch - box.crop(whole).astype(int)).max() <= 2


def test_a_patch_degraded_without_its_margin_differs(monkeypatch):
    pair = make_pair(grey(160, 200))
    blurred = replace(NONE, blur_sigma=[3.0, 3.0])
    whole = degrade(pair.hr, blurred, rng())
    monkeypatch.setattr(Degradation, "margin", 0)
    patch = crop_lr(pair, BOXES[1], blurred, rng())
    assert np.abs(patch - BOXES[1].crop(whole).astype(int)).max() > 10


def test_noise_has_the_stated_deviation_and_share_of_grey():
    half = replace(NONE, noise_sigma=[6.0, 6.0], grey_noise_share=0.5)
    flat = np.full((20, 30, 3), 128, np.uint8)
    generator = rng()
    noises = [add_noise(flat, half, generator) - 128.0 for _ in range(100)]
    assert np.std(noises) == pytest.approx(6, rel=0.03)
    assert np.mean(noises) == pytest.approx(0, abs=0.1)
    assert 35 < sum(bool((n == n[..., :1]).all()) for n in noises) < 65


def test_noise_does_not_wrap_around():
    loud = replace(NONE, noise_sigma=[20.0, 20.0])
    assert add_noise(np.full((20, 20, 3), 255, np.uint8), loud, rng()).min() > 100


def test_jpeg_blocks_can_begin_anywhere():
    ramp = np.linspace(50, 150, 80).astype(np.uint8)
    lr = np.broadcast_to(ramp[:, None], (24, 80, 3))
    for axis, turned in enumerate((lr.swapaxes(0, 1), lr)):
        starts = {find_blocks(compress(turned, 5, rng(seed)), axis) for seed in range(60)}
        assert starts == set(range(8))


def find_blocks(pixels, axis):
    """Return the row or column, modulo 8, after which levels change most: the block border."""
    steps = np.abs(np.diff(pixels[..., 0].astype(int), axis=axis)).mean(axis=1 - axis)
    return int(np.argmax([steps[start::8].mean() for start in range(8)]))


def test_seed_and_index_determine_a_degraded_pair(degradation):
    pair = make_pair(noise(64, 80))
    first, second = degrade_pairs([pair, pair], degradation, seed=9)
    assert not np.array_equal(first.lr, second.lr)
    assert first.hr is pair.hr
    np.testing.assert_array_equal(degrade_pairs([pair], degradation, seed=9)[0].lr, first.lr)
    assert not np.array_equal(degrade_pairs([pair], degradation, seed=8)[0].lr, first.lr)


def test_without_a_degradation_pairs_stay_as_they_are():
    pair = make_pair(noise(64, 80))
    assert degrade_pairs([pair], None, seed=9) == [pair]


def test_a_process_draws_every_distortion_of_every_round_in_order():
    kinds = [Blur, Resizing, Noise, Sharpening, Compression]
    for seed in range(20):
        drawn = TWICE.draw(112, 144, rng(seed))
        assert [type(distortion) for distortion in drawn] == kinds * 2
        first, last = (d for d in drawn if isinstance(d, Resizing))
        assert (last.height, last.width) == (28, 36)
        assert 0.4 * 112 - 1 <= first.height <= 1.2 * 112 + 1
        assert first.width == pytest.approx(first.height * 144 / 112, abs=1.5)


def test_strengths_are_within_their_ranges_and_reach_all_kinds():
    drawn = [d for seed in range(200) for d in TWICE.draw(112, 144, rng(seed))]
    blurs, noises, files = (
        [d for d in drawn if isinstance(d, kind)] for kind in (Blur, Noise, Compression)
    )
    assert all(0.5 <= sigma <= 2.0 for b in blurs for sigma in (b.sigma_y, b.sigma_x))
    assert {b.shape for b in blurs} == {0.6, 1.0, 2.0}
    assert 150 < sum(b.sigma_y == b.sigma_x for b in blurs) < 250
    assert all(0 <= n.sigma <= 12 for n in noises)
    assert np.mean([n.sigma for n in noises]) == pytest.approx(12 / 2.5, rel=0.1)
    assert {(n.is_grey, n.grows_with_brightness) for n in noises} == {
        (grey, grows) for grey in (False, True) for grows in (False, True)
    }
    assert {f.file_format for f in files} == {"jpeg", "webp"}
    assert 230 < sum(f.file_format == "jpeg" for f in files) < 330
    assert {f.subsampling for f in files} == {"4:4:4", "4:2:0"}
    assert {f.offset[0] for f in files} == set(range(16))
    assert {d.kernel for d in drawn if isinstance(d, Resizing)} == {
        "bicubic",
        "bilinear",
        "box",
        "lanczos",
    }


def test_a_round_is_left_out_as_often_as_its_share_says():
    rare = replace(TWICE, rounds=(replace(EVERYTHING, share=0.25), EVERYTHING))
    lengths = [len(rare.draw(64, 64, rng(seed))) for seed in range(200)]
    assert set(lengths) == {5, 10}
    assert 30 < lengths.count(10) < 70


def test_a_round_without_shares_only_downscales():
    plain = DegradationProcess("plain", 1.0, rounds=(DegradationRound(kernels=("box",)),))
    assert plain.draw(64, 80, rng()) == [Resizing(16, 20, "box")]


def test_the_random_generator_determines_a_picture_of_a_mix(hr):
    mix = DegradationMix((TWICE,))
    lr = degrade(hr, mix, rng(1))
    assert (lr.shape, lr.dtype) == ((28, 36, 3), np.uint8)
    np.testing.assert_array_equal(degrade(hr, mix, rng(1)), lr)
    assert not np.array_equal(degrade(hr, mix, rng(2)), lr)


def test_drawn_distortions_do_the_same_every_time(hr):
    drawn = TWICE.draw(*hr.shape[:2], rng(3))
    np.testing.assert_array_equal(apply_all(hr, drawn), apply_all(hr, drawn))


def test_pictures_of_several_rounds_stay_aligned_with_hr(hr):
    clean = luma(resize_bicubic(hr, 28, 36))
    generator = rng()
    mix = DegradationMix((replace(TWICE, rounds=(replace(EVERYTHING, sharpen_share=0.0),) * 2),))
    mean = np.mean([luma(degrade(hr, mix, generator)) for _ in range(200)], axis=0)
    assert abs(find_shift(mean, clean)).max() < 0.06


def test_a_clean_picture_of_a_mix_is_its_own_target():
    pair = make_pair(noise(160, 200))
    mix = DegradationMix((replace(CLEAN, share=1.0),))
    for box in BOXES:
        np.testing.assert_array_equal(crop_lr(pair, box, mix, rng()), box.crop(pair.lr))


def test_processes_are_drawn_by_their_shares():
    mix = DegradationMix((replace(TWICE, share=0.2), replace(CLEAN, share=0.6)))
    generator = rng()
    names = [mix.choose(generator).name for _ in range(400)]
    assert 70 < names.count("twice") < 130


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernels": ("nearest",)}, r"`kernels` must be some of .* Received: \['nearest'\]"),
        ({"kernels": ()}, "`kernels` must be"),
        ({"blur_shapes": (0.0,)}, r"`blur_shapes` must be numbers above 0. Received: \[0.0\]"),
        ({"jpeg_share": 0.8}, "`jpeg_share` and `webp_share` must sum .* Received: 0.8 and 0.3"),
        ({"noise_share": 2.0}, "`noise_share` must be between 0 and 1. Received: noise_share=2.0"),
        ({"resize": (1.2, 0.4)}, "`resize` must be"),
        ({"webp_quality": (0, 90)}, "`webp_quality` must be"),
        ({"blur_sigma": (0.0, 1.0)}, "`blur_sigma` must be"),
    ],
)
def test_invalid_settings_of_a_round_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(EVERYTHING, **change)


def test_the_last_round_cannot_be_left_out():
    for rounds in ((), (EVERYTHING, replace(EVERYTHING, share=0.5))):
        with pytest.raises(ValueError, match="`rounds` must end with a round of share 1"):
            DegradationProcess("wrong", 1.0, rounds)


def test_a_mix_needs_a_process_with_a_share():
    with pytest.raises(ValueError, match=r"share above 0. Received: \['clean'\]"):
        DegradationMix((CLEAN,))
