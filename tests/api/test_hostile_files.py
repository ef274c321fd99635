"""Hostile files through the whole service, with real decoder processes."""

import io
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from core.sandbox.decoder import SandboxedDecoder
from tests.support import hostile
from tests.support.picture_files import encoded, png_of_rows
from tests.support.stand_ins import blur_then_repeat, make_card, noise
from tests.support.waiting import wait_until

LR = encoded(noise(21, 34))


@pytest.fixture(scope="module")
def app():
    settings = Settings(max_pixels=20_000, memory_mb=16, decoders=2)
    app = create_app(settings, Upscaler(make_card(), blur_then_repeat, window=64))
    yield app
    app.extensions["enhancer"].decoder.close()


@pytest.fixture
def decode_with(app):
    """Let the decoder processes of the service run another function."""
    made, service = [], app.extensions["enhancer"]

    def decode_with(decode, wall_s=20):
        made.append(SandboxedDecoder(2, memory_bytes=100_000_000, wall_s=wall_s, decode=decode))
        app.extensions["enhancer"] = replace(service, decoder=made[-1])

    yield decode_with
    app.extensions["enhancer"] = service
    for decoder in made:
        decoder.close()


@pytest.fixture(scope="module")
def reference(app):
    return post(app, LR).data


@pytest.fixture(autouse=True)
def answers_as_ever(app, reference):
    yield
    assert post(app, LR).data == reference
    assert app.extensions["enhancer"].admission._taken == 0


def post(app, data):
    files = {"image": (io.BytesIO(data), "lr.png")}
    return app.test_client().post("/model/predict", data=files, buffered=True)


def test_the_response_equals_that_of_decoding_in_the_server_process(app, reference):
    upscaler = app.extensions["enhancer"].upscaler
    here = create_app(Settings(decoders=0), upscaler)
    assert post(here, LR).data == reference


def test_a_file_of_64_kb_that_announces_3600_megapixels_is_refused_cheaply(app, reference):
    bomb = png_of_rows(60_000, 60_000, bytes(15_000_000))
    assert reference and 60_000 < len(bomb) < 70_000
    began = time.perf_counter()
    response = post(app, bomb)
    assert time.perf_counter() - began < 1
    assert response.status_code == 413
    assert "at most 20000 pixels" in response.json["message"]


def test_a_small_header_before_a_bomb_is_refused_or_decoded(app):
    response = post(app, png_of_rows(20, 30, bytes(100_000_000)))
    assert response.status_code in (200, 400)


def test_decoding_is_repeated_if_the_decoder_is_killed(app, decode_with, tmp_path):
    decode_with(hostile.decode_after_being_killed)
    path = tmp_path / "processes"
    killer = threading.Thread(target=kill_the_first_of, args=(path,))
    killer.start()
    response = post(app, LR + os.fsencode(path))
    killer.join()
    assert response.status_code == 200
    assert len(path.read_text().split()) == 2


def kill_the_first_of(path):
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    os.kill(int(path.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("decode", "status", "message"),
    [
        (hostile.segfault, 400, "survives"),
        (hostile.sleep, 400, "within 1 s"),
        (hostile.compute, 400, "of which 0.5 s of computing"),
        (hostile.eat_memory, 413, "at most 100 MB"),
        (hostile.fault, 500, "Internal Server Error"),
    ],
)
def test_every_failure_of_a_decoder_becomes_a_response(app, decode_with, decode, status, message):
    decode_with(decode, wall_s=1)
    response = post(app, LR)
    assert response.status_code == status
    assert message in response.json["message"]


def test_hostile_files_do_not_disturb_other_requests(app, decode_with, reference):
    decode_with(hostile.segfault_if_told_so)

    def answer(number):
        return post(app, LR + b"BOOM" if number % 5 == 0 else LR)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(answer, range(40)))
    assert [a.status_code for a in answers] == [200 if n % 5 else 400 for n in range(40)]
    assert {a.data for a in answers if a.status_code == 200} == {reference}
