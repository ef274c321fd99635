import io
import logging
import re
import threading

import pytest

from api.observability.tracing import StageTimes
from core.errors import DeadlineExceeded
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until


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


def test_the_stages_add_up_to_the_time_and_waiting_is_queue():
    now = [5.0]
    times = StageTimes(lambda: now[0])
    for stage, seconds, waited in (("queue", 1, 0), ("decode", 2, 0), ("first", 4, 3)):
        with times.measure(stage):
            now[0] += seconds
            times.wait(waited)
    assert times.ms == {"queue": 4000, "decode": 2000, "first": 1000}
    now[0] += 8
    times.wait(7)
    times.finish()
    assert times.ms == {"queue": 11_000, "decode": 2000, "first": 1000, "upscale": 2000}
    times.finish()
    assert times.ms["upscale"] == 2000


@pytest.fixture
def behind_another(app, upscaler, encode, monkeypatch, caplog):
    """Post a picture that waits 3 s for the tile of another, then takes 0.5 s.

    Return its `Server-Timing`, and the times in its line of the log.
    """
    now, gate, is_waiting = [0.0], threading.Event(), threading.Event()
    network, tile_s = upscaler._network, [3.0, 0.5, 0.0]

    def run(lr):
        assert gate.wait(10)
        now[0] += tile_s.pop(0)
        return network(lr)

    def wait(times, seconds):
        if threading.current_thread() is threads[1]:
            is_waiting.set()
        count_wait(times, seconds)

    def post(name, height):
        data = {"image": (io.BytesIO(encode(noise(height, 8))), "a.png")}
        headers = {"X-Request-Id": name}
        client = app.test_client()
        answers[name] = client.post("/model/predict", data=data, headers=headers, buffered=True)

    count_wait, answers = StageTimes.wait, {}
    upscaler._network, upscaler.scheduler.clock = run, lambda: now[0]
    pictures = (("other", 9), ("own", 20))  # the second has two rows of tiles
    threads = [threading.Thread(target=post, args=picture) for picture in pictures]
    threads[0].start()
    wait_until(lambda: upscaler.scheduler.backlog_s and not upscaler.scheduler.tiles_waiting)
    monkeypatch.setattr(StageTimes, "wait", wait)
    threads[1].start()
    assert is_waiting.wait(10)
    gate.set()
    for thread in threads:
        thread.join()
    (record,) = [r for r in caplog.records if r.request_id == "own"]
    times = dict(re.findall(r"(\w+);dur=([\d.]+)", answers["own"].headers["Server-Timing"]))
    return times, (record.queue_ms, record.decode_ms, record.upscale_ms)


@pytest.mark.parametrize("stage", ["upscale", "first"])
def test_waiting_for_the_tiles_of_others_is_queue_in_header_and_log(stage, request):
    if stage == "first":
        request.getfixturevalue("sent_in_parts")
    times, logged = request.getfixturevalue("behind_another")
    assert times == {"queue": "3000.0", "decode": "0.0", stage: "500.0"}
    assert logged == (3000, 0, 500)


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
