import hashlib
import os
import struct
import zlib

import numpy as np
import pytest

from core.images import PILLOW_FORMATS
from tests.support.photographs import encoded, photograph
from training.data import selection as checks
from training.data.photos import Origin
from training.data.selection import Rejection, check_file

CC0 = Origin("CC0")


@pytest.fixture
def check(tmp_path):
    def check(data, origin=CC0):
        path = tmp_path / "a.jpg"
        path.write_bytes(data)
        return check_file(path, origin, min_side=192)

    return check


def png_that_claims(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = b"\0\0\0\r" + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + header + b"\0\0\0\1IDAT"


def test_a_photograph_is_described(check, tmp_path):
    data = encoded(photograph(1, 192, 200), "JPEG")
    candidate = check(data)
    assert candidate.path == tmp_path / "a.jpg"
    assert (candidate.height, candidate.width) == (192, 200)
    assert candidate.sha256 == hashlib.sha256(data).hexdigest()
    assert candidate.origin == CC0


@pytest.mark.parametrize("file_format", PILLOW_FORMATS)
def test_every_format_is_taken(check, file_format):
    assert check(encoded(photograph(1), file_format)).width == 256


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", "unreadable", "Received: 0 bytes"),
        (b"a letter to a friend", "unreadable", "begin with b'a letter"),
        (encoded(photograph(1), "JPEG")[:3000], "unreadable", "whole, undamaged file"),
        (png_that_claims(30_001, 10), "unreadable", "30000 pixels wide"),
        (png_that_claims(9_000, 9_000), "unreadable", "80000000 pixels"),
        (png_that_claims(60_000, 60_000), "unreadable", "80000000 pixels"),
        (encoded(photograph(1, 191, 300)), "too small", "Received: 300 x 191 pixels"),
        (encoded(photograph(1, 300, 191)), "too small", "Received: 191 x 300 pixels"),
        (encoded(photograph(1)[..., 0]), "grey", "Received: 0.00%"),
        (encoded(photograph(1)[..., [0, 0, 0]], "JPEG", quality=30), "grey", "Received: 0.00%"),
    ],
)
def test_what_is_not_fit_is_refused(check, data, kind, reason):
    with pytest.raises(Rejection, match=reason) as caught:
        check(data)
    assert caught.value.kind == kind


def test_a_grey_picture_with_a_coloured_spot_has_colours(check):
    pixels = photograph(1)[..., [0, 0, 0]]
    pixels[:8, :8] = (255, 0, 0)
    assert check(encoded(pixels)).width == 256


def test_a_file_without_a_licence_is_refused(check):
    with pytest.raises(Rejection, match=r"licences\.csv .* or by --licence\. Received: none"):
        check(encoded(photograph(1)), origin=None)


def test_a_file_that_is_too_large_is_not_read(check, monkeypatch):
    monkeypatch.setattr(checks, "MAX_FILE_BYTES", 10)
    with pytest.raises(Rejection, match="at most 10 bytes. Received: 11"):
        check(b"12345678901")


@pytest.mark.parametrize("kind", ["nothing", "loop", "pipe", "folder"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tmp_path / "a.jpg"
    make = {
        "nothing": lambda: None,
        "loop": lambda: path.symlink_to(path),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    make[kind]()
    with pytest.raises(Rejection, match="File must be"):
        check_file(path, CC0, min_side=192)


def test_a_file_that_may_not_be_read_is_refused(check, monkeypatch):
    def deny(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", deny)
    with pytest.raises(Rejection, match="File must be readable. Received: Permission denied"):
        check(encoded(photograph(1)))


def test_the_range_of_the_channels_is_that_of_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    least, greatest = checks.channel_range(pixels)
    np.testing.assert_array_equal(least, pixels.min(axis=2))
    np.testing.assert_array_equal(greatest, pixels.max(axis=2))
