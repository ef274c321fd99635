"""API keys: who may use the model, where keys are set."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from flask import Flask, g, request
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
