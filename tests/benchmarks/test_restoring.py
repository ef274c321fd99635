import os

import pytest

from benchmarks.latency import UnexpectedAnswer
from benchmarks.plan import Repetitions
from benchmarks.restoring import measure_pairs
from tests.support.stand_in_server import stand_in_server

TWICE = Repetitions(seconds=0, least=2, most=2)


def test_each_restored_picture_follows_one_that_is_not():
    with stand_in_server(200) as url:
        reading = measure_pairs(url, os.getpid(), 5, 3, TWICE)
    assert len(reading.plain_ms) == len(reading.restored_ms) == 2
    assert min(reading.plain_peak_mb, reading.restored_peak_mb) > 0


def test_a_picture_that_is_not_upscaled_is_an_error():
    with stand_in_server(413) as url, pytest.raises(UnexpectedAnswer, match="Received: 413"):
        measure_pairs(url, os.getpid(), 5, 3, TWICE)
