"""The client of Redis. It logs once that Redis is gone, and once that it is back."""

import logging
import threading
import time
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

TIMEOUT_S = 5.0
"""Seconds to wait for an answer of Redis."""

Outage = (redis.ConnectionError, redis.TimeoutError)
"""Errors of a server that does not answer; the client logs them."""

log = logging.getLogger("enhancer.jobs")


class WatchedRedis(redis.Redis):
    """A client that logs the beginning and the end of an outage. Threads may share it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._watch = threading.Lock()
        self._gone_since: float | None = None

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command and return the answer, as the base class does."""
        try:
            answer = super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        except Outage as error:
            self._note_outage(error)
            raise
        self._note_answer()
        return answer

    def _note_outage(self, error: redis.RedisError) -> None:
        with self._watch:
            if self._gone_since is None:
                self._gone_since = time.monotonic()
                log.warning("Redis does not answer: %s", error)

    def _note_answer(self) -> None:
        if self._gone_since is None:
            return
        with self._watch:
            if self._gone_since is not None:
                log.info("Redis answers again, after %.0f s", time.monotonic() - self._gone_since)
            self._gone_since = None


def connect(url: str) -> WatchedRedis:
    """Return a client that returns text.

    It tries again for a second if Redis cannot be reached, as while it restarts. If Redis hangs, it
    waits `TIMEOUT_S` once: a caller would wait in vain for as long as all tries take.
    """
    client: Any = WatchedRedis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=1, base=0.1), 3, (redis.ConnectionError,)),
    )
    return cast(WatchedRedis, client)


def log_failure(level: int, message: str, error: Exception) -> None:
    """Log a failure, unless it is an outage: the client has logged that.

    Args:
        level: of the record.
        message: says what failed.
        error: the reason.
    """
    if not isinstance(error, Outage):
        log.log(level, "%s: %s", message, error)
