"""Pictures that are restored before they are upscaled."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from api.routes.predict import TIME_MARGIN
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from tests.support.stand_ins import lighten, make_card, make_restorer, noise, repeat

LR = noise(21, 34) // 2


@pytest.fixture
def upscaler():
    return Upscaler(make_card(), repeat, window=16, restorer=make_restorer(lighten))


@pytest.fixture(autouse=True)
def judged_by_its_height(monkeypatch):
    """Auto restores at a hundredth of the height."""
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda lr: lr.height / 100)


@pytest.fixture
def upscale(client, encode):
    """Post a picture with fields; return the response."""

    def upscale(picture=LR, **fields):
        data = {"image": (io.BytesIO(encode(picture)), "lr.png"), **fields}
        return client.post("/model/predict", data=data, buffered=True)

    return upscale


@pytest.fixture
def upscale_in_job(client, app, encode):
    """Post `LR` with fields as a job; return the job as accepted, and its result."""
    app.start()

    def upscale(**fields):
        data = {"image": (io.BytesIO(encode(LR)), "lr.png"), **fields}
        job = client.post("/model/predict", data=data, headers={"Prefer": "respond-async"}).json
        client.get(job["links"]["events"], buffered=True)
        return job, client.get(job["links"]["result"], buffered=True)

    return upscale


def read_png(response):
    assert response.status_code == 200
    return np.asarray(Image.open(io.BytesIO(response.data)))


def read_with_text(data):
    """Return the pixels and the text chunks of a PNG."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return np.asarray(image).tolist(), image.text


@pytest.mark.parametrize(("restore", "header"), [("0.5", "0.5"), ("1", "1"), ("0", "0")])
def test_the_strength_is_what_the_caller_asks_for(upscale, restore, header):
    response = upscale(restore=restore)
    assert response.headers["X-Restore"] == header
    np.testing.assert_array_equal(read_png(response), repeat(LR) + int(100 * float(restore)))


def test_auto_is_the_default_and_decides_by_the_picture(upscale):
    response = upscale()
    assert response.headers["X-Restore"] == "0.21; auto"
    np.testing.assert_array_equal(read_png(response), repeat(LR) + 21)
    assert upscale(restore="AUTO").data == response.data


def test_auto_judges_the_whole_picture_of_which_a_part_is_shown(upscale, upscale_in_job):
    fields = {"width": "136", "height": "40", "fit": "cover"}  # 10 of 21 rows
    response = upscale(**fields)
    assert response.headers["X-Restore"] == "0.21; auto"
    shown = read_png(response)
    assert shown.shape == (40, 136, 3)
    _, result = upscale_in_job(**fields)
    np.testing.assert_array_equal(read_png(result), shown)


def test_strength_0_gives_the_bytes_of_a_service_without_a_restorer(upscale, upscaler):
    restored = upscale(restore="0").data
    upscaler.restorer = None
    assert upscale().data == restored


def test_a_picture_that_takes_too_long_if_it_is_restored_is_refused_once_auto_has_decided(
    upscale, upscaler, app, monkeypatch
):
    grid = upscaler.grid(OutputOptions(), *LR.shape[:2])
    plain, restored = (
        upscaler.work(upscaler.plan_result(grid, is_restored=is_restored))
        for is_restored in (False, True)
    )
    deadline_s = app.extensions["enhancer"].deadline_s
    upscaler.rate._highest = (plain + restored) / 2 / (TIME_MARGIN * deadline_s)
    response = upscale()
    assert response.status_code == 413
    assert "takes about" in response.json["message"]
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda _lr: 0.0)
    assert upscale().status_code == 200


def test_the_result_is_compared_with_the_restored_picture(upscale):
    assert upscale(restore="1").headers["X-Consistency-PSNR"] == "100.00"


def test_the_file_states_the_strength(upscale):
    for restore, text in (("auto", "0.21; auto"), ("0.5", "0.5"), ("0", None)):
        image = Image.open(io.BytesIO(upscale(restore=restore).data))
        image.load()
        assert image.text.get("Restore") == text


