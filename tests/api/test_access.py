import io

import pytest
from limits.storage import MemoryStorage

from api.access import UnknownStorage, check_storage
from app import create_app
from config import Settings
from tests.support.stand_ins import noise

KEYS = ("the-first-of-two-keys", "the-second-of-two")


@pytest.fixture
def guarded(upscaler):
    """A client of a service that needs a key."""
    return create_app(Settings(api_keys=KEYS), upscaler).test_client()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("header", ["X-API-Key: {}", "Authorization: Bearer {}"])
def test_each_key_is_accepted_in_either_header(guarded, encode, key, header):
    name, value = header.format(key).split(": ")
    data = {"image": (io.BytesIO(encode(noise(4, 5))), "a.png")}
    headers = {name: value}
    assert guarded.post("/model/predict", data=data, headers=headers).status_code == 200
    assert guarded.get("/metrics", headers=headers).status_code == 200


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
def test_a_request_without_a_valid_key_is_refused(guarded, path, headers, received):
    method = guarded.post if path == "/model/predict" else guarded.get
    response = method(path, headers=headers)
    assert response.status_code == 401
    assert response.headers.getlist("WWW-Authenticate") == ['Bearer realm="enhancer"']
    assert response.json["message"].startswith("Request must carry a key, as `X-API-Key: ...`")
    assert response.json["message"].endswith(f"Received: {received}.")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/", "/swagger.json"])
def test_health_and_documentation_are_open(guarded, path):
    assert guarded.get(path).status_code == 200


def test_a_preflight_request_needs_no_key(guarded):
    assert guarded.options("/model/predict").status_code == 200


def test_the_openapi_document_describes_the_keys(guarded):
    document = guarded.get("/swagger.json").json
    assert document["securityDefinitions"]["key"]["name"] == "X-API-Key"
    assert document["securityDefinitions"]["bearer"]["name"] == "Authorization"
    assert document["security"] == [{"key": []}, {"bearer": []}]
    assert document["paths"]["/health/live"]["get"]["security"] == []


def test_the_openapi_document_mentions_no_keys_where_none_are_set(upscaler):
    client = create_app(Settings(decoders=0), upscaler).test_client()
    assert "securityDefinitions" not in client.get("/swagger.json").json
    assert client.get("/metrics").status_code == 200


@pytest.fixture
def create_client(upscaler):
    def create_client(**settings):
        return create_app(Settings(**settings), upscaler).test_client()

    return create_client


def statuses(client, count, path="/model/metadata", **options):
    return [client.get(path, **options).status_code for _ in range(count)]


def from_address(address):
    return {"environ_overrides": {"REMOTE_ADDR": address}}


def test_requests_over_the_rate_are_refused_with_retry_after(create_client):
    client = create_client(rate_limit="2/hour")
    assert statuses(client, 2) == [200, 200]
    response = client.get("/model/metadata")
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 3600
    assert response.json == {
        "message": "Requests must be at most 2 per 1 hour. Received: one more."
    }


def test_the_limit_is_one_for_all_routes_of_the_model(create_client):
    client = create_client(rate_limit="1/hour")
    assert client.post("/model/predict").status_code == 400
    assert statuses(client, 1) == [429]


def test_addresses_are_counted_separately(create_client):
    client = create_client(rate_limit="1/hour")
    for address in ("10.0.0.1", "10.0.0.2"):
        assert statuses(client, 2, **from_address(address)) == [200, 429]


def test_keys_are_counted_separately_from_any_address(create_client):
    client = create_client(rate_limit="2/hour", api_keys=KEYS)
    for key in KEYS:
        headers = {"X-API-Key": key}
        assert statuses(client, 1, headers=headers, **from_address("10.0.0.1")) == [200]
        assert statuses(client, 2, headers=headers, **from_address("10.0.0.2")) == [200, 429]


@pytest.mark.parametrize(
    ("proxies", "expected"), [(0, [200, 429, 429]), (1, [200, 200, 429]), (2, [200, 200, 200])]
)
def test_only_trusted_proxies_are_believed(create_client, proxies, expected):
    client = create_client(rate_limit="1/hour", proxies=proxies)
    chains = ["1.1.1.1, 9.9.9.9", "2.2.2.2, 8.8.8.8", "3.3.3.3, 8.8.8.8"]
    got = [statuses(client, 1, headers={"X-Forwarded-For": chain})[0] for chain in chains]
    assert got == expected


def test_probes_and_pages_are_not_limited(create_client):
    client = create_client(rate_limit="1/hour")
    for path in ("/health/live", "/health/ready", "/metrics", "/swagger.json"):
        assert statuses(client, 3, path) == [200, 200, 200]


def test_polling_is_not_limited(create_client):
    client = create_client(rate_limit="1/hour")
    for path in ("/model/progress/an-id", "/model/jobs/an-id"):
        assert statuses(client, 3, path) == [404, 404, 404]
    assert client.delete("/model/jobs/an-id").status_code == 204
    for path in ("/model/jobs/an-id/result", "/model/jobs/an-id/events"):
        assert statuses(client, 1, path) == [429]


def test_requests_go_through_and_are_logged_if_the_storage_is_down(
    create_client, monkeypatch, caplog
):
    def fail(*_arguments, **_keywords):
        raise ConnectionError("no storage")

    client = create_client(rate_limit="1/hour")
    monkeypatch.setattr(MemoryStorage, "incr", fail)
    assert statuses(client, 3) == [200, 200, 200]
    assert caplog.text.count("Failed to rate limit") == 3


def test_an_unknown_storage_is_an_error():
    check_storage("memory://")
    with pytest.raises(UnknownStorage, match="unknown storage"):
        check_storage("nowhere://")


@pytest.mark.parametrize(
    "path", ["/", "/swagger.json", "/model/metadata", "/model/predict", "/nope", "/metrics"]
)
def test_every_response_has_the_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_swagger_ui_may_run_its_script_and_call_the_service(client):
    page = client.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-inline'" in policy
    assert "connect-src 'self'" in policy
    assert "//" not in policy
    assert 'src="/swaggerui/' in page.text
    assert "http://" not in page.text.replace("http://www.w3.org/", "")


def test_a_route_can_set_its_own_policy(app):
    policy = {"Content-Security-Policy": "default-src 'self'"}
    app.add_url_rule("/own", view_func=lambda: ("", 200, policy))
    headers = app.test_client().get("/own").headers
    assert headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
