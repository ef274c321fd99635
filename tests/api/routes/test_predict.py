import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from tests.support.stand_ins import between, blur_then_repeat, make_card, noise, repeat
from tests.support.waiting import wait_until

LR = noise(21, 34)


def read_png(response):
    return np.asarray(Image.open(io.BytesIO(response.data)))


@pytest.fixture
def post_fields(client, encode):
    """Post LR with other fields beside it."""

    def post_fields(lr=LR, **fields):
        data = {"image": (io.BytesIO(encode(lr)), "a.png")} | fields
        return client.post("/model/predict", data=data)

    return post_fields


@pytest.mark.parametrize("accept", [None, "application/json", "image/png", "*/*"])
def test_a_picture_becomes_four_times_as_wide_and_high_whatever_is_accepted(post, encode, accept):
    response = post(encode(LR), headers={"Accept": accept} if accept else {})
    assert response.status_code == 200
    assert response.content_type == "image/png"
    assert "filename=result.png" in response.headers["Content-Disposition"]
    np.testing.assert_array_equal(read_png(response), blur_then_repeat(LR))


def test_one_pixel_becomes_sixteen(post, encode):
    response = post(encode(noise(1, 1)))
    assert read_png(response).shape == (4, 4, 3)


def test_alpha_is_upscaled(post, encode):
    response = post(encode(np.dstack([LR, np.full((21, 34), 128, np.uint8)])))
    sr = read_png(response)
    assert sr.shape == (84, 136, 4)
    np.testing.assert_array_equal(sr[..., 3], 128)


def test_dark_pictures_are_not_stretched(post, encode):
    sr = read_png(post(encode(np.full((20, 20, 3), 10, np.uint8))))
    assert sr.max() == 10


@pytest.mark.parametrize(
    ("fields", "scale", "size"),
    [
        ({"scale": "1"}, "1", "34x21"),
        ({"scale": "2"}, "2", "68x42"),
        ({"scale": "1.37"}, "1.37", "47x29"),
        ({"width": "100"}, "2.94118", "100x62"),
        ({"height": "42"}, "2", "68x42"),
        ({"width": "60", "height": "60"}, "1.76471", "60x37"),
        ({"width": "60", "height": "60", "fit": "cover"}, "2.85714", "60x60"),
        ({"scale": "6.5"}, "6.5", "221x137"),
    ],
)
def test_a_picture_gets_the_size_that_is_asked_for(post_fields, fields, scale, size):
    response = post_fields(restore="0", **fields)
    assert response.status_code == 200
    assert response.headers["X-Scale"] == scale
    assert response.headers["X-Output-Size"] == size
    height, width = read_png(response).shape[:2]
    assert f"{width}x{height}" == size
    assert float(response.headers["X-Consistency-PSNR"]) > 5


def test_the_same_size_gives_back_the_same_pixels(post_fields):
    response = post_fields(scale="1", restore="0")
    np.testing.assert_array_equal(read_png(response), LR)
    assert response.headers["X-Consistency-PSNR"] == "100.00"
    assert response.headers["X-Tiles"] == "0"


@pytest.mark.parametrize("fields", [{"scale": "4"}, {"width": "136"}, {"scale": "4.0"}])
def test_four_times_the_size_by_any_name_is_the_same_file(post_fields, fields):
    assert post_fields(**fields).data == post_fields().data


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"scale": "0"}, 400, "`scale` must be a number from 1 to 16, such as 2 or 1.5"),
        ({"scale": "-1"}, 400, "Received: '-1'"),
        ({"scale": "nan"}, 400, "Received: 'nan'"),
        ({"scale": "1e9"}, 400, "Received: '1e9'"),
        ({"scale": "4,5"}, 400, "Received: '4,5'"),
        ({"width": "0"}, 400, "`width` must be a whole number from 1 to 1000000. Received: '0'"),
        ({"width": "99999999"}, 400, "Received: '99999999'"),
        ({"width": "33"}, 400, "34 x 21 pixels. Received: width=33, a factor of 0.9706."),
        ({"width": "545"}, 400, "Received: width=545, a factor of 16.03."),
        ({"scale": "4", "width": "136"}, 400, "Received: scale=4, width=136"),
        ({"fit": "cover"}, 400, "`fit` must be contain unless both"),
        ({"scale": "7"}, 413, "at most 32000 pixels. Received: a picture that would become 238"),
    ],
)
def test_a_size_that_is_wrong_is_refused(post_fields, fields, status, message):
    response = post_fields(**fields)
    assert response.status_code == status
    assert message in response.json["message"]