@pytest.mark.usefixtures("sent_in_parts")
def test_a_streamed_picture_is_restored_in_the_same_way(upscale):
    tall = noise(60, 30) // 2
    response = upscale(tall, restore="1")
    assert "Content-Length" not in response.headers
    image = Image.open(io.BytesIO(response.data))
    image.load()
    np.testing.assert_array_equal(np.asarray(image), repeat(tall) + 100)
    assert (image.text["Restore"], image.text["Consistency-PSNR"]) == ("1", "100.00 dB")


def test_the_tiles_of_the_restorer_are_counted(upscale, upscaler):
    plain, restored = (int(upscale(restore=s).headers["X-Tiles"]) for s in ("0", "1"))
    assert plain == sum(map(len, upscaler.plan(21, 34)))
    assert restored == plain + sum(map(len, upscaler.restorer.plan(21, 34)))


@pytest.mark.parametrize("restore", ["1.5", "-0.1", "much", ""])
def test_a_wrong_strength_is_refused(upscale, restore):
    response = upscale(restore=restore)
    assert response.status_code == 400
    expected = f"`restore` must be a number from 0 to 1, or auto. Received: {restore!r}"
    assert response.json["message"] == expected


def test_without_a_restorer_only_0_and_auto_are_accepted(upscale, upscaler):
    upscaler.restorer = None
    assert upscale().headers["X-Restore"] == "0; auto"
    assert upscale(restore="0").status_code == 200
    response = upscale(restore="0.5")
    assert response.status_code == 400
    assert "no restorer beside it. Received: 0.5" in response.json["message"]


def test_a_job_gives_the_picture_of_the_request(upscale, upscale_in_job):
    for restore in ("auto", "0.5"):
        wanted = read_with_text(upscale(restore=restore).data)
        job, result = upscale_in_job(restore=restore)
        assert read_with_text(result.data) == wanted
        assert job["restore"] == (None if restore == "auto" else 0.5)


def test_the_restorer_is_described(client):
    restore = client.get("/model/metadata").json["restore"]
    assert (restore["least"], restore["most"], restore["default"]) == (0, 1, "auto")
    assert restore["restorer"]["name"] == "restorer"
    assert restore["restorer"]["halo"] == 7


def test_without_a_restorer_none_is_described(client, upscaler):
    upscaler.restorer = None
    restore = client.get("/model/metadata").json["restore"]
    assert restore == {"least": 0, "most": 0, "default": "auto"}


def test_strengths_are_counted_by_who_chose_them(client, upscale):
    for restore in ("auto", "0.5", "1"):
        upscale(restore=restore)
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = {(s.name, s.labels.get("choice")): s.value for f in families for s in f.samples}
    name = "enhancer_restore_strength"
    assert found[f"{name}_count", "auto"] == 1
    assert found[f"{name}_count", "caller"] == 2
    assert found[f"{name}_sum", "caller"] == 1.5


def test_the_log_states_the_strength(upscale, caplog):
    with caplog.at_level("INFO", "enhancer.requests"):
        upscale()
    (record,) = [r for r in caplog.records if r.name == "enhancer.requests"]
    assert record.restore == "0.21; auto"


def test_the_document_allows_a_number_or_auto(client):
    document = client.get("/swagger.json").json
    (field,) = [
        parameter
        for parameter in document["paths"]["/model/predict"]["post"]["parameters"]
        if parameter["name"] == "restore"
    ]
    assert (field["type"], field["default"]) == ("string", "auto")
    assert json.dumps(field["pattern"])


def test_the_operator_may_choose_another_default(app, client, upscale):
    app.extensions["enhancer"] = replace(app.extensions["enhancer"], restore=0.5)
    assert client.get("/model/metadata").json["restore"]["default"] == 0.5
    assert upscale().headers["X-Restore"] == "0.5"
    assert upscale(restore="auto").headers["X-Restore"] == "0.21; auto"
