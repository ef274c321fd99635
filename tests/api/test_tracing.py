import logging

import pytest

from tests.stand_ins import noise


@pytest.fixture(autouse=True)
def log_level(caplog):
    caplog.set_level(logging.INFO, "enhancer.requests")


def test_the_id_of_a_request_is_in_its_log_line(post, encode, caplog):
    response = post(encode(noise(9, 8)))
    (line,) = [r.getMessage() for r in caplog.records]
    assert f"request_id={response.headers['X-Request-Id']} " in line
    assert "path='/model/predict' status=200" in line
    assert "X-Output-Size='32x36'" in line


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


def test_a_path_cannot_forge_a_log_line(client, caplog):
    client.get("/model%0Arequest_id=forged")
    assert all("\n" not in r.getMessage() for r in caplog.records)
