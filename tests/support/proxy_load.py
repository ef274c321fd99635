"""Clients that post one picture after the other, each the next when it has its answer."""

import threading
import time
from collections import Counter

import requests

from tests.support.clients import Clients

PATIENCE_S = 300


class Load(Clients):
    """Clients under way.

    Args:
        url: of the service.
        picture: file that all clients post.
        clients: number of them.
        expected: bytes of every answer; None for any whole PNG.

    Attributes:
        statuses: how many answers of each status; the error where there was none.
        slowest_s: of all answers, s.
    """

    def __init__(self, url, picture, clients, expected=None):
        super().__init__(clients)
        self.statuses = Counter()
        self.slowest_s = 0.0
        self._url, self._picture, self._expected = url, picture, expected
        self._counting = threading.Lock()

    def _run(self, _number):
        with requests.Session() as session:
            while not self._is_over.is_set():
                started = time.monotonic()
                outcome = self._post(session)
                with self._counting:
                    self.statuses[outcome] += 1
                    self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    def _post(self, session):
        """The status of one request; the error if there was no whole or no right answer."""
        try:
            answer = session.post(
                f"{self._url}/model/predict", files={"image": self._picture}, timeout=PATIENCE_S
            )
        except requests.RequestException as error:
            return repr(error)
        if self._expected is not None and answer.content != self._expected:
            return f"{answer.status_code}: {answer.content[:200]!r}"
        return answer.status_code if answer.content.endswith(b"IEND\xaeB`\x82") else answer.text


def under_load(url, picture, clients, expected=None):
    """Load for as long as a block runs; complete when it has ended."""
    return Load(url, picture, clients, expected).under_way()
