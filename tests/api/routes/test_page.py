import gzip
import re
import shutil

import pytest
from whitenoise.compress import main as compress

from api.routes.page import FILES, POLICY, SAMPLES
from app import create_app
from config import Settings
from core.images import OUTPUT_FORMATS

INDEX = (FILES / "index.html").read_text()
SCRIPTS_AND_STYLES = [path for path in FILES.iterdir() if path.suffix in (".js", ".css")]
# Sizes, with their rules, estimates and offers, take 15 kB, and 6 kB compressed; the choice of a
# model takes 4 kB, and 2 kB compressed; the comparison of two models the same.
MOST_BYTES = 95_000  # of scripts and styles in the repository
MOST_SENT_BYTES = 37_500  # of scripts and styles, compressed
CONDITIONS = [("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("", 'text/html; charset="utf-8"'),
        ("page.css", 'text/css; charset="utf-8"'),
        ("main.js", 'text/javascript; charset="utf-8"'),
        ("mark.svg", "image/svg+xml"),
        ("samples/cat.png", "image/png"),
    ],
)
def test_a_file_is_served_with_its_type_and_a_strict_policy(client, name, media_type):
    response = client.get(f"/app/{name}")
    assert response.status_code == 200
    assert response.content_type == media_type
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_policy_allows_only_this_origin_and_nothing_inline():
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY


def test_the_page_has_nothing_inline_and_nothing_from_other_origins():
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", INDEX)
    for path in FILES.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text()), path


def test_every_file_that_the_page_names_exists(client):
    names = re.findall(r'(?:src|href)="(?!#|\.\./)([^"]+)"', INDEX)
    names += [
        module
        for path in FILES.glob("*.js")
        for module in re.findall(r'"\./(\w+\.js)"', path.read_text())
    ]
    assert len(names) > 20
    for name in names:
        assert client.get(f"/app/{name}").status_code == 200, name


def test_every_module_is_preloaded():
    ahead = set(re.findall(r'(?:modulepreload" href|module" src)="(\w+\.js)"', INDEX))
    assert ahead == {path.name for path in FILES.glob("*.js")}


def test_the_gallery_shows_every_sample():
    shown = set(re.findall(r'src="samples/([^"]+)"', INDEX))
    assert shown == {path.name for path in SAMPLES.iterdir()}


def test_every_format_can_be_chosen():
    (formats,) = re.findall(r'<select id="format">(.*?)</select>', INDEX, re.DOTALL)
    assert re.findall(r'<option value="(\w+)"', formats) == list(OUTPUT_FORMATS)


@pytest.mark.parametrize(("validator", "header"), CONDITIONS)
def test_an_unchanged_file_is_not_sent_again(client, validator, header):
    first = client.get("/app/main.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/app/main.js", headers={header: first.headers[validator]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize("form", ["W/{}", '"another", {}'])
def test_weak_etags_and_lists_of_etags_are_compared(client, form):
    headers = {"If-None-Match": form.format(client.get("/app/main.js").headers["ETag"])}
    assert client.get("/app/main.js", headers=headers).status_code == 304


@pytest.mark.parametrize("name", ["main.js", "samples/cat.png"])
def test_ranges_are_ignored(client, name):
    whole = client.get(f"/app/{name}")
    response = client.get(f"/app/{name}", headers={"Range": "bytes=0-0"})
    assert (response.status_code, response.data) == (200, whole.data)


def test_a_changed_file_is_sent_again(client):
    headers = {"If-None-Match": '"another"'}
    assert client.get("/app/main.js", headers=headers).status_code == 200


def test_samples_are_cached_for_a_day(client):
    response = client.get("/app/samples/cat.png")
    assert response.headers["Cache-Control"] == "public, max-age=86400"


def test_head_gives_the_headers_without_the_body(client):
    head, get = client.head("/app/main.js"), client.get("/app/main.js")
    assert (head.status_code, head.data) == (200, b"")
    assert head.content_length == len(get.data) > 0


@pytest.mark.parametrize("name", ["main.js", "index.html", ""])
def test_other_methods_are_not_allowed(client, name):
    response = client.post(f"/app/{name}")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert response.json["message"].endswith("Received: POST")


def test_a_request_for_a_file_is_traced_and_logged(client, caplog):
    with caplog.at_level("INFO", "enhancer.requests"):
        response = client.get("/app/main.js", headers={"X-Request-Id": "mine"})
        response.close()
    assert response.headers["X-Request-Id"] == "mine"
    record = caplog.records[-1]
    assert (record.request_id, record.path, record.status) == ("mine", "/app/main.js", 200)
    assert record.bytes == len(response.data)


@pytest.fixture
def compressed_client(upscaler, tmp_path, monkeypatch):
    """A client of an application whose files were compressed, as in the image."""
    web = shutil.copytree(FILES, tmp_path / "web")
    compress([str(web), "--quiet"])
    monkeypatch.setattr("api.routes.page.FILES", web)
    return create_app(Settings(), upscaler).test_client()


def test_text_is_sent_compressed_to_a_browser_that_accepts_it(compressed_client):
    plain = compressed_client.get("/app/page.css")
    compressed = compressed_client.get("/app/page.css", headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.data) == plain.data
    assert compressed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_text_is_sent_plain_to_a_client_that_refuses_compression(compressed_client):
    response = compressed_client.get("/app/page.css", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in response.headers


def test_scripts_and_styles_are_small(compressed_client):
    headers = {"Accept-Encoding": "gzip"}
    sizes = [
        len(compressed_client.get(f"/app/{path.name}", headers=headers).data)
        for path in SCRIPTS_AND_STYLES
    ]
    assert sum(sizes) < MOST_SENT_BYTES
    assert sum(path.stat().st_size for path in SCRIPTS_AND_STYLES) < MOST_BYTES


@pytest.mark.parametrize(
    "name",
    [
        "nope.js",
        "types.d.ts",
        "types.d.ts.gz",
        "../config.py",
        "%2e%2e/config.py",
        "samples/",
        "samples/../main.js",
    ],
)
def test_other_files_are_not_served(client, name):
    response = client.get(f"/app/{name}")
    assert response.status_code == 404
    assert response.json["message"].startswith("Path must be one of /, /app, ")


def test_the_path_without_a_slash_redirects_to_the_page(client):
    response = client.get("/app")
    assert (response.status_code, response.headers["Location"]) == (308, "app/")


def test_the_page_can_be_turned_off(upscaler):
    client = create_app(Settings(no_page=True), upscaler).test_client()
    for path in ("/app", "/app/", "/app/main.js"):
        assert client.get(path).status_code == 404
    assert "(app/)" not in client.get("/swagger.json").json["info"]["description"]
    assert client.get("/").status_code == 200


def test_the_environment_variable_turns_the_page_off():
    assert Settings.from_env({"DISABLE_WEB_APP": "true"}).no_page


def test_swagger_ui_links_to_the_page(client):
    assert "(app/)" in client.get("/swagger.json").json["info"]["description"]