@pytest.mark.parametrize(
    ("lr", "scale", "size"), [((1, 1), "16", (16, 16)), ((1, 200), "1.001", (200, 1))]
)
def test_extreme_pictures_get_their_size(post_fields, lr, scale, size):
    response = post_fields(noise(*lr), scale=scale)
    assert read_png(response).shape[1::-1] == size


def test_headers_state_what_was_done(post, encode):
    headers = post(encode(LR)).headers
    assert headers["X-Model"] == "stand-in"
    assert headers["X-Model-Version"] == "1.2.3"
    assert headers["X-Scale"] == "4"
    assert headers["X-Detail"] == "1"
    assert headers["X-Input-Size"] == "34x21"
    assert headers["X-Output-Size"] == "136x84"
    assert headers["X-Tiles"] == "6"
    stages = [part.split(";dur=") for part in headers["Server-Timing"].split(", ")]
    assert [name for name, _ in stages] == ["queue", "decode", "upscale"]
    assert all(float(ms) >= 0 for _, ms in stages)


def test_a_small_response_states_its_length_and_its_consistency(post, encode):
    response = post(encode(np.zeros((16, 40, 3), np.uint8)))
    assert int(response.headers["Content-Length"]) == len(response.data)
    assert response.headers["X-Consistency-PSNR"] == "100.00"
    blurred = post(encode(LR))
    assert 5 < float(blurred.headers["X-Consistency-PSNR"]) < 30


@pytest.mark.usefixtures("sent_in_parts")
def test_a_large_response_is_sent_while_it_is_computed(encode):
    windows = []
    upscaler = Upscaler(make_card(), lambda lr: windows.append(1) or repeat(lr), window=64)
    lr = noise(1200, 100)  # a row of tiles has to be more than the compressor holds back
    data = {"image": (io.BytesIO(encode(lr)), "a.png")}
    client = create_app(Settings(decoders=0), upscaler).test_client()
    response = client.post("/model/predict", data=data, buffered=False)
    begun = len(windows)
    png = b"".join(response.iter_encoded())
    assert "Content-Length" not in response.headers
    assert "X-Consistency-PSNR" not in response.headers
    assert response.headers["Server-Timing"].split(";")[0] == "queue"
    assert "first;dur=" in response.headers["Server-Timing"]
    assert 0 < begun < len(windows) / 2
    image = Image.open(io.BytesIO(png))
    np.testing.assert_array_equal(np.asarray(image), repeat(lr))
    assert image.info["Consistency-PSNR"] == "100.00 dB"


def current(app):
    return app.extensions["enhancer"]


@pytest.mark.usefixtures("sent_in_parts")
def test_memory_is_held_until_the_response_is_sent(app, encode):
    admission = current(app).admission
    data = {"image": (io.BytesIO(encode(noise(60, 16))), "a.png")}
    response = app.test_client().post("/model/predict", data=data, buffered=False)
    assert admission.taken > 0
    response.close()
    wait_until(lambda: admission.taken == 0)  # until the tile under way has ended
    assert current(app).upscaler.scheduler.backlog_s == 0


@pytest.mark.parametrize("data", [b"", b"no picture", None])
def test_a_refused_picture_holds_no_memory(app, post, encode, data):
    assert post(encode(LR)[:-40] if data is None else data).status_code == 400
    assert current(app).admission.taken == 0


