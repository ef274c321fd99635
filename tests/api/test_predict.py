import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app import create_app
from config import Settings
from core.upscaler import Upscaler
from tests.stand_ins import between, blur_then_repeat, make_card, noise, repeat

LR = noise(21, 34)


def read_png(response):
    return np.asarray(Image.open(io.BytesIO(response.data)))


@pytest.mark.parametrize("accept", [None, "application/json", "image/png", "*/*"])
def test_a_picture_comes_back_four_times_as_large_whatever_is_accepted(post, encode, accept):
    response = post(encode(LR), headers={"Accept": accept} if accept else {})
    assert response.status_code == 200
    assert response.content_type == "image/png"
    assert "filename=result.png" in response.headers["Content-Disposition"]
    np.testing.assert_array_equal(read_png(response), blur_then_repeat(LR))


def test_one_pixel_becomes_sixteen(post, encode):
    response = post(encode(noise(1, 1)))
    assert read_png(response).shape == (4, 4, 3)


def test_alpha_comes_back(post, encode):
    response = post(encode(np.dstack([LR, np.full((21, 34), 128, np.uint8)])))
    sr = read_png(response)
    assert sr.shape == (84, 136, 4)
    np.testing.assert_array_equal(sr[..., 3], 128)


def test_dark_pictures_are_not_stretched(post, encode):
    sr = read_png(post(encode(np.full((20, 20, 3), 10, np.uint8))))
    assert sr.max() == 10


def test_what_was_done_is_told(post, encode):
    headers = post(encode(LR)).headers
    assert headers["X-Model"] == "stand-in"
    assert headers["X-Model-Version"] == "1.2.3"
    assert headers["X-Scale"] == "4"
    assert headers["X-Detail"] == "1"
    assert headers["X-Input-Size"] == "34x21"
    assert headers["X-Output-Size"] == "136x84"
    assert headers["X-Tiles"] == "6"
    stages = [part.split(";dur=") for part in headers["Server-Timing"].split(", ")]
    assert [name for name, _ in stages] == ["queue", "decode", "first"]
    assert all(float(ms) >= 0 for _, ms in stages)


def test_an_answer_of_one_row_of_tiles_has_its_length_and_all_timings(post, encode):
    response = post(encode(noise(16, 40)))
    assert int(response.headers["Content-Length"]) == len(response.data)
    stages = [part.split(";dur=")[0] for part in response.headers["Server-Timing"].split(", ")]
    assert stages == ["queue", "decode", "upscale"]


def test_a_longer_answer_is_sent_while_it_is_made(encode):
    windows = []
    upscaler = Upscaler(make_card(), lambda lr: windows.append(1) or repeat(lr), window=64)
    lr = noise(1200, 100)  # a row of tiles has to be more than the compressor holds back
    data = {"image": (io.BytesIO(encode(lr)), "a.png")}
    client = create_app(Settings(decoders=0), upscaler).test_client()
    response = client.post("/model/predict", data=data, buffered=False)
    begun = len(windows)
    png = b"".join(response.iter_encoded())
    assert "Content-Length" not in response.headers
    assert 0 < begun < len(windows) / 2
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), repeat(lr))


def current(app):
    return app.extensions["enhancer"]


def test_memory_is_held_until_the_answer_has_been_sent(app, encode):
    admission = current(app).admission
    data = {"image": (io.BytesIO(encode(noise(60, 16))), "a.png")}
    response = app.test_client().post("/model/predict", data=data, buffered=False)
    assert admission._taken > 0
    response.close()
    assert admission._taken == 0
    assert current(app).upscaler.lane.backlog_s == 0


@pytest.mark.parametrize("data", [b"", b"no picture", None])
def test_a_refused_picture_holds_no_memory(app, post, encode, data):
    assert post(encode(LR)[:-40] if data is None else data).status_code == 400
    assert current(app).admission._taken == 0


def test_too_many_are_told_when_to_come_back(app, post, encode):
    service = current(app)
    service.admission.queue = 0
    with service.admission.admit(service.admission.budget):
        response = post(encode(LR))
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert "may wait" in response.json["message"]
    assert post(encode(LR)).status_code == 200


def test_a_picture_that_can_never_fit_is_too_large(app, post, encode):
    current(app).admission.budget = 1_000_000
    response = post(encode(LR))
    assert response.status_code == 413
    assert "at most 1 MB of memory" in response.json["message"]


