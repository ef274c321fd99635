import io

import pytest

from app import create_app
from config import Settings
from tests.support.stand_ins import noise

KEYS = ("the-first-of-two-keys", "the-second-of-two")


@pytest.fixture
def client(upscaler):
    return create_app(Settings(api_keys=KEYS), upscaler).test_client()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("header", ["X-API-Key: {}", "Authorization: Bearer {}"])
def test_each_key_opens_in_either_header(client, encode, key, header):
    name, value = header.format(key).split(": ")
    data = {"image": (io.BytesIO(encode(noise(4, 5))), "a.png")}
    headers = {name: value}
    assert client.post("/model/predict", data=data, headers=headers).status_code == 200
    assert client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "received"),
    [
        ({}, "none"),
        ({"X-API-Key": ""}, "none"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "none"),
        ({"Authorization": f"Token {KEYS[0]}"}, "none"),
        ({"X-API-Key": KEYS[0][:-1]}, "one that is not known"),
        ({"X-API-Key": "ü"}, "one that is not known"),
        ({"Authorization": "Bearer wrong"}, "one that is not known"),
    ],
)
@pytest.mark.parametrize("path", ["/model/metadata", "/model/predict", "/metrics"])
def test_without_a_key_one_is_asked_for(client, path, headers, received):
    method = client.post if path == "/model/predict" else client.get
    response = method(path, headers=headers)
    assert response.status_code == 401
    assert response.headers.getlist("WWW-Authenticate") == ['Bearer realm="enhancer"']
    assert response.json["message"].startswith("Request must carry a key, as `X-API-Key: ...`")
    assert response.json["message"].endswith(f"Received: {received}.")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/", "/swagger.json"])
def test_health_and_documentation_are_open(client, path):
    assert client.get(path).status_code == 200


def test_a_browser_may_ask_whether_it_may_call(client):
    assert client.options("/model/predict").status_code == 200


def test_the_document_tells_how_a_key_is_given(client):
    document = client.get("/swagger.json").json
    assert document["securityDefinitions"]["key"]["name"] == "X-API-Key"
    assert document["securityDefinitions"]["bearer"]["name"] == "Authorization"
    assert document["security"] == [{"key": []}, {"bearer": []}]
    assert document["paths"]["/health/live"]["get"]["security"] == []


def test_without_keys_the_document_asks_for_none(upscaler):
    client = create_app(Settings(decoders=0), upscaler).test_client()
    assert "securityDefinitions" not in client.get("/swagger.json").json
    assert client.get("/metrics").status_code == 200
