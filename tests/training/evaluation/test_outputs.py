import http.server
import threading

import numpy as np
import pytest

from core.images import decode_image, encode_png
from core.model.tiles import Box
from core.picture import Picture
from tests.support.stand_ins import repeat
from training.evaluation.outputs import (
    CROP_PX,
    bicubic,
    compare_restored,
    find_busiest_square,
    from_folder,
    list_peers,
    list_test_pictures,
    list_test_sets,
    list_wild_pictures,
    read_options,
    through_core,
    through_service,
)


@pytest.fixture
def picture(test_sets):
    return list_test_pictures(test_sets / "Set2")[0]


def test_test_sets_are_listed_with_their_pictures(test_sets):
    (test_set,) = list_test_sets(test_sets)
    assert [(p.test_set, p.name) for p in list_test_pictures(test_set)] == [
        ("Set2", "0"),
        ("Set2", "1"),
    ]


def test_wild_pictures_belong_to_a_test_set_of_their_own(picture, tmp_path):
    assert list_wild_pictures(picture.hr_path.parents[1]) == []
    for name in ("HR/a.png", "HR/b.png", "LRwild/b.jpg", "LRwild/degradation.csv"):
        path = tmp_path / "Set3" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (wild,) = list_wild_pictures(tmp_path / "Set3")
    assert (wild.test_set, wild.name, wild.lr_path.name) == ("Set3 wild", "b", "b.jpg")


def test_options_are_read_as_those_of_a_request():
    options = read_options({"detail": "0.25", "format": "webp"})
    assert (options.detail, options.format) == (0.25, "webp")


def test_bicubic_has_the_size_of_the_original(picture):
    assert bicubic(picture).shape == picture.decode_hr().shape


def test_a_part_is_shown_by_bicubic_without_restoring_and_with_it(picture, card_path):
    shown = decode_image(compare_restored(card_path, picture.lr_path, Box(2, 1, 6, 8))).pixels
    rows, columns = slice(8, 24), slice(4, 32)
    np.testing.assert_array_equal(shown[:, :28], bicubic(picture)[rows, columns])
    sr = through_core(card_path)(picture)[rows, columns]
    np.testing.assert_array_equal(shown[:, 28:], np.concatenate([sr, sr], axis=1))


@pytest.mark.parametrize("part", [Box(-1, 0, 4, 4), Box(0, 0, 4, 999), Box(3, 3, 3, 6)])
def test_a_part_beyond_the_picture_is_refused(picture, card_path, part):
    with pytest.raises(ValueError, match=f"Received: left {part.left}, top {part.top}"):
        compare_restored(card_path, picture.lr_path, part)


def test_a_graph_is_run_through_core(picture, card_path):
    sr = through_core(card_path)(picture)
    assert sr.shape == picture.decode_hr().shape
    assert sr.dtype == np.uint8


def test_peers_are_read_from_their_folders(picture, tmp_path):
    folder = tmp_path / "somebody" / "Set2"
    folder.mkdir(parents=True)
    sr = repeat(picture.decode_lr())
    (folder / "0.png").write_bytes(encode_png(Picture(sr)))
    (peer,) = list_peers(tmp_path, "Set2")
    np.testing.assert_array_equal(from_folder(peer)(picture), sr)
    assert list_peers(tmp_path, "Set3") == []


def test_a_running_service_is_posted_to(picture):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            parts = [b'name="image"' in body, b'name="detail"' in body]
            seen.append((self.path, *parts))
            data = body[body.index(b"\x89PNG") :].rsplit(b"\r\n--", 1)[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encode_png(Picture(repeat(decode_image(data).pixels))))

        def log_message(self, *_args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        output = through_service(f"http://127.0.0.1:{server.server_port}", detail="1")
        np.testing.assert_array_equal(output(picture), repeat(picture.decode_lr()))
        server.shutdown()
    assert seen == [("/model/predict", True, True)]


def test_the_enlarged_square_is_the_one_with_the_most_detail():
    hr = np.full((300, 400, 3), 90, np.uint8)
    hr[160:220:2, 240:300:2] = 200
    top, left = find_busiest_square(hr)
    assert top <= 160
    assert top + CROP_PX >= 220
    assert left <= 240
    assert left + CROP_PX >= 300


def test_a_picture_smaller_than_the_square_is_shown_whole():
    assert find_busiest_square(np.zeros((40, 48, 3), np.uint8)) == (0, 0)
