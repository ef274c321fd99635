import io
import threading
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from core.model.registry import LoadedNetworks, ModelRegistry, OnDemandNetworks, ServedModel
from core.model.upscaler import Upscaler
from tests.support.stand_ins import blur_then_repeat, make_card, make_restorer, noise
from tests.support.waiting import wait_until

MEGABYTE = 1_000_000
TIMEOUT_S = 30


def double(lr):
    return lr.repeat(2, axis=0).repeat(2, axis=1)


@pytest.fixture
def loads():
    return []


@pytest.fixture(autouse=True)
def models(app, loads):
    """Give the service a model of scale 2, one that cleans, one too large, and a broken card."""
    service = app.extensions["enhancer"]
    default = service.upscaler
    default.restorer = make_restorer()

    def create(memory_bytes=MEGABYTE, network=double, **card):
        def load(_most_bytes):
            loads.append(card["name"])
            return LoadedNetworks(network, memory_bytes)

        networks = OnDemandNetworks(card["name"], load, MEGABYTE)
        upscaler = Upscaler(
            make_card(**card),
            networks.run,
            window=16,
            restorer=default.restorer,
            scheduler=default.scheduler,
            rate=default.rate.scaled(30),
        )
        return ServedModel(upscaler, networks, 30.0)

    registry = ModelRegistry(
        ServedModel(default),
        [
            create(name="double", scale=2),
            create(name="cleans", network=blur_then_repeat, restores=True),
            create(name="huge", memory_bytes=500 * MEGABYTE, scale=2),
        ],
        {"broken": "broken.json must be a model card."},
    )
    object.__setattr__(service, "models", registry)
    object.__setattr__(service.jobs.engine._context, "models", registry)


@pytest.fixture
def ask(client, encode):
    def ask(route="predict", size=(9, 14), **fields):
        field = "file" if route == "jobs" else "image"
        file = (io.BytesIO(encode(noise(*size))), "lr.png")
        # Buffered: the response is closed, which releases its memory.
        return client.post(f"/model/{route}", data={field: file, **fields}, buffered=True)

    return ask


def test_a_request_chooses_its_model_and_others_get_what_they_got(ask, loads):
    before = ask(restore="0").data
    chosen = ask(model="double", restore="0")
    assert chosen.headers["X-Model"] == "double"
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(chosen.data))), double(noise(9, 14))
    )
    assert ask(restore="0").data == before == ask(model="stand-in", restore="0").data
    assert loads == ["double"]


def test_a_model_that_cleans_is_not_restored_unless_asked(ask):
    strengths = [
        ask(**fields).headers["X-Restore"]
        for fields in ({"model": "cleans"}, {"model": "cleans", "restore": "1"})
    ]
    assert strengths == ["0", "1"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "unknown"}, "one of stand-in, double, cleans, huge. Received: 'unknown'"),
        ({"model": "../double"}, "must be a name of at most 64 letters"),
        ({"model": "x" * 65}, "must be a name of at most 64 letters"),
        ({"model": "broken"}, "'broken', which cannot be served: broken.json must be"),
        ({"model": "double", "detail": "0.5"}, "`detail` must be 1"),
        ({"model": "double", "scale": "5"}, "from 1 to 4 times"),
    ],
)
def test_what_a_model_does_not_have_is_refused(ask, loads, fields, message):
    for route in ("predict", "estimate", "jobs"):
        response = ask(route, **fields)
        assert response.status_code == 400
        assert message in response.json["message"]
    assert loads == []


def test_a_model_that_does_not_fit_gets_413_with_the_numbers(ask):
    for _ in range(2):
        response = ask(model="huge")
        assert response.status_code == 413
        assert "at most 16 MB" in response.json["message"]
        assert "the model takes 500 MB" in response.json["message"]
    assert ask(model="double").status_code == 200


def test_a_model_that_cannot_be_loaded_at_the_moment_gets_503_until_it_can(ask, app, monkeypatch):
    networks = app.extensions["enhancer"].models.find("double").networks
    with monkeypatch.context() as patch:
        patch.setattr(networks, "_load", Mock(side_effect=MemoryError))
        response = ask(model="double")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
        assert "can be loaded at the moment. Received: 'double'" in response.json["message"]
    assert ask(model="double").status_code == 200


def test_the_metadata_list_all_models_and_what_is_wrong_with_others(client):
    listed = client.get("/model/metadata").json["models"]
    assert [model["name"] for model in listed] == ["stand-in", "double", "cleans", "huge", "broken"]
    assert [model.get("scale") for model in listed] == [4, 2, 4, 2, None]
    assert [model.get("restore") for model in listed] == ["auto", "auto", 0, "auto", None]
    assert listed[1]["cost"] == 30
    assert listed[-1]["error"] == "broken.json must be a model card."


@pytest.fixture
def slow(app, monkeypatch):
    """Let the default model upscale 1000 LR pixels a second, and `double` a thirtieth of that."""
    monkeypatch.setattr(app.extensions["enhancer"].upscaler.rate, "_measured", 1000.0)
    return app.extensions["enhancer"]


def test_an_estimate_is_by_the_rate_of_its_model_and_by_its_arithmetic_before_there_is_one(
    ask, slow
):
    def seconds(**fields):
        return ask("estimate", (30, 60), restore="0", scale="2", **fields).json["seconds"]

    usual = seconds()
    assert seconds(model="double") == pytest.approx(30 * usual, rel=0.1)
    slow.models.find("double").upscaler.rate.add(100, 0.1)
    assert seconds(model="double") == pytest.approx(usual, rel=0.1)


def test_a_picture_is_refused_for_its_deadline_by_the_rate_of_its_model(ask, slow):
    assert ask(model="double").status_code == 200  # nothing is known of its rate
    slow.models.find("double").upscaler.rate.add(1000, 10_000.0)
    response = ask(model="double")
    assert response.status_code == 413
    assert "must be computed within" in response.json["message"]
    assert ask().status_code == 200


def test_a_busy_model_tells_by_its_rate_when_to_ask_again(ask, slow, monkeypatch):
    model, opened = slow.models.find("double"), threading.Event()

    def wait(lr):
        assert opened.wait(TIMEOUT_S)
        return double(lr)

    loaded = LoadedNetworks(wait, MEGABYTE)
    monkeypatch.setattr(model.networks, "_load", lambda _most_bytes: loaded)
    first = threading.Thread(target=ask, kwargs={"model": "double", "restore": "0"})
    first.start()
    try:
        wait_until(lambda: model.upscaler.scheduler.backlog_s > 0)
        monkeypatch.setattr(slow.admission, "queue", 0)
        with slow.admission.admit(slow.admission.budget - slow.admission.taken):
            refused = ask(model="double", restore="0")
    finally:
        opened.set()
        first.join(TIMEOUT_S)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "4"  # 9 x 14 pixels at 1000 / 30 a second


def test_a_job_keeps_its_model(ask, client, app):
    app.start()
    address = ask("jobs", model="double").headers["Location"]
    events = client.get(f"{address}/events").text
    assert '"succeeded"' in events
    assert client.get(address).headers["X-Model"] == "double"
    result = client.get(f"{address}/result")
    assert "lr_double_x2.png" in result.headers["Content-Disposition"]
    assert Image.open(io.BytesIO(result.data)).size == (28, 18)