def test_a_full_queue_says_when_to_retry(app, post, encode):
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
def test_a_picture_that_misses_its_deadline_is_given_up(app, post, encode, size):
    app.extensions["enhancer"] = replace(current(app), deadline_s=-1)
    response = post(encode(noise(*size)))
    assert response.status_code == 504
    assert "before its deadline" in response.json["message"]
    admission = current(app).admission
    wait_until(lambda: admission.taken == 0)  # until the tile under way has ended


def test_a_picture_that_would_take_too_long_is_refused_at_once(app, upscaler, encode, post_fields):
    grid = upscaler.grid(OutputOptions(), 40, 30)
    work = upscaler.work(upscaler.plan_result(grid, is_restored=False))
    upscaler.rate._highest = work / 38
    response = post_fields(noise(40, 30))
    assert response.status_code == 413
    assert response.json["message"] == (
        "Image must be computed within 30 s. Received: one that takes about 38 s at this size. A "
        "smaller picture takes less. A job (`Prefer: respond-async`) has no deadline."
    )
    upscaler.rate._highest = work / 37  # the estimate may be wrong by as much
    assert post_fields(noise(40, 30)).status_code == 200
    upscaler.rate._highest = 1
    assert post_fields(noise(40, 30), scale="1").status_code == 200
    assert client_of_job(app, encode(noise(40, 30))).status_code == 202


def client_of_job(app, data):
    """Ask for a job instead of the picture."""
    fields = {"image": (io.BytesIO(data), "a.png")}
    headers = {"Prefer": "respond-async"}
    return app.test_client().post("/model/predict", data=fields, headers=headers)


def test_a_picture_over_the_limit_is_refused_with_the_limit(post, encode):
    response = post(encode(noise(50, 41)))
    assert response.status_code == 413
    assert response.json == {
        "message": "Image must have at most 2000 pixels. Received: 41 x 50 = 2050 pixels."
    }


def test_a_request_over_the_limit_is_refused_with_the_limit(post):
    response = post(b"\0" * 200_000)
    assert response.status_code == 413
    assert "at most 100000 bytes. Received: 200" in response.json["message"]


def test_samples_of_32_bits_are_unsupported(post, encode):
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
def test_a_file_that_is_no_picture_is_refused_with_what_was_received(post, data, received):
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
def test_a_request_without_a_file_says_what_was_received(client, request_kwargs, received):
    response = client.post("/model/predict", **request_kwargs)
    assert response.status_code == 400
    assert "one file in the field `image`" in response.json["message"]
    assert received in response.json["message"]


def test_two_files_are_refused(client, encode):
    files = [(io.BytesIO(encode(LR)), "a.png"), (io.BytesIO(encode(LR)), "b.png")]
    response = client.post("/model/predict", data={"image": files})
    assert response.status_code == 400
    assert "2 files" in response.json["message"]


def test_unknown_fields_are_ignored(client, encode):
    data = {"image": (io.BytesIO(encode(LR)), "a.png"), "comment": "hello"}
    assert client.post("/model/predict", data=data).status_code == 200


@pytest.mark.parametrize("detail", ["0", "0.5", "1", "1.0", "5e-1"])
def test_the_caller_chooses_the_detail(post_fields, detail):
    response = post_fields(detail=detail)
    assert response.headers["X-Detail"] == f"{float(detail):g}"
    np.testing.assert_array_equal(read_png(response), between(LR, float(detail)))


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif"])
def test_the_caller_chooses_the_format(client, encode, post_fields, name):
    by_field = post_fields(format=name.upper())
    data = {"image": (io.BytesIO(encode(LR)), "a.png")}
    accept = {"Accept": f"image/{name}, */*;q=0.5"}
    by_header = client.post("/model/predict", data=data, headers=accept)
    for response in (by_field, by_header):
        assert response.status_code == 200
        assert response.content_type == f"image/{name}"
        assert f"filename=result.{name}" in response.headers["Content-Disposition"]
        assert "X-Consistency-PSNR" in response.headers
        image = Image.open(io.BytesIO(response.data))
        assert (image.format, image.size) == (name.upper(), (136, 84))


