import pytest
from limits.storage import MemoryStorage

from api.access import UnknownStorage, check_storage
from app import create_app
from config import Settings

KEYS = ("the-first-of-two-keys", "the-second-of-two")


@pytest.fixture
def create_client(upscaler):
    def create_client(**settings):
        return create_app(Settings(**settings), upscaler).test_client()

    return create_client


def statuses(client, count, path="/model/metadata", **options):
    return [client.get(path, **options).status_code for _ in range(count)]


def from_address(address):
    return {"environ_overrides": {"REMOTE_ADDR": address}}


def test_more_than_the_rate_allows_is_refused_with_a_time(create_client):
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


def test_addresses_are_counted_apart(create_client):
    client = create_client(rate_limit="1/hour")
    for address in ("10.0.0.1", "10.0.0.2"):
        assert statuses(client, 2, **from_address(address)) == [200, 429]


def test_keys_are_counted_apart_whatever_the_address(create_client):
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


def test_how_far_something_is_may_be_asked_again_and_again(create_client):
    client = create_client(rate_limit="1/hour")
    for path in ("/model/progress/an-id", "/model/jobs/an-id"):
        assert statuses(client, 3, path) == [404, 404, 404]
    assert client.delete("/model/jobs/an-id").status_code == 204
    for path in ("/model/jobs/an-id/result", "/model/jobs/an-id/events"):
        assert statuses(client, 1, path) == [429]


def test_if_the_storage_is_away_requests_go_through_and_the_log_says_so(
    create_client, monkeypatch, caplog
):
    def fail(*_arguments, **_keywords):
        raise ConnectionError("no storage")

    client = create_client(rate_limit="1/hour")
    monkeypatch.setattr(MemoryStorage, "incr", fail)
    assert statuses(client, 3) == [200, 200, 200]
    assert caplog.text.count("Failed to rate limit") == 3


def test_a_storage_without_its_library_is_told():
    check_storage("memory://")
    with pytest.raises(UnknownStorage, match="unknown storage"):
        check_storage("nowhere://")
