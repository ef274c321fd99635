"""Headers that tell browsers to be careful with answers."""

from flask import Flask, Response

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
