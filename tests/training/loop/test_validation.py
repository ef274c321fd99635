import numpy as np
import pytest

from tests.support.stand_ins import noise, repeat
from training.data.photos import Pair
from training.evaluation.metrics import psnr_y
from training.loop.run import start_run
from training.loop.train import (
    centre_crop,
    choose_validation_metrics,
    draw_sample,
    mean_over_pairs,
    upscale,
    upscale_all,
)


def pair(height, width, seed=0):
    lr = noise(height, width, seed=seed)
    return Pair(repeat(lr), lr)


def test_the_averaged_weights_are_judged_and_the_trained_ones_stay(recipe, tmp_path):
    run = start_run(recipe, tmp_path)
    trained = [weight.copy() for weight in run.generator.get_weights()]
    run.ema = [np.zeros_like(weight) for weight in trained]
    flat = Pair(np.full((40, 48, 3), 77, np.uint8), np.full((10, 12, 3), 77, np.uint8))
    (sr,) = upscale_all(run, [flat])
    np.testing.assert_array_equal(sr, flat.hr)  # without weights the skip is left
    for before, after in zip(trained, run.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_devices_that_share_batches_change_nothing(recipe, tmp_path):
    generator = start_run(recipe, tmp_path).generator
    lr = noise(9, 11)
    one, two = upscale(generator, lr), upscale(generator, lr, devices=2)
    assert np.abs(one.astype(int) - two).max() <= 1


def test_figures_are_means_over_the_pairs():
    pairs = [pair(10, 12, seed=1), pair(10, 12, seed=2)]
    upscaled = [p.hr // 2 for p in pairs]
    expected = np.mean([psnr_y(p.hr // 2, p.hr) for p in pairs])
    assert mean_over_pairs(upscaled, pairs, {"psnr": psnr_y}) == {"psnr": pytest.approx(expected)}


def test_the_centre_of_large_pairs_is_cut_out():
    large = pair(100, 80)
    crop = centre_crop(large)
    np.testing.assert_array_equal(crop.lr, large.lr[18:82, 8:72])
    np.testing.assert_array_equal(crop.hr, repeat(crop.lr))
    assert centre_crop(pair(10, 12)).lr.shape == (10, 10, 3)


def test_a_sample_has_a_row_for_each_of_the_first_crops():
    pairs = [pair(10, 10), pair(8, 8), pair(10, 10), pair(10, 10), pair(10, 10)]
    sample = draw_sample([p.hr for p in pairs], pairs)
    assert sample.shape == (40 + 32 + 40 + 40, 3 * 40, 3)
    np.testing.assert_array_equal(sample[:40, 40:80], pairs[0].hr)


def test_the_learned_distance_needs_its_weights(tmp_path):
    assert list(choose_validation_metrics(tmp_path)) == ["validation_psnr_y_db"]
    assert list(choose_validation_metrics(None)) == ["validation_psnr_y_db"]
