import io

import pytest

from tests.support.picture_files import encoded
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until

INVALID_DATES = [
    "Sun, 01 Jan 99999 00:00:00 GMT",
    "Sun, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Sun, 99999999999999999999 Jan 2020 00:00:00 GMT",
    "Sun, 01 Jan 2020 99999999999999999999:00:00 GMT",
    "Sun, 01 Jan 2020 00:00:00 +99999999999999",
    "Sun, 31 Feb 2020 25:61:61 GMT",
    "99999999999999999999",
    "9" * 5000,
    "",
]
ODD_TAGS = ['"', "W/", '"other', ",,,", '"' + "x" * 5000 + '"', "\xff"]
ODD_RANGES = ["bytes=", "bytes=--1", "bytes=5-2", "bytes=\xb2-3", f"bytes={'9' * 5000}-", "\xff"]


@pytest.fixture(params=["page", "result"])
def url(request, client):
    """The address of a file of the page, and of the result of a job."""
    if request.param == "page":
        return "/app/page.css"
    file = io.BytesIO(encoded(noise(9, 7), "PNG"))
    job = client.post("/model/jobs", data={"file": (file, "lr.png")}).json
    wait_until(lambda: client.get(job["links"]["self"]).json["state"] == "succeeded")
    return job["links"]["result"]


@pytest.mark.parametrize("header", ["If-Modified-Since", "If-Unmodified-Since"])
def test_conditions_with_an_invalid_date_are_ignored(client, url, header):
    whole = client.get(url).data
    for date in INVALID_DATES:
        response = client.get(url, headers={header: date})
        assert (response.status_code, response.data) == (200, whole), date


def test_a_range_under_an_invalid_date_gives_the_whole_file(client, url):
    whole = client.get(url).data
    for date in INVALID_DATES[:-1]:
        response = client.get(url, headers={"Range": "bytes=0-1", "If-Range": date})
        assert (response.status_code, response.data) == (200, whole), date


def test_etags_that_are_not_those_of_the_file_give_the_whole_file(client, url):
    whole = client.get(url).data
    for tag in ODD_TAGS:
        for headers in ({"If-None-Match": tag}, {"Range": "bytes=0-1", "If-Range": tag}):
            response = client.get(url, headers=headers)
            assert (response.status_code, response.data) == (200, whole), tag


def test_odd_ranges_are_ignored_or_refused(client, url):
    statuses = [client.get(url, headers={"Range": odd}).status_code for odd in ODD_RANGES]
    assert set(statuses) <= {200, 416}
