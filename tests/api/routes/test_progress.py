import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from tests.support.stand_ins import blur_then_repeat, make_card, noise
from tests.support.waiting import wait_until

KEYS = ("the-first-of-two-keys", "the-second-of-two")
TIMEOUT_S = 10


class Gates:
    """A network whose tiles each wait for a gate."""

    def __init__(self):
        self._open = threading.Semaphore(0)

    def run(self, window):
        assert self._open.acquire(timeout=TIMEOUT_S)
        return blur_then_repeat(window)

    def open(self, tiles):
        self._open.release(tiles)


@pytest.fixture
def gates():
    return Gates()


@pytest.fixture
def create(gates, monkeypatch):
    monkeypatch.setattr("core.runtime.work_rate.INITIAL_RATE", 10.0)  # slow enough to be seen

    def create(**settings):
        upscaler = Upscaler(make_card(), gates.run, window=16)
        return create_app(Settings(decoders=0, no_jobs=True, **settings), upscaler)

    return create


@pytest.fixture
def pool(gates):
    with ThreadPoolExecutor(4) as pool:
        yield pool
        gates.open(1000)


def send(app, name, data, **headers):
    headers["X-Request-Id"] = name
    form = {"image": (io.BytesIO(data), "lr.png")}
    return app.test_client().post("/model/predict", data=form, headers=headers, buffered=True)


def ask(app, name, **headers):
    return app.test_client().get(f"/model/progress/{name}", headers=headers)


def state_of(app, name):
    return (ask(app, name).json or {}).get("state")


def test_tiles_are_counted_until_the_response_ends(create, gates, pool, encode):
    app = create(memory_mb=64)
    sent = pool.submit(send, app, "mine", encode(noise(10, 30)))
    wait_until(lambda: state_of(app, "mine") == "computing")
    first = ask(app, "mine").json
    assert first["tiles_done"] == 0
    assert first["tiles_total"] == 3
    assert first["pictures_before"] is None
    gates.open(2)
    wait_until(lambda: ask(app, "mine").json["tiles_done"] == 2)
    assert first["seconds_left"] >= 0
    assert ask(app, "mine").json["seconds_left"] is not None
    gates.open(1)
    assert sent.result().headers["X-Tiles"] == "3"
    assert ask(app, "mine").status_code == 404


def test_a_picture_waiting_for_the_network_knows_its_position(create, pool, encode):
    app = create(memory_mb=64)
    pool.submit(send, app, "first", encode(noise(10, 10)))
    wait_until(lambda: state_of(app, "first") == "computing")
    pool.submit(send, app, "small", encode(noise(9, 9)))
    wait_until(lambda: state_of(app, "small") is not None)
    pool.submit(send, app, "large", encode(noise(30, 30)))
    wait_until(lambda: state_of(app, "large") == "waiting")
    wait_until(lambda: ask(app, "large").json["pictures_before"] == 2)
    assert ask(app, "large").json["seconds_left"] > ask(app, "first").json["seconds_left"]


def test_a_picture_waiting_for_memory_knows_its_position(create, pool, encode):
    app = create(memory_mb=6)
    data = encode(noise(30, 30))
    pool.submit(send, app, "first", data)
    wait_until(lambda: state_of(app, "first") == "computing")
    for number, name in enumerate(("second", "third")):
        pool.submit(send, app, name, data)
        wait_until(lambda name=name: state_of(app, name) == "waiting")
        answer = ask(app, name).json
        assert (answer["pictures_before"], answer["tiles_total"]) == (number, 0)


def test_decoding_is_a_state(create, pool, encode, monkeypatch):
    app, reached, released = create(memory_mb=64), threading.Event(), threading.Event()
    decoder = app.extensions["enhancer"].decoder
    decode = decoder.decode

    def wait_then_decode(*arguments):
        reached.set()
        assert released.wait(TIMEOUT_S)
        return decode(*arguments)

    monkeypatch.setattr(decoder, "decode", wait_then_decode)
    pool.submit(send, app, "mine", encode(noise(10, 10)))
    assert reached.wait(TIMEOUT_S)
    assert state_of(app, "mine") == "decoding"
    released.set()


def test_a_failed_picture_is_unknown(create):
    app = create(memory_mb=64)
    assert send(app, "mine", b"Hello, world").status_code == 400
    response = ask(app, "mine")
    assert response.status_code == 404
    assert response.json == {
        "message": "Request must be one for a picture that is under way in this process. "
        "Received: 'mine'"
    }


def test_pictures_of_other_keys_are_unknown(create, pool, encode):
    app = create(memory_mb=64, api_keys=KEYS)
    headers = [{"X-API-Key": key} for key in KEYS]
    pool.submit(send, app, "mine", encode(noise(10, 10)), **headers[0])
    wait_until(lambda: ask(app, "mine", **headers[0]).status_code == 200)
    assert ask(app, "mine", **headers[1]).status_code == 404
    assert ask(app, "mine").status_code == 401


def test_the_later_of_two_requests_with_one_id_is_found(create, gates, pool, encode):
    app = create(memory_mb=64)
    first = pool.submit(send, app, "mine", encode(noise(10, 10)))
    wait_until(lambda: state_of(app, "mine") == "computing")
    pool.submit(send, app, "mine", encode(noise(10, 100)))
    wait_until(lambda: ask(app, "mine").json["tiles_total"] == 10)
    gates.open(1)
    assert first.result().status_code == 200
    assert ask(app, "mine").status_code == 200


def test_progress_is_neither_cached_nor_logged(create, pool, encode, caplog):
    app = create(memory_mb=64)
    pool.submit(send, app, "mine", encode(noise(10, 10)))
    wait_until(lambda: state_of(app, "mine") == "computing")
    with caplog.at_level("INFO"):
        assert ask(app, "mine").headers["Cache-Control"] == "no-store"
    assert not caplog.records
