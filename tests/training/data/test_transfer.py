import logging
import time

import numpy as np
import pytest

from tests.support.web_server import Page
from training.data.download import RequestPacer, TransferFailed, fetch, open_session

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
def get(web, session, page, path):
    def get(**kwargs):
        fetch(session, f"{web.url}/a.jpg", path, **kwargs)
        return path.read_bytes()

    web.pages["/a.jpg"] = page
    return get


def begin(path, validator='"1"', body=BODY[:HALF]):
    path.with_name("a.jpg.partial").write_bytes(body)
    path.with_name("a.jpg.validator").write_text(validator)


def test_a_whole_file_leaves_nothing_beside_it(get, path):
    assert get() == BODY
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("headers", [{"etag": '"1"'}, {"changed": DATE}])
def test_what_is_broken_off_goes_on_from_the_byte_reached(get, web, headers):
    web.pages["/a.jpg"] = Page(BODY, answers=[HALF], **headers)
    assert get() == BODY
    first, second = web.ranges_asked()
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= HALF
    assert web.requests[1][1]["If-Range"] == next(iter(headers.values()))


def test_the_next_run_goes_on_where_the_last_one_stopped(get, path, web):
    begin(path)
    assert get() == BODY
    assert web.ranges_asked() == [f"bytes={HALF}-"]


def test_what_always_breaks_off_is_given_up_and_kept(get, page, path):
    page.answers = [1000] * 10
    with pytest.raises(TransferFailed, match="in 5 attempts. Received: 5000 bytes"):
        get()
    assert path.with_name("a.jpg.partial").read_bytes() == BODY[:5000]
    assert not path.exists()
    page.answers = []
    assert get() == BODY


def test_a_server_without_ranges_sends_the_whole_file_again(get, page, path, web):
    page.ranges = False
    begin(path)
    assert get() == BODY
    assert web.ranges_asked() == [f"bytes={HALF}-"]


def test_a_file_that_changed_is_begun_anew(get, page, path):
    page.body, page.etag = OTHER, '"2"'
    begin(path)
    assert get() == OTHER


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_what_cannot_be_recognised_is_begun_anew(get, page, web, etag):
    page.etag, page.answers = etag, [HALF]
    assert get() == BODY
    assert web.ranges_asked() == [None, None]


def test_a_partial_file_that_is_too_long_is_begun_anew(get, path, web):
    begin(path, body=BODY + b"more")
    assert get() == BODY
    assert web.ranges_asked() == [f"bytes={len(BODY) + 4}-", None]


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes 7-9/300000"}])
def test_the_wrong_range_is_not_appended(get, page, path, headers):
    page.answers = [(206, headers, b"wrong")]
    begin(path)
    assert get() == BODY


def test_a_file_over_the_limit_is_thrown_away(get, path):
    with pytest.raises(TransferFailed, match="at most 299999 bytes"):
        get(max_bytes=len(BODY) - 1)
    assert list(path.parent.iterdir()) == []
    assert get(max_bytes=len(BODY)) == BODY


def test_the_limit_counts_what_was_there_before(get, path):
    begin(path)
    with pytest.raises(TransferFailed, match="at most 200000 bytes"):
        get(max_bytes=200_000)


def test_retry_after_is_obeyed(get, page):
    page.answers = [(429, {"Retry-After": "1"})]
    begun = time.monotonic()
    assert get() == BODY
    assert time.monotonic() - begun >= 1


def test_a_fault_of_the_server_is_tried_again(get, page, web):
    page.answers = [(503,), (500,)]
    assert get() == BODY
    assert len(web.requests) == 3


def test_a_server_that_stays_faulty_is_given_up(get, page, web):
    page.answers = [(503,)] * 20
    with pytest.raises(TransferFailed, match="200 or 206. Received: 503 Service Unavailable"):
        get()
    assert len(web.requests) == 5


def test_a_file_that_is_not_there_is_asked_for_once(session, web, path):
    with pytest.raises(TransferFailed, match="Received: 404 Not Found"):
        fetch(session, f"{web.url}/nowhere", path)
    assert len(web.requests) == 1


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/a"])
def test_no_redirect_leads_out_of_the_web(get, page, path, location):
    page.answers = [(302, {"Location": location})]
    with pytest.raises(TransferFailed, match="Server must answer"):
        get()
    assert not path.exists()


def test_a_server_that_is_not_there_is_told_without_a_warning(session, path, caplog):
    with caplog.at_level(logging.WARNING, "root"), pytest.raises(TransferFailed, match="refused"):
        fetch(session, "http://127.0.0.1:9/a.jpg?key=secret", path)
    assert caplog.text == ""
