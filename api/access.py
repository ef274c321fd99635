"""Access to the service: API keys, rate limits, and security headers of responses."""

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from math import ceil
from typing import Any

from flask import Flask, Response, g, request
from flask_limiter import Limiter, RequestLimit
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from werkzeug.exceptions import Unauthorized

KEY_HEADER = "X-API-Key"
CHALLENGE = 'Bearer realm="enhancer"'
GUARDED_PATHS = ("/model/", "/metrics")  # prefixes that need a key

SECURITY_SCHEMES: dict[str, Any] = {
    "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
    "bearer": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Bearer`, a space, and the key",
    },
}
"""Security schemes of the OpenAPI document. Either one is enough."""

LIMITED_PATHS = "/model/"  # prefix with a rate limit
POLLED_PATHS = re.compile(r"/model/(progress|jobs)/[^/]+")
"""Paths without a rate limit for GET: clients poll them, and they cost almost nothing."""

STORAGE_TIMEOUT_S = 0.5
"""Seconds to wait for the storage of the rate limit. Without an answer, requests go through."""

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
HTML_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of Swagger UI, whose page contains an inline script."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",  # CORS overrides it where it allows a page
}


class UnknownStorage(ValueError):
    """The rate limit storage is of a kind whose library is not installed."""


class KeyRing:
    """The valid API keys, held as SHA-256 digests.

    Args:
        keys: valid keys; empty to need none.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [key_digest(key) for key in keys]

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, key: str) -> bool:
        """Return whether a key is valid. Takes the same time for every key."""
        digest = key_digest(key)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)

    def check(self) -> None:
        """Refuse the current request if it needs a key and carries no valid one.

        Raises:
            Unauthorized: with what was expected.
        """
        if not request.path.startswith(GUARDED_PATHS) or request.method == "OPTIONS":
            return
        key = request_key()
        if key not in self:
            raise Unauthorized(
                f"Request must carry a key, as `{KEY_HEADER}: ...` or `Authorization: Bearer ...`. "
                f"Received: {'one that is not known' if key else 'none'}."
            )
        g.key_digest = key_digest(key)


def register_keys(app: Flask, keys: KeyRing) -> None:
    """Check the key of every request, if there are keys."""
    if keys:
        app.before_request(keys.check)


def request_key() -> str:
    """Return the key of the current request; empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get(KEY_HEADER, "").strip() or bearer


def key_digest(key: str) -> bytes:
    """Return the SHA-256 digest of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def caller() -> str:
    """Return who sent the current request: the digest of the key, or else the IP address."""
    if "key_digest" in g:
        return f"key {g.key_digest.hex()}"
    return f"address {request.remote_addr}"


def register_rate_limit(app: Flask, rate: str, storage: str) -> None:
    """Answer requests of a caller that exceed the rate with 429.

    If the storage does not answer, requests go through, and the log says so.

    Args:
        app: the application.
        rate: number per second, minute, hour or day, such as `60/minute`; empty for no limit.
        storage: address of the storage in which requests are counted.

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
        storage_options=storage_options(storage),
        swallow_errors=True,
        on_breach=set_retry_after,
    )
    limiter.request_filter(is_unlimited)


def check_storage(storage: str) -> None:
    """Check that the library for a storage is installed. The storage need not be running.

    Raises:
        UnknownStorage: if it is not.
    """
    try:
        storage_from_string(storage, **storage_options(storage))
    except ConfigurationError as error:
        raise UnknownStorage(str(error)) from error


def storage_options(storage: str) -> dict[str, Any]:
    """Return the timeouts of a storage; memory has none."""
    if storage.startswith("memory:"):
        return {}
    return {"socket_connect_timeout": STORAGE_TIMEOUT_S, "socket_timeout": STORAGE_TIMEOUT_S}


def is_unlimited() -> bool:
    """Return whether the current request is exempt from the rate limit."""
    if request.method == "GET" and POLLED_PATHS.fullmatch(request.path):
        return True
    return not request.path.startswith(LIMITED_PATHS) or request.method == "OPTIONS"


def set_retry_after(limit: RequestLimit) -> None:
    """Store the seconds after which the caller may retry, for the error response."""
    g.retry_after_s = max(1, limit.reset_at - ceil(time.time()))


def register_security_headers(app: Flask) -> None:
    """Add the security headers to every response."""
    app.after_request(add_security_headers)


def add_security_headers(response: Response) -> Response:
    """Add the security headers that a response does not have yet."""
    policy = HTML_POLICY if response.mimetype == "text/html" else API_POLICY
    for name, value in {**SECURITY_HEADERS, "Content-Security-Policy": policy}.items():
        response.headers.setdefault(name, value)
    return response
