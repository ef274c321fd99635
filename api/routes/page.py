"""The page at /app/: a few static files, held in memory, that may load nothing from elsewhere."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from flask import Blueprint, Flask, Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "web"
SAMPLES = ROOT / "samples" / "test_examples" / "low_resolution"

INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""Of what is served; other files, as those with types for editors, are not."""

COMPRESSED = (".html", ".css", ".js", ".svg")
GZIP = "gzip"

ALWAYS_ASK = "no-cache"  # names stay when the content changes: ask, and get a 304
FOR_A_DAY = "public, max-age=86400"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent.

    Attributes:
        body: its bytes.
        compressed: the same with gzip; None for what is compressed already.
        media_type: the value of Content-Type.
        caching: the value of Cache-Control.
        etag: of `body`, by its content.
    """

    body: bytes
    compressed: bytes | None
    media_type: str
    caching: str
    etag: str

    @classmethod
    def read(cls, path: Path, caching: str) -> "StaticFile":
        body = path.read_bytes()
        compressed = gzip.compress(body, mtime=0) if path.suffix in COMPRESSED else None
        etag = sha256(body).hexdigest()[:32]
        return cls(body, compressed, MEDIA_TYPES[path.suffix], caching, etag)


def register_page(app: Flask) -> None:
    """Serve the page at /app/, and the samples under it."""
    files = dict(read_files())
    page = Blueprint("page", __name__)

    @page.get("/app")
    def add_slash() -> ResponseReturnValue:
        return redirect("app/", code=308)  # relative: right behind any proxy

    @page.get("/app/", defaults={"name": INDEX})
    @page.get("/app/<path:name>")
    def send(name: str) -> Response:
        if name not in files:
            raise NotFound
        return answer_with(files[name])

    app.register_blueprint(page)


def read_files() -> Iterator[tuple[str, StaticFile]]:
    """Names under /app/, and what is there."""
    for path in sorted(FILES.iterdir()):
        if path.suffix in MEDIA_TYPES:
            yield path.name, StaticFile.read(path, ALWAYS_ASK)
    for path in sorted(SAMPLES.glob("*.png")):
        yield f"samples/{path.name}", StaticFile.read(path, FOR_A_DAY)


def answer_with(file: StaticFile) -> Response:
    """A file with its headers, compressed for whom takes that; 304 to whom has it."""
    response = Response(file.body, content_type=file.media_type, headers=HEADERS)
    response.headers["Cache-Control"] = file.caching
    etag = file.etag
    if file.compressed is not None:
        response.headers["Vary"] = "Accept-Encoding"
        if request.accept_encodings.quality(GZIP) > 0:
            response.data = file.compressed
            response.headers["Content-Encoding"] = GZIP
            etag = f"{etag}-{GZIP}"
    response.set_etag(etag)
    response.make_conditional(request)
    return response
