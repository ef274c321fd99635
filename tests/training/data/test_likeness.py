import io

import numpy as np
import pytest
from PIL import Image

from core.images import decode_image, resize_bicubic
from tests.support.photographs import encoded, photograph
from training.data.selection import HashIndex, hash_picture


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


def test_flat_pictures_are_told_apart_by_their_colours():
    sky, wall = flat(90, 140, 220), flat(200, 190, 180)
    index = index_of(sky=sky)
    assert hash_picture(sky).is_featureless
    assert index.find(hash_picture(wall)) is None
    assert index.find(hash_picture(flat(90, 147, 220))) is None
    assert index.find(hash_picture(as_jpeg(sky, 75))) == "sky"


def test_gradients_without_a_feature_are_told_apart():
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