def test_the_field_overrides_the_accept_header(client, encode):
    data = {"image": (io.BytesIO(encode(LR)), "a.png"), "format": "webp"}
    response = client.post("/model/predict", data=data, headers={"Accept": "image/jpeg"})
    assert response.content_type == "image/webp"


@pytest.mark.parametrize("accept", ["image/jpeg, image/webp", "image/tiff", "image/*", "x"])
def test_an_accept_header_without_one_known_image_type_gives_a_png(post, encode, accept):
    assert post(encode(LR), headers={"Accept": accept}).content_type == "image/png"


def test_quality_is_obeyed(post_fields):
    low, high = (len(post_fields(format="jpeg", quality=q).data) for q in ("10", "95"))
    assert low < high / 2


def test_a_header_says_that_transparency_was_flattened(post_fields):
    lr = np.dstack([LR, np.full((21, 34), 0, np.uint8)])
    response = post_fields(lr, format="jpg")
    assert response.headers["X-Alpha"] == "flattened on white"
    assert read_png(response).min() > 250
    assert "X-Alpha" not in post_fields(lr, format="webp").headers
    assert "X-Alpha" not in post_fields(format="jpg").headers


def test_metadata_is_kept_only_if_asked_for(client, encode):
    exif = Image.Exif()
    exif[0x010F] = "a maker of cameras"
    data = encode(Image.fromarray(LR), "JPEG", exif=exif)

    def maker(**fields):
        form = {"image": (io.BytesIO(data), "a.jpg")} | fields
        answer = client.post("/model/predict", data=form)
        return Image.open(io.BytesIO(answer.data)).getexif().get(0x010F)

    assert maker() is None
    assert maker(metadata="drop") is None
    assert maker(metadata="keep") == "a maker of cameras"


def test_a_size_that_the_format_cannot_hold_is_refused_with_the_limit(upscaler, encode):
    client = create_app(Settings(decoders=0), upscaler).test_client()
    data = {"image": (io.BytesIO(encode(noise(1, 4100))), "a.png"), "format": "webp"}
    response = client.post("/model/predict", data=data)
    assert response.status_code == 413
    assert "16383" in response.json["message"]


WRONG = [
    ("detail", "1.01", "a number from 0 to 1. Received: 1.01"),
    ("detail", "-1", "Received: -1"),
    ("detail", "nan", "Received: nan"),
    ("detail", "inf", "Received: inf"),
    ("detail", "", "Received: ''"),
    ("detail", "much", "Received: 'much'"),
    ("detail", "9" * 500, "Received: inf"),
    ("detail", "x" * 500, f"Received: '{'x' * 40}'"),
    ("detail", ["0.5", "0.5"], "given once. Received: 2 fields"),
    ("detail", (io.BytesIO(b"0.5"), "detail.txt"), "Received: a file"),
    ("format", "gif", "one of png, jpeg, webp, avif. Received: 'gif'"),
    ("format", "", "Received: ''"),
    ("quality", "0", "a whole number from 1 to 100. Received: '0'"),
    ("quality", "101", "Received: '101'"),
    ("quality", "9" * 5000, "Received: '9999"),
    ("quality", "000000001" + "9" * 5000, "Received: '000000001999"),
    ("quality", "ten", "Received: 'ten'"),
    ("quality", "\u0663", "Received: '\u0663'"),
    ("profile", "p3", "one of srgb, keep. Received: 'p3'"),
    ("metadata", "all", "one of drop, keep. Received: 'all'"),
]


@pytest.mark.parametrize(("field", "value", "received"), WRONG)
def test_a_wrong_field_is_refused_with_what_was_received(post_fields, field, value, received):
    response = post_fields(**{field: value})
    assert response.status_code == 400
    assert f"`{field}` must be" in response.json["message"]
    assert received in response.json["message"]
