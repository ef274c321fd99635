import gzip
import re

import pytest

from api.routes.page import FILES, POLICY, SAMPLES
from app import create_app
from config import Settings
from core.images import OUTPUT_FORMATS

INDEX = (FILES / "index.html").read_text()
SCRIPTS_AND_STYLES = [path for path in FILES.iterdir() if path.suffix in (".js", ".css")]
MOST_BYTES = 60_000  # of scripts and styles, as they are written
MOST_SENT_BYTES = 30_000  # of them, as they are sent


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("", "text/html; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("main.js", "text/javascript; charset=utf-8"),
        ("mark.svg", "image/svg+xml"),
        ("samples/cat.png", "image/png"),
    ],
)
def test_a_file_is_served_under_its_type_and_a_strict_policy(client, name, media_type):
    response = client.get(f"/app/{name}")
    assert response.status_code == 200
    assert response.content_type == media_type
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_policy_lets_nothing_in_from_elsewhere_and_nothing_inline():
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere():
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", INDEX)
    for path in FILES.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text()), path


def test_what_the_page_names_is_there(client):
    names = re.findall(r'(?:src|href)="(?!#|\.\./)([^"]+)"', INDEX)
    names += [
        module
        for path in FILES.glob("*.js")
        for module in re.findall(r'"\./(\w+\.js)"', path.read_text())
    ]
    assert len(names) > 20
    for name in names:
        assert client.get(f"/app/{name}").status_code == 200, name


def test_every_module_is_loaded_at_once():
    ahead = set(re.findall(r'(?:modulepreload" href|module" src)="(\w+\.js)"', INDEX))
    assert ahead == {path.name for path in FILES.glob("*.js")}


def test_the_gallery_shows_every_sample():
    shown = set(re.findall(r'src="samples/([^"]+)"', INDEX))
    assert shown == {path.name for path in SAMPLES.iterdir()}


def test_every_format_can_be_chosen():
    assert re.findall(r'<option value="(\w+)"', INDEX) == list(OUTPUT_FORMATS)


def test_a_file_that_the_browser_has_is_not_sent_again(client):
    first = client.get("/app/main.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/app/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_text_is_compressed_for_whom_takes_that(client):
    plain = client.get("/app/page.css")
    compressed = client.get("/app/page.css", headers={"Accept-Encoding": "gzip, br"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.data) == plain.data
    assert compressed.headers["ETag"] != plain.headers["ETag"]
    assert compressed.headers["Vary"] == "Accept-Encoding"


def test_scripts_and_styles_are_small(client):
    sizes = [
        len(client.get(f"/app/{path.name}", headers={"Accept-Encoding": "gzip"}).data)
        for path in SCRIPTS_AND_STYLES
    ]
    assert sum(sizes) < MOST_SENT_BYTES
    assert sum(path.stat().st_size for path in SCRIPTS_AND_STYLES) < MOST_BYTES


@pytest.mark.parametrize(
    "name",
    ["nope.js", "types.d.ts", "../config.py", "%2e%2e/config.py", "samples/", "samples/../main.js"],
)
def test_nothing_else_is_served(client, name):
    assert client.get(f"/app/{name}").status_code == 404


def test_the_path_without_its_slash_leads_to_the_page(client):
    response = client.get("/app")
    assert (response.status_code, response.headers["Location"]) == (308, "app/")


def test_the_page_can_be_turned_off(upscaler):
    client = create_app(Settings(no_page=True), upscaler).test_client()
    for path in ("/app", "/app/", "/app/main.js"):
        assert client.get(path).status_code == 404
    assert "(app/)" not in client.get("/swagger.json").json["info"]["description"]
    assert client.get("/").status_code == 200


def test_the_setting_is_named_as_elsewhere():
    assert Settings.from_env({"DISABLE_WEB_APP": "true"}).no_page


def test_swagger_leads_to_the_page(client):
    assert "(app/)" in client.get("/swagger.json").json["info"]["description"]
