import base64
import re

import numpy as np
import pytest

from core.images import decode_image
from tests.support.photographs import encoded, photograph
from training.data.collect import PhotoRequirements, prepare
from training.data.photos import read_manifest
from training.data.report import (
    busiest_patch,
    choose_sample,
    laplacian,
    measure,
    render_refused,
    write_report,
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for seed in range(10):
        (source / f"{seed}.png").write_bytes(encoded(photograph(seed, 192 + 8 * seed)))
    (source / "<b>.png").write_bytes(b"<i>")
    prepare(source, target, PhotoRequirements("CC0 & <more>"))
    return target


@pytest.fixture(scope="module")
def page(collection, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    write_report(collection, folder)
    (path,) = folder.iterdir()
    return path.read_text(encoding="utf-8")


def test_the_page_holds_its_pictures(page):
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    decoded = [decode_image(base64.b64decode(picture)).pixels for picture in pictures]
    assert len(decoded) == 5
    assert all(pixels.std() > 1 for pixels in decoded)
    assert "src=" not in re.sub(r'src="data:', "", page)


def test_the_page_lists_what_was_refused(page):
    assert "<h1>10 photographs to train on</h1>" in page
    assert "<h2>Refused: 1</h2>" in page
    assert "<td>&lt;b&gt;.png</td>" in page
    assert "begin with b&#x27;&lt;i&gt;" in page


def test_the_same_collection_gives_the_same_page(collection, page, tmp_path):
    write_report(collection, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_nothing_refused_needs_no_table(page):
    assert "<table>" in page
    assert "<table>" not in render_refused([])


def test_the_sample_does_not_depend_on_the_order(collection):
    photos = read_manifest(collection)
    assert choose_sample(photos) == choose_sample(photos[::-1])
    pair = busiest_patch(photos[0])
    assert (pair.hr.shape, pair.lr.shape) == ((96, 96, 3), (24, 24, 3))


def test_measures_of_a_colour():
    pixels = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    measures = measure(pixels)
    assert (measures.height, measures.width) == (20, 30)
    assert (measures.red, measures.green, measures.blue) == (200, 100, 50)
    assert measures.luma == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert measures.saturation == pytest.approx(0.75)
    assert measures.sharpness == pytest.approx(0, abs=1e-6)


def test_black_has_no_saturation():
    assert measure(np.zeros((4, 5, 3), np.uint8)).saturation == 0


def test_a_blurred_picture_is_less_sharp():
    sharp = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    blurred = (sharp // 2 + np.roll(sharp, 1, axis=1) // 2).astype(np.uint8)
    assert measure(blurred).sharpness < measure(sharp).sharpness / 2


def test_the_laplacian_of_a_dot():
    luma = np.zeros((5, 6), np.float32)
    luma[2, 3] = 1
    expected = np.zeros((3, 4))
    expected[0, 2] = expected[2, 2] = expected[1, 1] = expected[1, 3] = 1
    expected[1, 2] = -4
    np.testing.assert_array_equal(laplacian(luma), expected)