@pytest.mark.parametrize("size", [(16, 16), (60, 16)])
def test_a_picture_that_takes_too_long_is_given_up(app, post, encode, size):
    app.extensions["enhancer"] = replace(current(app), deadline_s=-1)
    response = post(encode(noise(*size)))
    assert response.status_code == 504
    assert "before its deadline" in response.json["message"]
    assert current(app).admission._taken == 0


def test_too_large_a_picture_is_refused_with_the_limit(post, encode):
    response = post(encode(noise(50, 41)))
    assert response.status_code == 413
    assert response.json == {
        "message": "Image must have at most 2000 pixels. Received: 41 x 50 = 2050 pixels."
    }


def test_too_large_a_request_is_refused_with_the_limit(post):
    response = post(b"\0" * 200_000)
    assert response.status_code == 413
    assert "at most 100000 bytes. Received: 200" in response.json["message"]


def test_samples_of_32_bits_are_an_unsupported_type(post, encode):
    response = post(encode(Image.new("F", (9, 9)), "TIFF"))
    assert response.status_code == 415
    assert "32-bit" in response.json["message"]


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"", "0 bytes"),
        (b"just some text", "14 bytes that begin with b'just som'"),
        (b"\x89PNG\r\n\x1a\n", "8 bytes"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_came(post, data, received):
    response = post(data)
    assert response.status_code == 400
    assert received in response.json["message"]


def test_a_truncated_picture_is_refused_and_the_next_one_is_served(post, encode):
    data = encode(LR)
    assert post(data[:-40]).status_code == 400
    assert post(data).status_code == 200


@pytest.mark.parametrize(
    ("request_kwargs", "received"),
    [
        ({}, "Content-Type ''"),
        ({"json": {"image": "x"}}, "Content-Type 'application/json'"),
        ({"data": b"raw", "content_type": "image/png"}, "Content-Type 'image/png'"),
        ({"data": {"image": "text"}, "content_type": "multipart/form-data"}, "a text in the field"),
        ({"data": {"img": (io.BytesIO(b"x"), "x.png")}}, "the fields ['img']"),
        (
            {
                "data": b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
                "content_type": "multipart/form-data; boundary=x",
            },
            "['None']",
        ),
        ({"data": {"a": "1", "b": "2"}, "content_type": "multipart/form-data"}, "['a', 'b']"),
        ({"content_type": "multipart/form-data; boundary=x", "data": b"--x--"}, "no fields"),
    ],
)
def test_a_request_without_the_file_is_told_what_came(client, request_kwargs, received):
    response = client.post("/model/predict", **request_kwargs)
    assert response.status_code == 400
    assert "one file in the field `image`" in response.json["message"]
    assert received in response.json["message"]


def test_two_files_are_refused(client, encode):
    files = [(io.BytesIO(encode(LR)), "a.png"), (io.BytesIO(encode(LR)), "b.png")]
    response = client.post("/model/predict", data={"image": files})
    assert response.status_code == 400
    assert "2 files" in response.json["message"]


def test_other_fields_do_not_disturb(client, encode):
    data = {"image": (io.BytesIO(encode(LR)), "a.png"), "comment": "hello"}
    assert client.post("/model/predict", data=data).status_code == 200


@pytest.fixture
def post_detail(client, encode):
    def post_detail(detail):
        data = {"image": (io.BytesIO(encode(LR)), "a.png"), "detail": detail}
        return client.post("/model/predict", data=data)

    return post_detail


@pytest.mark.parametrize("detail", ["0", "0.5", "1", "1.0", "5e-1"])
def test_the_caller_chooses_the_detail(post_detail, detail):
    response = post_detail(detail)
    assert response.headers["X-Detail"] == f"{float(detail):g}"
    np.testing.assert_array_equal(read_png(response), between(LR, float(detail)))


@pytest.mark.parametrize(
    ("detail", "received"),
    [
        ("1.01", "a number from 0 to 1. Received: 1.01"),
        ("-1", "Received: -1"),
        ("nan", "Received: nan"),
        ("inf", "Received: inf"),
        ("", "Received: ''"),
        ("much", "Received: 'much'"),
        ("9" * 500, "Received: inf"),
        ("x" * 500, f"Received: '{'x' * 40}'"),
        (["0.5", "0.5"], "one number. Received: 2 fields"),
        ((io.BytesIO(b"0.5"), "detail.txt"), "Received: a file"),
    ],
)
def test_a_wrong_detail_is_refused_with_what_came(post_detail, detail, received):
    response = post_detail(detail)
    assert response.status_code == 400
    assert received in response.json["message"]
    assert "`detail` must be" in response.json["message"]
