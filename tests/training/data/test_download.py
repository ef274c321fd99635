import pytest

from tests.support.photographs import encoded, photograph, rows_of
from tests.support.web_server import Page
from training.data.collect import PhotoRequirements, prepare
from training.data.download import download_list
from training.data.photos import read_manifest
from training.errors import CommandFailed


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


@pytest.fixture
def get(web, tmp_path, target):
    def get(*lines, licence="CC0"):
        path = tmp_path / "list.txt"
        path.write_text("\n".join(line.replace("URL", web.url) for line in lines))
        return download_list(path, target, licence, per_minute=60_000)

    for seed in range(3):
        web.pages[f"/{seed}.png"] = Page(encoded(photograph(seed)), etag=f'"{seed}"')
    return get


def pictures(target):
    return sorted(p.read_bytes() for p in target.iterdir() if p.suffix in (".png", ".jpg"))


def test_a_list_becomes_a_collection(get, web, target, tmp_path):
    outcome = get(
        "# photographs of mine",
        "",
        "URL/0.png",
        "URL/1.png\tCC BY 4.0\tAnn Example",
        "URL/2.png?size=large\t\tBea",
    )
    assert outcome == (3, 0, 0)
    prepare(target, tmp_path / "photos", PhotoRequirements())
    rows = {row["source"]: row for row in rows_of(tmp_path / "photos" / "manifest.csv")}
    assert {url: (row["licence"], row["author"]) for url, row in rows.items()} == {
        f"{web.url}/0.png": ("CC0", ""),
        f"{web.url}/1.png": ("CC BY 4.0", "Ann Example"),
        f"{web.url}/2.png?size=large": ("CC0", "Bea"),
    }
    assert len(read_manifest(tmp_path / "photos")) == 3


def test_what_is_there_is_not_asked_for_again(get, web, target):
    get("URL/0.png")
    assert get("URL/0.png", "URL/0.png", "URL/1.png") == (1, 1, 0)
    assert [path for path, _ in web.requests] == ["/0.png", "/1.png"]
    assert len(rows_of(target / "licences.csv")) == 2


def test_earlier_licences_stay_in_the_table(get, target):
    get("URL/0.png\tCC BY 4.0\tAnn")
    get("URL/1.png")
    assert [row["licence"] for row in rows_of(target / "licences.csv")] == ["CC BY 4.0", "CC0"]


def test_an_interrupted_run_goes_on(get, web, target, monkeypatch):
    monkeypatch.setattr("training.data.download.ATTEMPTS", 1)
    size = len(web.pages["/0.png"].body)
    web.pages["/0.png"].answers = [size // 2]
    assert get("URL/0.png") == (0, 0, 1)
    assert pictures(target) == []
    assert get("URL/0.png") == (1, 0, 0)
    assert web.ranges_asked() == [None, f"bytes={size // 2}-"]
    assert pictures(target) == [web.pages["/0.png"].body]
    assert rows_of(target / "failed.csv") == []


def test_what_fails_is_listed_and_stops_nothing(get, web, target):
    web.pages["/page.jpg"] = Page(b"<html>Please log in")
    web.pages["/cut.jpg"] = Page(encoded(photograph(1), "JPEG")[:2000])
    lines = ["URL/page.jpg", "URL/none.jpg", "file:///etc/passwd", "URL/cut.jpg", "http://[", "no"]
    assert get(*lines, "URL/0.png") == (1, 0, 6)
    failed = {row["url"]: row["reason"] for row in rows_of(target / "failed.csv")}
    assert "begin with b'<html>Pl'" in failed[f"{web.url}/page.jpg"]
    assert "404 Not Found" in failed[f"{web.url}/none.jpg"]
    assert "must begin with http" in failed["file:///etc/passwd"]
    assert "undamaged" in failed[f"{web.url}/cut.jpg"]
    assert pictures(target) == [web.pages["/0.png"].body]
    assert not list(target.glob(".*"))


@pytest.mark.parametrize("path", ["/../../etc/a.png", "/a.php?x=../../b.png", "/%2e%2e%2fa.png"])
def test_no_name_is_taken_from_an_address(get, web, target, path):
    paths = ("/a.php", "/etc/a.png", "/../../etc/a.png", "/..%2fa.png", "/..%2Fa.png")
    web.pages |= dict.fromkeys(paths, web.pages["/0.png"])
    assert get(f"URL{path}").downloaded == 1
    (row,) = rows_of(target / "licences.csv")
    stem, _, suffix = row["file"].partition(".")
    assert (len(stem), suffix) in ((16, "png"), (16, "jpg"))
    assert int(stem, 16) > 0
    assert (target / row["file"]).is_file()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["# nothing"], "LIST must hold an address"),
        (["URL/0.png\tCC0", "URL/1.png\t\tAnn"], r"Line 2 of .*list.txt must state a licence"),
    ],
)
def test_a_list_that_lacks_something_is_told(get, web, lines, message):
    with pytest.raises(CommandFailed, match=message):
        get(*lines, licence=None)
    assert web.requests == []


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_list_that_cannot_be_read_is_told(tmp_path, target, content):
    if content:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(CommandFailed, match="LIST must be a text file in UTF-8"):
        download_list(tmp_path / "list.txt", target, "CC0", 60)
