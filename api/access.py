"""A limit on the requests of one caller, where it is set.

API keys: who may use the model, where keys are set.

Headers that tell browsers to be careful with answers.
"""

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
GUARDED = ("/model/", "/metrics")

SCHEMES: dict[str, Any] = {
    "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
    "bearer": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Bearer`, a space, and the key",
    },
}
"""As the OpenAPI document tells them; either will do."""


class KeyRing:
    """The keys that open the service, held as digests only."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [digest_of(key) for key in keys]

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, key: str) -> bool:
        """Takes as long for a wrong key as for a right one, whichever it is."""
        digest = digest_of(key)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)

    def check(self) -> None:
        """Refuse the current request if it needs a key and carries none of these.

        Raises:
            Unauthorized: with what was expected.
        """
        if not request.path.startswith(GUARDED) or request.method == "OPTIONS":
            return
        key = given_key()
        if key not in self:
            raise Unauthorized(
                f"Request must carry a key, as `{KEY_HEADER}: ...` or `Authorization: Bearer ...`. "
                f"Received: {'one that is not known' if key else 'none'}."
            )
        g.key_digest = digest_of(key)


def register_keys(app: Flask, keys: KeyRing) -> None:
    if keys:
        app.before_request(keys.check)


def given_key() -> str:
    """The key of the current request; empty if it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return request.headers.get(KEY_HEADER, "").strip() or bearer


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


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


NOTHING = "default-src 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For Swagger UI, whose page holds a script of its own."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",  # where CORS lets a page call, CORS decides
}


def register_headers(app: Flask) -> None:
    app.after_request(protect)


def protect(response: Response) -> Response:
    """Put the headers on an answer that has not its own."""
    policy = PAGE if response.mimetype == "text/html" else NOTHING
    for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
        response.headers.setdefault(name, value)
    return response
