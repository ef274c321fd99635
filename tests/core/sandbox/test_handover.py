import io
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from core.picture import Extras, Picture
from core.sandbox.process import COPIED_BYTES, lent, memory_file, put, take
from tests.support.stand_ins import noise

PIXELS = noise(5, 7)
KINDS = [io.BytesIO, tempfile.TemporaryFile, tempfile.SpooledTemporaryFile]


def handed_over(result):
    with memory_file() as (file, path):
        return take(file, put(path, result))


def open_descriptors():
    return set(Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_arrives_as_it_was(dtype):
    alpha = noise(5, 7, 1, seed=1)[..., 0].astype(dtype)
    picture = Picture(PIXELS.astype(dtype), alpha, extras=Extras(icc_profile=b"p" * 1001))
    arrived = handed_over(picture)
    np.testing.assert_array_equal(arrived.pixels, picture.pixels)
    np.testing.assert_array_equal(arrived.alpha, alpha)
    assert arrived.pixels.dtype == dtype
    assert arrived.pixels.flags.aligned
    assert arrived.extras == picture.extras


def test_what_holds_no_array_arrives_too():
    assert handed_over({"a": [1, None]}) == {"a": [1, None]}


def test_pixels_that_are_a_part_of_others_arrive():
    np.testing.assert_array_equal(handed_over(PIXELS[::2, 1:3]), PIXELS[::2, 1:3])


def test_nothing_stays_open_when_the_result_is_gone():
    before = open_descriptors()
    arrived = handed_over(PIXELS)
    np.testing.assert_array_equal(arrived, PIXELS)
    del arrived
    assert open_descriptors() == before


@pytest.mark.parametrize("size", [0, 1, COPIED_BYTES + 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_lent_file_is_read_from_its_beginning_by_another_process(kind, size):
    with kind() as file, multiprocessing.get_context("spawn").Pool(1) as other:
        file.write(os.urandom(size))
        file.flush()
        with lent(file) as path:
            seen = other.apply(read, (path,))
        file.seek(0)
        assert seen == file.read()


def read(path):
    return Path(path).read_bytes()


def test_a_small_upload_is_not_put_on_disk_and_a_large_file_is_not_copied():
    with tempfile.SpooledTemporaryFile(max_size=10) as small, lent(small):
        assert not small._rolled
    with tempfile.TemporaryFile() as large:
        large.truncate(COPIED_BYTES + 1)
        with lent(large) as path:
            assert Path(path).stat().st_ino == os.fstat(large.fileno()).st_ino
