import csv

import numpy as np
import tensorflow as tf

from core.images import decode_image
from tests.support.stand_ins import noise
from training.loop.train import EVENTS, RunLog


def read_events(folder):
    """(step, tag, value) of everything that TensorBoard would show."""
    for path in sorted((folder / EVENTS).iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                yield event.step, value.tag, value


def test_figures_become_lines_and_scalars(tmp_path):
    for step in (10, 20):  # a run that goes on
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
