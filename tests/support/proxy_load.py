"""Clients that post one picture after the other, each the next when it has its answer."""

import threading
import time
from collections import Counter
from contextlib import contextmanager

import requests

PATIENCE_S = 300


class Load:
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
        self.statuses = Counter()
        self.slowest_s = 0.0
        self._url, self._picture, self._expected = url, picture, expected
        self._is_over = threading.Event()
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def begin(self):
        for thread in self._threads:
            thread.start()

    def end(self):
        """Post nothing more, and wait for all answers."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
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


@contextmanager
def under_load(url, picture, clients, expected=None):
    """Load for as long as the block runs; complete when it has ended."""
    load = Load(url, picture, clients, expected)
    load.begin()
    try:
        yield load
    finally:
        load.end()
