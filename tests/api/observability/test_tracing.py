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
def test_a_streamed_response_is_logged_in_full(post, encode, caplog):
    response = post(encode(noise(60, 16)), buffered=True)
    (record,) = caplog.records
    assert record.bytes == len(response.data)
    assert record.upscale_ms >= record.first_ms > 0


@pytest.mark.usefixtures("sent_in_parts")
@pytest.mark.parametrize("parts", [0, 1])
def test_an_aborted_response_is_logged_as_not_whole(app, encode, caplog, parts):
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
def test_a_response_that_fails_while_streaming_is_logged(app, encode, caplog, monkeypatch):
    def fail(_encoder, _strips):
        yield b"header"
        yield b"first row"
        raise DeadlineExceeded

    monkeypatch.setattr("core.media.render.PictureEncoder.stream", fail)
    data = {"image": (io.BytesIO(encode(noise(60, 16))), "a.png")}
    response = app.test_client().post("/model/predict", data=data, buffered=False)
    with pytest.raises(DeadlineExceeded):
        b"".join(response.iter_encoded())
    response.close()
    assert not caplog.records[-1].whole


def test_request_ids_differ(client):
    ids = {client.get("/model/metadata").headers["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5


def test_a_client_can_set_the_request_id(client):
    response = client.get("/model/metadata", headers={"X-Request-Id": "order-66.a_b"})
    assert response.headers["X-Request-Id"] == "order-66.a_b"


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, "ü", 'a"b'])
def test_an_unsafe_request_id_is_replaced(client, given):
    response = client.get("/model/metadata", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] != given


@pytest.mark.parametrize("path", ["/nope", "/model/predict", "/swagger.json"])
def test_every_response_names_model_and_request(client, path):
    headers = client.get(path).headers
    assert headers["X-Model"] == "stand-in"
    assert headers["X-Request-Id"]


def test_query_strings_are_not_logged(client, caplog):
    client.get("/model/metadata?key=a-secret", buffered=True)
    (record,) = caplog.records
    assert "a-secret" not in str(record.__dict__)
