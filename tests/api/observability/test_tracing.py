import io
import logging

import pytest

from core.errors import DeadlineExceeded
from tests.support.stand_ins import noise


@pytest.fixture(autouse=True)
def log_level(caplog):
    caplog.set_level(logging.INFO, "enhancer.requests")


def test_a_request_is_logged_with_what_was_done(post, encode, caplog):
    response = post(encode(noise(9, 8)), buffered=True)
    (record,) = caplog.records
    assert record.getMessage() == "POST /model/predict 200"
    assert record.request_id == response.headers["X-Request-Id"]
    assert (record.method, record.path, record.status) == ("POST", "/model/predict", 200)
    assert record.bytes == len(response.data)
    assert record.whole
    assert (record.input_size, record.output_size, record.tiles) == ("8x9", "32x36", "1")
    assert record.ms >= record.upscale_ms > 0
    assert record.queue_ms >= 0
    assert not hasattr(record, "server_timing")


@pytest.mark.usefixtures("sent_in_parts")
def test_of_an_answer_in_parts_all_is_counted(post, encode, caplog):
    response = post(encode(noise(60, 16)), buffered=True)
    (record,) = caplog.records
    assert record.bytes == len(response.data)
    assert record.upscale_ms >= record.first_ms > 0


@pytest.mark.usefixtures("sent_in_parts")
@pytest.mark.parametrize("parts", [0, 1])
def test_an_answer_that_breaks_off_is_not_whole(app, encode, caplog, parts):
    data = {"image": (io.BytesIO(encode(noise(60, 16))), "a.png")}
    response = app.test_client().post("/model/predict", data=data, buffered=False)
    body = response.iter_encoded()
    for _ in range(parts):
        next(body)
    response.close()
    (record,) = caplog.records
    assert not record.whole
    assert not hasattr(record, "upscale_ms")


@pytest.mark.usefixtures("sent_in_parts")
def test_an_answer_that_fails_on_its_way_is_logged(app, encode, caplog, monkeypatch):
    def fail(_encoder, _strips):
        yield b"header and first rows"
        raise DeadlineExceeded

    monkeypatch.setattr("core.media.render.PictureEncoder.stream", fail)
    data = {"image": (io.BytesIO(encode(noise(60, 16))), "a.png")}
    response = app.test_client().post("/model/predict", data=data, buffered=False)
    with pytest.raises(DeadlineExceeded):
        b"".join(response.iter_encoded())
    response.close()
    assert not caplog.records[-1].whole


def test_ids_differ(client):
    ids = {client.get("/model/metadata").headers["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5


def test_a_caller_may_bring_an_id(client):
    response = client.get("/model/metadata", headers={"X-Request-Id": "order-66.a_b"})
    assert response.headers["X-Request-Id"] == "order-66.a_b"


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, "ü", 'a"b'])
def test_an_id_that_could_disturb_the_log_is_replaced(client, given):
    response = client.get("/model/metadata", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] != given


@pytest.mark.parametrize("path", ["/nope", "/model/predict", "/swagger.json"])
def test_every_answer_names_model_and_request(client, path):
    headers = client.get(path).headers
    assert headers["X-Model"] == "stand-in"
    assert headers["X-Request-Id"]


def test_a_query_is_not_logged(client, caplog):
    client.get("/model/metadata?key=a-secret", buffered=True)
    (record,) = caplog.records
    assert "a-secret" not in str(record.__dict__)
