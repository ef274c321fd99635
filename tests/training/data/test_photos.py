from pathlib import Path

import numpy as np
import pytest

from core.images import resize_bicubic
from tests.support.photographs import rows_of
from tests.support.stand_ins import noise
from training import CommandFailed
from training.data.photos import (
    Origin,
    Photo,
    count_licences,
    load_pairs,
    make_pair,
    read_manifest,
    read_origins,
    read_table,
    split_photos,
    write_table,
)


def test_a_written_table_can_be_read(tmp_path):
    rows = [{"file": "a, b.jpg", "reason": 'said "no"\nand left'}, {"file": "é.png", "reason": ""}]
    write_table(tmp_path / "t.csv", ("file", "reason"), rows)
    assert read_table(tmp_path / "t.csv", ("file",)) == rows
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_an_interrupted_write_leaves_the_previous_table(tmp_path):
    def rows():
        yield {"file": "b"}
        raise KeyboardInterrupt

    write_table(tmp_path / "t.csv", ("file",), [{"file": "a"}])
    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path / "t.csv", ("file",), rows())
    assert rows_of(tmp_path / "t.csv") == [{"file": "a"}]
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_file_name_in_another_encoding_can_be_written(tmp_path):
    write_table(tmp_path / "t.csv", ("file",), [{"file": "b\udce4r.jpg"}])
    assert rows_of(tmp_path / "t.csv") == [{"file": r"b\udce4r.jpg"}]


def test_a_table_can_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_text("file,licence\na,CC0\n", encoding="utf-8-sig")
    assert read_table(tmp_path / "t.csv", ("file", "licence"))[0]["file"] == "a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,licence\n", "columns file, licence. Received: name, licence"),
        (b"", "Received: no columns"),
        (b"file,licence\n\xff", "CSV table in UTF-8"),
        (None, "No such file"),
    ],
)
def test_an_invalid_table_is_reported(tmp_path, content, message):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CommandFailed, match=message):
        read_table(tmp_path / "t.csv", ("file", "licence"))


def test_the_nearest_table_prevails(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "manifest.csv").write_text("file,licence\nweb/a.jpg,unclear\nb.jpg,CC0\n")
    (tmp_path / "web" / "licences.csv").write_text(
        "file,licence,source,author\na.jpg, CC BY 4.0 ,https://example.org/a,Ann\n"
    )
    assert read_origins(tmp_path) == {
        tmp_path / "web" / "a.jpg": Origin("CC BY 4.0", "https://example.org/a", "Ann"),
        tmp_path / "b.jpg": Origin("CC0"),
    }


def test_in_the_same_folder_licences_csv_prevails_over_manifest_csv(tmp_path):
    (tmp_path / "licences.csv").write_text("file,licence\na.jpg,CC0\n")
    (tmp_path / "manifest.csv").write_text("file,licence\na.jpg,unclear\n")
    assert read_origins(tmp_path) == {tmp_path / "a.jpg": Origin("CC0")}


def test_a_row_without_a_licence_is_ignored(tmp_path):
    (tmp_path / "licences.csv").write_text("file,licence\na.jpg, \nb.jpg\n")
    assert read_origins(tmp_path) == {}


def test_the_split_follows_the_content_and_leaves_most_for_training(photos_folder):
    photos = read_manifest(photos_folder)
    validation = [photo for photo in photos if photo.is_validation]
    assert 0 < len(validation) < len(photos) / 4
    assert validation == [photo for photo in read_manifest(photos_folder) if photo.is_validation]


def photo(first_digits):
    return Photo(Path(f"{first_digits}.jpg"), "CC0", f"{first_digits:08x}")


@pytest.mark.parametrize(
    ("numbers", "training", "validation"),
    [
        ([1, 20, 2, 40], [1, 2], [20, 40]),
        ([3, 1, 2], [3, 2], [1]),
        ([40, 20], [20], [40]),
    ],
)
def test_neither_side_of_the_split_is_empty(numbers, training, validation):
    sides = split_photos([photo(number) for number in numbers])
    assert sides == ([photo(n) for n in training], [photo(n) for n in validation])


def test_one_photograph_cannot_be_split():
    with pytest.raises(ValueError, match="at least two photographs.* Received: 1"):
        split_photos([photo(1)])


def test_licences_are_counted(photos_folder):
    assert count_licences(read_manifest(photos_folder)) == {"CC0": 30, "CC BY 4.0": 10}


def test_every_photograph_of_the_manifest_is_loaded(photos_folder):
    pairs = load_pairs(read_manifest(photos_folder)[:3])
    assert [(pair.hr.shape, pair.lr.shape) for pair in pairs] == [((48, 64, 3), (12, 16, 3))] * 3


def test_a_photograph_gives_a_pair_of_every_size(photos_folder):
    photos = read_manifest(photos_folder)[:2]
    pairs = load_pairs(photos, (1.0, 0.5))
    assert [pair.hr.shape for pair in pairs] == [(48, 64, 3), (24, 32, 3)] * 2
    whole, halved = pairs[:2]
    np.testing.assert_array_equal(whole.hr, load_pairs(photos)[0].hr)
    np.testing.assert_array_equal(halved.hr, resize_bicubic(whole.hr, 24, 32))
    np.testing.assert_array_equal(halved.lr, resize_bicubic(halved.hr, 6, 8))


def test_a_pair_is_cropped_to_a_multiple_of_the_scale():
    photo = noise(19, 30)
    pair = make_pair(photo)
    np.testing.assert_array_equal(pair.hr, photo[:16, :28])
    np.testing.assert_array_equal(pair.lr, resize_bicubic(photo[:16, :28], 4, 7))
