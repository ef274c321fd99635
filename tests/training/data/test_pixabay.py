import os
import time
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest

from tests.support.photographs import encoded, photograph, rows_of
from tests.support.web_server import Page
from training import CommandFailed
from training.data.pixabay import PixabaySearch, download_found

KEY = "secret/42+"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


@pytest.fixture
def find(web, target):
    def find(count, query="yellow flowers"):
        search = PixabaySearch(query, count, KEY, f"{web.url}/api/")
        return download_found(search, target, per_minute=60_000)

    for index in range(7):
        web.pages[f"/get/{index}.png"] = Page(encoded(photograph(index)))
        web.hits.append(
            {
                "id": 1000 + index,
                "pageURL": f"https://pixabay.com/photos/{index}/",
                "largeImageURL": f"{web.url}/get/{index}.png",
                "user": f"user {index}",
                "likes": 3,
            }
        )
    return find


def queries(web):
    addresses = [urlsplit(path) for path, _ in web.requests]
    return [parse_qs(a.query) for a in addresses if a.path == "/api/"]


def test_photographs_have_licence_page_and_author(find, web, target):
    assert find(4) == (4, 0, 0)
    rows = rows_of(target / "licences.csv")
    assert rows[1] == {
        "file": "pixabay-1001.png",
        "licence": "Pixabay Content License",
        "source": "https://pixabay.com/photos/1/",
        "author": "user 1",
    }
    assert (target / "pixabay-1001.png").read_bytes() == web.pages["/get/1.png"].body
    (query,) = queries(web)
    assert query == {
        "key": [KEY],
        "q": ["yellow flowers"],
        "image_type": ["photo"],
        "per_page": ["4"],
        "page": ["1"],
    }


def test_pages_are_requested_until_there_are_enough_hits(find, web, monkeypatch):
    monkeypatch.setattr("training.data.pixabay.MOST_PER_PAGE", 3)
    assert find(5) == (5, 0, 0)
    assert [query["page"] for query in queries(web)] == [["1"], ["2"]]


def test_a_search_can_find_fewer_photographs_than_requested(find, web, monkeypatch):
    monkeypatch.setattr("training.data.pixabay.MOST_PER_PAGE", 4)
    assert find(100) == (7, 0, 0)
    assert len(queries(web)) == 2


def test_an_empty_page_ends_the_search(find, web, monkeypatch):
    monkeypatch.setattr("training.data.pixabay.MOST_PER_PAGE", 4)
    web.total = 500
    assert find(100) == (7, 0, 0)
    assert len(queries(web)) == 3


def test_fewer_photographs_than_a_page_can_be_requested(find, web):
    assert find(1) == (1, 0, 0)
    assert queries(web)[0]["per_page"] == ["3"]


def test_answers_are_cached_for_a_day(find, web, target):
    find(4)
    assert find(4) == (0, 4, 0)
    assert len(queries(web)) == 1
    find(4, query="trees")
    assert len(queries(web)) == 2
    yesterday = time.time() - 25 * 3600
    for path in (target / ".pixabay").iterdir():
        os.utime(path, (yesterday, yesterday))
    find(4)
    assert len(queries(web)) == 3


def test_the_key_is_never_written(find, web, target, capfd, caplog):
    web.pages["/api/"] = Page(b"", answers=[(503,), (400, {}, f"Invalid {KEY}".encode())])
    with pytest.raises(CommandFailed, match=r"Received: 400, Invalid \.\.\.\.$"):
        find(4)
    del web.pages["/api/"]
    find(4)
    written = [p.read_bytes() for p in target.rglob("*") if p.is_file()]
    output = "".join(capfd.readouterr()) + caplog.text
    assert len(written) == 4 + 3
    assert not any(b"secret" in content for content in [*written, output.encode()])


@pytest.mark.parametrize("key", [KEY, quote_plus(KEY)])
def test_an_error_answer_is_reported_without_the_key(find, web, key):
    web.pages["/api/"] = Page(b"", answers=[(400, {}, b"." * 195 + key.encode())])
    with pytest.raises(CommandFailed) as caught:
        find(4)
    assert "Received: 400" in str(caught.value)
    assert key[:3] not in str(caught.value)


def test_an_unreachable_service_is_reported_without_the_key(target, caplog):
    search = PixabaySearch("trees", 3, KEY, "http://127.0.0.1:9/api/")
    with pytest.raises(CommandFailed, match=r"Received: ConnectionError\.$") as caught:
        download_found(search, target, 60_000)
    assert caught.value.__suppress_context__
    assert "secret" not in caplog.text


def test_the_key_does_not_follow_a_redirect(find, web):
    web.pages["/api/"] = Page(b"", answers=[(302, {"Location": f"{web.url}/elsewhere"})])
    with pytest.raises(CommandFailed, match="Received: 302"):
        find(4)
    assert len(web.requests) == 1


@pytest.mark.parametrize(("reset", "waited"), [("7", 7), ("soon", 120)])
def test_requests_wait_when_the_quota_is_used_up(find, web, monkeypatch, reset, waited):
    pauses = []
    monkeypatch.setattr(
        "training.data.pixabay.RequestPacer.pause", lambda _pace, s: pauses.append(s)
    )
    monkeypatch.setattr("training.data.pixabay.MOST_PER_PAGE", 4)
    web.quota = [
        {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "9"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset},
    ]
    find(7)
    assert pauses == [waited]


def test_a_used_up_quota_delays_the_next_request(find, web):
    web.quota = [{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}]
    started = time.monotonic()
    find(3)
    assert time.monotonic() - started >= 1


def test_too_many_requests_wait_for_the_reset(find, web):
    web.pages["/api/"] = Page(
        b'{"totalHits": 0, "hits": []}', answers=[(429, {"X-RateLimit-Reset": "1"})]
    )
    started = time.monotonic()
    assert find(3) == (0, 0, 0)
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"totalHits": 1, "hits": [{"id": "../../a"}]}', b'{"hits": []}'],
)
def test_an_answer_in_another_format_is_reported(find, web, target, body):
    web.pages["/api/"] = Page(body)
    with pytest.raises(CommandFailed, match="must answer with totalHits and hits"):
        find(3)
    assert not target.exists()


def test_a_hit_that_no_longer_exists_is_listed_as_failed(find, web, target):
    del web.pages["/get/0.png"]
    assert find(3) == (2, 0, 1)
    assert "404" in rows_of(target / "failed.csv")[0]["reason"]
