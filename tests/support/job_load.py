"""Clients that run one job after the other to its end, and compare the result."""

import itertools
import time
from collections import Counter
from urllib.parse import urlsplit

import requests

from tests.support.clients import Clients

PATIENCE_S = 300
POLL_S = 0.1


class JobLoad(Clients):
    """Clients under way.

    Args:
        url: of the service.
        files: bytes of the files to upscale, by name.
        expected: bytes of their results, by the same names.
        clients: number of them; each begins with another file.

    Attributes:
        ended: how many jobs of each file had the expected result, by name.
        faults: whatever else came, as text.
    """

    def __init__(self, url, files, expected, clients):
        super().__init__(clients)
        self.ended = Counter()
        self.faults = []
        self._url, self._files, self._expected = url, files, expected

    def _run(self, number):
        names = list(self._files)
        for name in itertools.islice(itertools.cycle(names), number % len(names), None):
            if self._is_over.is_set():
                return
            try:
                result = run_job(self._url, name, self._files[name])
            except (AssertionError, requests.RequestException) as error:
                self.faults.append(f"{name}: {error!r}")
                continue
            if result == self._expected[name]:
                self.ended[name] += 1
            else:
                self.faults.append(f"{name}: another result, of {len(result)} bytes")


def run_job(url, name, content):
    """Submit a file, wait for its job, and return the result. No request may fail."""
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc}"
    with requests.Session() as session:
        files = {"file": (name, content)}
        answer = session.post(f"{url}/model/jobs", files=files, timeout=PATIENCE_S)
        assert answer.status_code == 202, answer.text
        links = answer.json()["links"]
        deadline = time.monotonic() + PATIENCE_S
        while answer.json()["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, answer.text
            time.sleep(POLL_S)
            answer = session.get(host + links["self"], timeout=PATIENCE_S)
            assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "succeeded", answer.text
        answer = session.get(host + links["result"], timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        return answer.content


def jobs_under_way(url, files, expected, clients):
    """Jobs for as long as a block runs; all have ended when it has."""
    return JobLoad(url, files, expected, clients).under_way()
