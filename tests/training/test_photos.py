import numpy as np

from core.images import resize_bicubic
from tests.stand_ins import noise
from training.photos import count_licences, load_pairs, make_pair, read_manifest


def test_the_split_follows_the_content_and_leaves_most_for_training(photos_folder):
    photos = read_manifest(photos_folder)
    validation = [photo for photo in photos if photo.is_validation]
    assert 0 < len(validation) < len(photos) / 4
    assert validation == [photo for photo in read_manifest(photos_folder) if photo.is_validation]


def test_licences_are_counted(photos_folder):
    assert count_licences(read_manifest(photos_folder)) == {"CC0": 30, "CC BY 4.0": 10}


def test_every_photograph_of_the_manifest_is_loaded(photos_folder):
    pairs = load_pairs(read_manifest(photos_folder)[:3])
    assert [(pair.hr.shape, pair.lr.shape) for pair in pairs] == [((48, 64, 3), (12, 16, 3))] * 3


def test_a_pair_is_cropped_to_a_multiple_of_the_scale():
    photo = noise(19, 30)
    pair = make_pair(photo)
    np.testing.assert_array_equal(pair.hr, photo[:16, :28])
    np.testing.assert_array_equal(pair.lr, resize_bicubic(photo[:16, :28], 4, 7))
