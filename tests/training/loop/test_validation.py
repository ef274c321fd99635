import csv

import numpy as np
import pytest
import tensorflow as tf

from core.images import decode_image
from tests.support.stand_ins import noise, repeat
from training.data.photos import Pair
from training.evaluation.metrics import psnr_y
from training.loop.run import start_run
from training.loop.validation import (
    EVENTS,
    RunLog,
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


def test_validation_uses_the_averaged_weights_and_keeps_the_trained_ones(recipe, tmp_path):
    run = start_run(recipe, tmp_path)
    trained = [weight.copy() for weight in run.generator.get_weights()]
    run.ema = [np.zeros_like(weight) for weight in trained]
    flat = Pair(np.full((40, 48, 3), 77, np.uint8), np.full((10, 12, 3), 77, np.uint8))
    (sr,) = upscale_all(run, [flat])
    np.testing.assert_array_equal(sr, flat.hr)  # with weights of zero only the base is left
    for before, after in zip(trained, run.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_sharing_batches_among_devices_changes_nothing(recipe, tmp_path):
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


def test_lpips_is_measured_only_with_its_weights(tmp_path):
    assert list(choose_validation_metrics(tmp_path)) == ["validation_psnr_y_db"]
    assert list(choose_validation_metrics(None)) == ["validation_psnr_y_db"]


def read_events(folder):
    """Yield (step, tag, value) of everything that TensorBoard would show."""
    for path in sorted((folder / EVENTS).iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                yield event.step, value.tag, value


def test_figures_become_lines_and_scalars(tmp_path):
    for step in (10, 20):  # a run that is resumed
        with RunLog(tmp_path, step - 1) as log:
            log.write(step, {"pixel": step / 100, "validation_psnr_y_db": 30.0})
    with (tmp_path / "log.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["step"], line["pixel"]) for line in lines] == [("10", "0.1"), ("20", "0.2")]
    scalars = {(step, tag): value.simple_value for step, tag, value in read_events(tmp_path)}
    assert scalars[10, "pixel"] == np.float32(0.1)
    assert scalars[20, "pixel"] == np.float32(0.2)
    assert scalars[20, "validation_psnr_y_db"] == 30.0


def test_samples_become_pictures(tmp_path):
    sample = noise(12, 30)
    with RunLog(tmp_path) as log:
        log.write_sample(7, sample)
    ((step, _, value),) = read_events(tmp_path)
    assert step == 7
    np.testing.assert_array_equal(decode_image(value.image.encoded_image_string).pixels, sample)
