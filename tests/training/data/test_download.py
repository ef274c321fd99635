import logging
import time

import numpy as np
import pytest

from tests.support.photographs import encoded, photograph, rows_of
from tests.support.web_server import Page
from training import CommandFailed
from training.data.collect import PhotoRequirements, prepare
from training.data.download import (
    LONGEST_WAIT_S,
    RequestPacer,
    ServerDelayRetry,
    TransferFailed,
    download_list,
    fetch,
    open_session,
)
from training.data.photos import read_manifest


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


def test_existing_files_are_not_requested_again(get, web, target):
    get("URL/0.png")
    assert get("URL/0.png", "URL/0.png", "URL/1.png") == (1, 1, 0)
    assert [path for path, _ in web.requests] == ["/0.png", "/1.png"]
    assert len(rows_of(target / "licences.csv")) == 2


def test_earlier_licences_stay_in_the_table(get, target):
    get("URL/0.png\tCC BY 4.0\tAnn")
    get("URL/1.png")
    assert [row["licence"] for row in rows_of(target / "licences.csv")] == ["CC BY 4.0", "CC0"]


def test_an_interrupted_download_is_resumed(get, web, target, monkeypatch):
    monkeypatch.setattr("training.data.download.ATTEMPTS", 1)
    size = len(web.pages["/0.png"].body)
    web.pages["/0.png"].answers = [size // 2]
    assert get("URL/0.png") == (0, 0, 1)
    assert pictures(target) == []
    assert get("URL/0.png") == (1, 0, 0)
    assert web.ranges_asked() == [None, f"bytes={size // 2}-"]
    assert pictures(target) == [web.pages["/0.png"].body]
    assert rows_of(target / "failed.csv") == []


def test_a_failure_is_listed_and_does_not_stop_the_others(get, web, target):
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
def test_file_names_do_not_come_from_addresses(get, web, target, path):
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
def test_an_incomplete_list_is_reported(get, web, lines, message):
    with pytest.raises(CommandFailed, match=message):
        get(*lines, licence=None)
    assert web.requests == []


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_an_unreadable_list_is_reported(tmp_path, target, content):
    if content:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(CommandFailed, match="LIST must be a text file in UTF-8"):
        download_list(tmp_path / "list.txt", target, "CC0", 60)


BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
HALF = 150_000
DATE = "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.fixture
def session():
    with open_session(RequestPacer(60_000)) as session:
        yield session


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.jpg"


@pytest.fixture
def page():
    return Page(BODY, etag='"1"')


@pytest.fixture
def fetch_page(web, session, page, path):
    def fetch_page(**kwargs):
        fetch(session, f"{web.url}/a.jpg", path, **kwargs)
        return path.read_bytes()

    web.pages["/a.jpg"] = page
    return fetch_page


def begin(path, validator='"1"', body=BODY[:HALF]):
    path.with_name("a.jpg.partial").write_bytes(body)
    path.with_name("a.jpg.validator").write_text(validator)


def test_a_whole_file_leaves_nothing_beside_it(fetch_page, path):
    assert fetch_page() == BODY
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("headers", [{"etag": '"1"'}, {"changed": DATE}])
def test_a_broken_transfer_resumes_at_the_byte_reached(fetch_page, web, headers):
    web.pages["/a.jpg"] = Page(BODY, answers=[HALF], **headers)
    assert fetch_page() == BODY
    first, second = web.ranges_asked()
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= HALF
    assert web.requests[1][1]["If-Range"] == next(iter(headers.values()))


def test_the_next_call_resumes_the_transfer(fetch_page, path, web):
    begin(path)
    assert fetch_page() == BODY
    assert web.ranges_asked() == [f"bytes={HALF}-"]


def test_a_transfer_that_always_breaks_off_is_given_up_and_can_be_resumed(fetch_page, page, path):
    page.answers = [1000] * 10
    with pytest.raises(TransferFailed, match="in 5 attempts. Received: 5000 bytes"):
        fetch_page()
    assert path.with_name("a.jpg.partial").read_bytes() == BODY[:5000]
    assert not path.exists()
    page.answers = []
    assert fetch_page() == BODY


def test_a_server_without_ranges_sends_the_whole_file_again(fetch_page, page, path, web):
    page.ranges = False
    begin(path)
    assert fetch_page() == BODY
    assert web.ranges_asked() == [f"bytes={HALF}-"]


def test_a_file_that_changed_is_downloaded_from_the_start(fetch_page, page, path):
    page.body, page.etag = OTHER, '"2"'
    begin(path)
    assert fetch_page() == OTHER


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_a_file_without_a_strong_validator_is_downloaded_from_the_start(
    fetch_page, page, web, etag
):
    page.etag, page.answers = etag, [HALF]
    assert fetch_page() == BODY
    assert web.ranges_asked() == [None, None]


def test_a_partial_file_that_is_too_long_is_discarded(fetch_page, path, web):
    begin(path, body=BODY + b"more")
    assert fetch_page() == BODY
    assert web.ranges_asked() == [f"bytes={len(BODY) + 4}-", None]


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes 7-9/300000"}])
def test_the_wrong_range_is_not_appended(fetch_page, page, path, headers):
    page.answers = [(206, headers, b"wrong")]
    begin(path)
    assert fetch_page() == BODY


def test_a_file_over_the_limit_is_discarded(fetch_page, path):
    with pytest.raises(TransferFailed, match="at most 299999 bytes"):
        fetch_page(max_bytes=len(BODY) - 1)
    assert list(path.parent.iterdir()) == []
    assert fetch_page(max_bytes=len(BODY)) == BODY


def test_the_size_limit_includes_an_earlier_transfer(fetch_page, path):
    begin(path)
    with pytest.raises(TransferFailed, match="at most 200000 bytes"):
        fetch_page(max_bytes=200_000)


def test_retry_after_is_respected(fetch_page, page):
    page.answers = [(429, {"Retry-After": "1"})]
    started = time.monotonic()
    assert fetch_page() == BODY
    assert time.monotonic() - started >= 1


def test_a_server_error_is_retried(fetch_page, page, web):
    page.answers = [(503,), (500,)]
    assert fetch_page() == BODY
    assert len(web.requests) == 3


def test_a_server_that_keeps_failing_is_given_up(fetch_page, page, web):
    page.answers = [(503,)] * 20
    with pytest.raises(TransferFailed, match="200 or 206. Received: 503 Service Unavailable"):
        fetch_page()
    assert len(web.requests) == 5


def test_a_missing_file_is_requested_once(session, web, path):
    with pytest.raises(TransferFailed, match="Received: 404 Not Found"):
        fetch(session, f"{web.url}/nowhere", path)
    assert len(web.requests) == 1


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/a"])
def test_a_redirect_to_another_scheme_is_refused(fetch_page, page, path, location):
    page.answers = [(302, {"Location": location})]
    with pytest.raises(TransferFailed, match="Server must answer"):
        fetch_page()
    assert not path.exists()


def test_an_unreachable_server_is_reported_without_a_warning(session, path, caplog):
    with caplog.at_level(logging.WARNING, "root"), pytest.raises(TransferFailed, match="refused"):
        fetch(session, "http://127.0.0.1:9/a.jpg?key=secret", path)
    assert caplog.text == ""


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Answer:
    def __init__(self, **headers):
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def clock():
    return Clock()


def test_requests_are_spaced_evenly(clock):
    pace = RequestPacer(30, clock, clock.sleep)
    times = []
    for _ in range(4):
        pace.wait()
        times.append(clock.now - 100)
    assert times == [0, 2, 4, 6]


def test_time_that_has_passed_counts_as_waiting(clock):
    pace = RequestPacer(30, clock, clock.sleep)
    pace.wait()
    clock.now += 10
    pace.wait()
    assert clock.now == 110


@pytest.mark.parametrize(("seconds", "waited"), [(7, 7), (1, 2), (10_000, LONGEST_WAIT_S)])
def test_a_pause_delays_the_next_request(clock, seconds, waited):
    pace = RequestPacer(30, clock, clock.sleep)
    pace.wait()
    pace.pause(seconds)
    pace.wait()
    assert clock.now - 100 == waited


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "3", "X_RateLimit_Reset": "9"}, 3),
        ({"X_RateLimit_Reset": "9"}, 9),
        ({"X_RateLimit_Reset": "soon"}, None),
        ({"X_RateLimit_Reset": "99999"}, 120),
        ({"Retry_After": "99999"}, 120),
    ],
)
def test_the_delay_comes_from_the_headers_of_the_server(headers, seconds):
    retry = ServerDelayRetry(retry_after_max=120)
    assert retry.get_retry_after(Answer(**headers)) == seconds
