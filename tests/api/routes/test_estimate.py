import io

import pytest

from tests.support.stand_ins import noise


@pytest.fixture
def estimate(client, encode):
    def estimate(lr, **fields):
        data = {"image": (io.BytesIO(encode(lr)), "a.png")} | fields
        return client.post("/model/estimate", data=data)

    return estimate


def test_an_estimate_is_what_the_result_becomes(estimate, client, encode, upscaler):
    lr = noise(21, 34)
    estimated = estimate(lr, scale="2.5").json
    assert upscaler.scheduler.tiles_waiting == 0
    assert estimated["input"] == {"width": 34, "height": 21}
    assert estimated["output"] == {"width": 85, "height": 53}
    assert (estimated["scale"], estimated["passes"]) == (2.5, 1)
    assert estimated["deadline_seconds"] == 30
    data = {"image": (io.BytesIO(encode(lr)), "a.png"), "scale": "2.5"}
    headers = client.post("/model/predict", data=data).headers
    assert headers["X-Output-Size"] == "85x53"
    assert headers["X-Tiles"] == str(estimated["tiles"])


def test_time_and_memory_grow_with_the_size(estimate, upscaler):
    upscaler.scheduler._rate = 1000.0
    small, large = (estimate(noise(14, 20), scale=scale).json for scale in ("4", "8"))
    assert small["seconds"] > 0.1
    for name in ("seconds", "tiles"):
        assert large[name] > small[name]
    assert large["memory_bytes"] >= small["memory_bytes"]  # decoding may take the most


def test_nothing_is_computed_at_the_same_size(estimate):
    estimated = estimate(noise(21, 34), scale="1", restore="0").json
    assert (estimated["passes"], estimated["tiles"], estimated["seconds"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"scale": "17"}, 400, "from 1 to 16. Received: '17'"),
        ({"scale": "2", "width": "40"}, 400, "Received: scale=2, width=40"),
        ({"width": "20"}, 400, "width=20, a factor of 0.58"),
        ({"scale": "8"}, 413, "at most 32000 pixels. Received: a picture that would become"),
        ({"format": "tiff"}, 400, "Received: 'tiff'"),
    ],
)
def test_what_cannot_be_computed_is_refused_as_it_would_be(estimate, fields, status, message):
    response = estimate(noise(21, 34), **fields)
    assert response.status_code == status
    assert message in response.json["message"]


def test_a_picture_that_needs_too_much_memory_is_refused(estimate, app):
    app.extensions["enhancer"].admission.budget = 1000
    response = estimate(noise(4, 4))
    assert response.status_code == 413
    assert "MB of memory" in response.json["message"]
