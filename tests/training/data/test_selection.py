import hashlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from core.images import PILLOW_FORMATS, decode_image, resize_bicubic
from tests.support.photographs import encoded, photograph
from tests.support.scaling_attacks import small_attack
from training.data import selection as checks
from training.data.photos import Origin
from training.data.selection import HashIndex, Rejection, check_file, hash_picture

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


def test_an_accepted_photograph_has_size_hash_and_origin(check, tmp_path):
    data = encoded(photograph(1, 192, 200), "JPEG")
    candidate = check(data)
    assert candidate.path == tmp_path / "a.jpg"
    assert (candidate.height, candidate.width) == (192, 200)
    assert candidate.sha256 == hashlib.sha256(data).hexdigest()
    assert candidate.origin == CC0


@pytest.mark.parametrize("file_format", PILLOW_FORMATS)
def test_every_format_is_accepted(check, file_format):
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
        (encoded(small_attack()), "hides a picture", "belong to another picture"),
        (encoded(photograph(1)[..., [0, 0, 0]], "JPEG", quality=30), "grey", "Received: 0.00%"),
    ],
)
def test_an_unsuitable_file_is_refused(check, data, kind, reason):
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
def test_a_path_that_is_not_a_regular_file_is_refused(tmp_path, kind):
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


def test_a_file_without_read_permission_is_refused(check, monkeypatch):
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


def as_jpeg(pixels, quality):
    return decode_image(encoded(pixels, "JPEG", quality=quality)).pixels


def flat(*colour):
    noise = np.random.default_rng(sum(colour)).normal(0, 2, (200, 300, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def index_of(**pictures):
    index = HashIndex(len(pictures))
    for name, pixels in pictures.items():
        index.add(name, hash_picture(pixels))
    return index


COPIES = {
    "the same": lambda p: p,
    "poor JPEG": lambda p: as_jpeg(p, 30),
    "half the size": lambda p: resize_bicubic(p, 96, 128),
    "twice the size": lambda p: resize_bicubic(p, 384, 512),
    "another shape": lambda p: resize_bicubic(p, 300, 200),
    "mirrored": lambda p: p[:, ::-1],
    "mirrored, small, JPEG": lambda p: as_jpeg(resize_bicubic(p[:, ::-1].copy(), 64, 96), 60),
    "darker": lambda p: (p * 0.8).astype(np.uint8),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found(copy):
    index = index_of(other=photograph(1), original=photograph(2), third=photograph(3))
    assert index.find(hash_picture(COPIES[copy](photograph(2)))) == "original"


def test_other_pictures_are_not_found():
    index = index_of(**{str(seed): photograph(seed) for seed in range(40)})
    found = [index.find(hash_picture(photograph(seed))) for seed in range(40, 100)]
    assert found == [None] * 60


def test_upside_down_is_another_picture():
    index = index_of(upright=photograph(1))
    assert index.find(hash_picture(photograph(1)[::-1])) is None


def test_in_an_empty_index_nothing_is_found():
    assert HashIndex(0).find(hash_picture(photograph(1))) is None
    assert HashIndex(0).find(hash_picture(flat(1, 2, 3))) is None


def test_flat_pictures_are_distinguished_by_their_colours():
    sky, wall = flat(90, 140, 220), flat(200, 190, 180)
    index = index_of(sky=sky)
    assert hash_picture(sky).is_featureless
    assert index.find(hash_picture(wall)) is None
    assert index.find(hash_picture(flat(90, 147, 220))) is None
    assert index.find(hash_picture(as_jpeg(sky, 75))) == "sky"


def test_featureless_gradients_are_distinguished():
    down = np.linspace(0, 255, 200).astype(np.uint8)[:, None, None].repeat(300, 1).repeat(3, 2)
    bluish = down.copy()
    bluish[..., 2] = 200
    assert hash_picture(down).is_featureless
    index = index_of(down=down)
    assert index.find(hash_picture(bluish)) is None
    assert index.find(hash_picture(resize_bicubic(down, 100, 100))) == "down"


def test_a_mirrored_flat_picture_is_found():
    across = np.linspace(0, 255, 300).astype(np.uint8)[None, :, None].repeat(200, 0).repeat(3, 2)
    index = index_of(across=across)
    assert hash_picture(across).is_featureless
    assert index.find(hash_picture(across[:, ::-1])) == "across"


def test_the_mirrored_hash_is_the_hash_of_the_mirrored_picture():
    pixels = photograph(1)
    mirrored = np.asarray(Image.open(io.BytesIO(encoded(pixels[:, ::-1]))))
    np.testing.assert_array_equal(hash_picture(pixels).bits, hash_picture(mirrored).bits[::-1])
    assert hash_picture(pixels).bits[0] != hash_picture(pixels).bits[1]
