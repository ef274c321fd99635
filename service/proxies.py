"""Take the address of the service, as clients know it, from the proxies in front of it.

The headers `X-Forwarded-*` may come from anyone. So they count only if proxies are trusted, only as
far back as there are trusted proxies, and only if their values are what they should be.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.http import parse_list_header
from werkzeug.middleware.proxy_fix import ProxyFix

from config import HOST, PATH_PREFIX

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FORWARDED = {
    "HTTP_X_FORWARDED_PROTO": re.compile("https?"),
    "HTTP_X_FORWARDED_HOST": HOST,
    "HTTP_X_FORWARDED_PREFIX": PATH_PREFIX,
}
"""Valid values of the headers that a proxy replaces, by their names in WSGI."""


class ForwardedAddress:
    """Middleware that takes client address, scheme, host and path prefix from trusted proxies.

    Each trusted proxy adds a value to `X-Forwarded-For`. The other headers are often replaced
    instead, and set by one proxy only, so they may have fewer values. Of these, the outermost
    proxy that is trusted decides.

    Args:
        application: what to call.
        proxies: number of trusted proxies; at least 1.
    """

    def __init__(self, application: "WSGIApplication", proxies: int) -> None:
        self._proxies = proxies
        self._application = ProxyFix(application, x_for=proxies, x_proto=1, x_host=1, x_prefix=1)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Replace each header by the one value that counts, or remove it."""
        for name, pattern in FORWARDED.items():
            values = parse_list_header(environ.pop(name, ""))[-self._proxies :]
            if values and pattern.fullmatch(values[0]):
                environ[name] = values[0].removesuffix("/")
        return self._application(environ, start_response)


class PathPrefix:
    """Middleware that serves an application below a prefix, and without it.

    A proxy may forward the prefix or remove it, and probes of the platform never have it. Links
    always have it.

    Args:
        application: what to call.
        prefix: such as `/enhancer`.
    """

    def __init__(self, application: "WSGIApplication", prefix: str) -> None:
        self._application = application
        self._prefix = prefix

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Move the prefix from the path to the name of the script."""
        path = environ["PATH_INFO"]
        if f"{path}/".startswith(f"{self._prefix}/"):
            environ["PATH_INFO"] = path.removeprefix(self._prefix) or "/"
        environ["SCRIPT_NAME"] = self._prefix
        return self._application(environ, start_response)
