"""Where the service says it is, behind proxies that remove a prefix from the path."""

import io

import pytest

from app import create_app
from config import InvalidSetting, Settings
from tests.support.stand_ins import noise

BAD_PREFIXES = [
    *("//evil.example", "/a//b", "/..", "/a/../b", "/a/.", "/%2e%2e", "/a%0d%0aX:1", "/a b"),
    *("evil", "javascript:alert(1)", "https://evil.example", "/a?b", "/a#b", '/"><script>', "/ä"),
    *("/a\\b", "/a;b", "/a" * 17),
]
BAD_HOSTS = ["evil.example/path", "user@evil.example", "a b", "a:b", "[::1", "a..b", '"a', ""]


@pytest.fixture
def create_client(upscaler):
    apps = []

    def create_client(**settings):
        apps.append(create_app(Settings(decoders=0, **settings), upscaler))
        return apps[-1].test_client()

    yield create_client
    for app in apps:
        app.extensions["enhancer"].jobs.engine.close()


def forwarded(**values):
    return {f"X-Forwarded-{name.title()}": value for name, value in values.items()}


def prefix_of(client, headers=None):
    """Return the prefix that the OpenAPI document and Swagger UI agree on."""
    document = client.get("/swagger.json", headers=headers).json
    prefix = document["basePath"].rstrip("/")
    page = client.get("/", headers=headers).text
    assert f'url: "{prefix}/swagger.json"' in page
    assert f'src="{prefix}/swaggerui/swagger-ui-bundle.js"' in page
    return prefix


def redirected_to(client, headers=None):
    """Return the address of a redirect that names scheme and host."""
    return client.get("/model//metadata", headers=headers).headers["Location"]


def test_links_are_below_the_prefix_of_a_trusted_proxy(create_client, encode):
    client = create_client(proxies=1)
    headers = forwarded(prefix="/enhancer") | {"Prefer": "respond-async"}
    data = {"image": (io.BytesIO(encode(noise(4, 5))), "a.png")}
    response = client.post("/model/predict", data=data, headers=headers)
    assert response.status_code == 202
    address = response.headers["Location"]
    assert address == f"/enhancer/model/jobs/{response.json['id']}"
    links = {"self": address, "events": f"{address}/events", "result": f"{address}/result"}
    assert response.json["links"] == links


def test_each_request_has_its_own_prefix(create_client):
    client = create_client(proxies=1)
    for prefix in ("", "/a", "/b/c", ""):
        assert prefix_of(client, forwarded(prefix=prefix)) == prefix


@pytest.mark.parametrize(
    ("proxies", "values", "expected"),
    [
        (0, "/a", ""),
        (1, "/a", "/a"),
        (1, "/evil, /a", "/a"),
        (2, "/a", "/a"),
        (2, "/a, /b", "/a"),
        (2, "/evil, /a, /b", "/a"),
        (1, "/a, //evil", ""),
        (1, "/a/", "/a"),
        (1, "/", ""),
    ],
)
def test_a_prefix_counts_as_far_back_as_proxies_are_trusted(
    create_client, proxies, values, expected
):
    assert prefix_of(create_client(proxies=proxies), forwarded(prefix=values)) == expected


def test_a_prefix_that_is_no_path_is_ignored(create_client):
    client = create_client(proxies=1)
    assert [prefix_of(client, forwarded(prefix=bad)) for bad in BAD_PREFIXES] == [""] * len(
        BAD_PREFIXES
    )


@pytest.mark.parametrize(
    ("proxies", "values", "expected"),
    [
        (0, {"host": "a.example", "proto": "https"}, "http://localhost"),
        (1, {"host": "a.example:8443", "proto": "https"}, "https://a.example:8443"),
        (1, {"host": "[2001:db8::1]:80", "proto": "http"}, "http://[2001:db8::1]"),
        (1, {"host": "evil.example, a.example"}, "http://a.example"),
        (2, {"host": "evil.example, a.example, b.internal"}, "http://a.example"),
        (1, {"proto": "javascript"}, "http://localhost"),
        (1, {"host": "a.example", "prefix": "/p"}, "http://a.example/p"),
    ],
)
def test_redirects_name_the_host_that_the_client_asked(create_client, proxies, values, expected):
    client = create_client(proxies=proxies)
    assert redirected_to(client, forwarded(**values)) == f"{expected}/model/metadata"


def test_a_host_that_is_none_is_ignored(create_client):
    client = create_client(proxies=1)
    found = {redirected_to(client, forwarded(host=bad)) for bad in BAD_HOSTS}
    assert found == {"http://localhost/model/metadata"}


@pytest.mark.parametrize("setting", ["/enhancer", "/enhancer/"])
def test_a_configured_prefix_is_optional_in_paths(create_client, setting):
    client = create_client(path_prefix=setting, api_keys=["a-key-of-20-characters"])
    for prefix in ("", "/enhancer"):
        assert client.get(f"{prefix}/health/live").status_code == 200
        assert client.get(f"{prefix}/model/metadata").status_code == 401
    assert client.get("/enhancer").status_code == 200
    assert client.get("/enhancers/health/live").status_code == 404
    assert prefix_of(client) == "/enhancer"


def test_a_trusted_proxy_overrides_the_configured_prefix(create_client):
    client = create_client(path_prefix="/a", proxies=1)
    assert prefix_of(client, forwarded(prefix="/b")) == "/b"
    assert prefix_of(client, forwarded(prefix="//b")) == "/a"


def test_settings_accept_only_a_path_as_prefix():
    for bad in ("enhancer", *BAD_PREFIXES):
        with pytest.raises(InvalidSetting, match="ENHANCER_PATH_PREFIX must be empty, or a path"):
            Settings(path_prefix=bad)
