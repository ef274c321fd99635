"""Requests that a server can bear: paced, retried with patience, with a name."""

import logging
import time
from collections.abc import Callable

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

RETRIES = 4  # of a request that got no answer, or one of TRY_AGAIN
TRY_AGAIN = (429, 500, 502, 503, 504)
BACKOFF_S = 1.0  # between retries, doubled each time, unless the server says how long
LONGEST_WAIT_S = 120  # whatever the server asks for
TIMEOUT_S = (10, 60)  # to connect; between two packets

USER_AGENT = "max-image-resolution-enhancer (collecting training photographs)"


class Pace:
    """Spaces requests evenly, and stands still when it is told to."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap_s = 60 / per_minute
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock()

    def wait(self) -> None:
        """Return when the next request may be made."""
        self._sleep(max(0.0, self._next_s - self._clock()))
        self._next_s = self._clock() + self._gap_s

    def pause(self, seconds: float) -> None:
        """Let no request be made for so long, but not longer than `LONGEST_WAIT_S`."""
        self._next_s = max(self._next_s, self._clock() + min(seconds, LONGEST_WAIT_S))


class PatientRetry(Retry):
    """Waits as long as the server says, in whichever of two headers it says it."""

    def get_retry_after(self, response):
        """Seconds of Retry-After, else of X-RateLimit-Reset, else None."""
        reset = response.headers.get("X-RateLimit-Reset", "")
        if "Retry-After" in response.headers or not reset.isdigit():
            return super().get_retry_after(response)
        return min(int(reset), self.retry_after_max)


class PacedAdapter(HTTPAdapter):
    """Waits before each request, redirects included."""

    def __init__(self, pace: Pace, retries: Retry) -> None:
        super().__init__(max_retries=retries)
        self._pace = pace

    def send(self, *args, **kwargs):
        self._pace.wait()
        return super().send(*args, **kwargs)


def open_session(pace: Pace) -> requests.Session:
    """A session that keeps a pace, and tries again when it makes sense.

    Nothing but http and https is spoken, also after a redirect.
    """
    # urllib3 warns of every retry with the path it asks for, and the path may hold a key.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    retries = PatientRetry(
        total=RETRIES,
        status_forcelist=TRY_AGAIN,
        backoff_factor=BACKOFF_S,
        backoff_max=LONGEST_WAIT_S,
        retry_after_max=LONGEST_WAIT_S,
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, PacedAdapter(pace, retries))
    return session
