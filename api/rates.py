"""A limit on the requests of one caller, where it is set."""

import re
import time
from math import ceil
from typing import Any

from flask import Flask, g, request
from flask_limiter import Limiter, RequestLimit
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

LIMITED = "/model/"
FREE = re.compile(r"/model/(progress|jobs)/[^/]+")
"""How far something is, which is asked again and again, and costs nothing."""

STORAGE_PATIENCE_S = 0.5
"""For the storage to answer: without it, requests go through."""


class UnknownStorage(ValueError):
    """The storage is of a kind for which the library is not installed."""


def register_rate_limit(app: Flask, rate: str, storage: str) -> None:
    """Answer more requests of a caller than the rate allows with 429.

    If the storage does not answer, requests go through, and the log says so.

    Args:
        rate: number per second, minute, hour or day, such as `60/minute`; empty for no limit.
        storage: address of where requests are counted.

    Raises:
        UnknownStorage: see `check_storage`.
    """
    if not rate:
        return
    check_storage(storage)
    limiter = Limiter(
        caller,
        app=app,
        application_limits=[rate],
        storage_uri=storage,
        storage_options=options_of(storage),
        swallow_errors=True,
        on_breach=note_breach,
    )
    limiter.request_filter(is_unlimited)


def check_storage(storage: str) -> None:
    """Raise UnknownStorage unless there is a library for a storage; it may be away."""
    try:
        storage_from_string(storage, **options_of(storage))
    except ConfigurationError as error:
        raise UnknownStorage(str(error)) from error


def options_of(storage: str) -> dict[str, Any]:
    if storage.startswith("memory:"):
        return {}
    return {"socket_connect_timeout": STORAGE_PATIENCE_S, "socket_timeout": STORAGE_PATIENCE_S}


def caller() -> str:
    """Whose request it is: a key's, else an address's."""
    if "key_digest" in g:
        return f"key {g.key_digest.hex()}"
    return f"address {request.remote_addr}"


def is_unlimited() -> bool:
    """Whether the current request does not count."""
    if request.method == "GET" and FREE.fullmatch(request.path):
        return True
    return not request.path.startswith(LIMITED) or request.method == "OPTIONS"


def note_breach(limit: RequestLimit) -> None:
    """Keep the seconds after which the caller may come back."""
    g.retry_after_s = max(1, limit.reset_at - ceil(time.time()))
