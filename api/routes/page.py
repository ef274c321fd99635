"""The web page at /app/: static files that may load nothing from another origin.

WhiteNoise serves the files. It runs behind a Flask route, so that a request for a file is
traced, logged and counted, and refused in JSON, as any other request.
"""

from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

from flask import Blueprint, Flask, Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound
from whitenoise import WhiteNoise

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "web"
SAMPLES = ROOT / "samples" / "test_examples" / "low_resolution"

PAGE_URL = "/app/"
SAMPLES_URL = "/app/samples/"
INDEX = "index.html"
DECLARATIONS = ".d.ts"  # types for editors; no browser asks for them

REVALIDATE = "no-cache"  # a file keeps its name when its content changes
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


class PageFiles(WhiteNoise):
    """The files of the page and the samples, found once, at the start.

    WhiteNoise sends the `.gz` or `.br` file beside a file to a browser that accepts it.
    `python -m whitenoise.compress web` writes these; the Dockerfile calls it.
    """

    def __init__(self) -> None:
        super().__init__(
            None,
            max_age=None,
            allow_all_origins=False,  # Flask-CORS decides
            add_headers_function=add_cache_control,
        )
        self.add_files(str(FILES), PAGE_URL)
        self.add_files(str(SAMPLES), SAMPLES_URL)

    def add_file_to_dictionary(self, url: str, path: str, stat_cache: Any = None) -> None:
        """Add a file, unless it is for editors only."""
        if DECLARATIONS not in url:
            super().add_file_to_dictionary(url, path, stat_cache=stat_cache)


def add_cache_control(headers: Headers, _path: str, url: str) -> None:
    """Let browsers keep samples for a day, and ask for all other files again."""
    headers["Cache-Control"] = FOR_A_DAY if url.startswith(SAMPLES_URL) else REVALIDATE


def register_page(app: Flask) -> None:
    """Serve the page at /app/, and the samples under it."""
    files = PageFiles()
    page = Blueprint("page", __name__)

    @page.get("/app")
    def add_slash() -> ResponseReturnValue:
        return redirect("app/", code=308)  # relative: right behind any proxy

    @page.get("/app/")
    def send_index() -> ResponseReturnValue:
        return send_file(files, INDEX)

    @page.get("/app/<path:name>")
    def send(name: str) -> ResponseReturnValue:
        return send_file(files, name)

    app.register_blueprint(page)


def send_file(files: PageFiles, name: str) -> ResponseReturnValue:
    """Return the response of WhiteNoise, with the security headers.

    Raises:
        NotFound: if the page has no such file.
    """
    file = files.files.get(PAGE_URL + name)
    if file is None:
        raise NotFound
    # No ranges: WhiteNoise answers a range of one byte with 416. It also ignores `gzip;q=0`, and
    # takes an invalid date for a late one.
    encodings = "gzip" if request.accept_encodings.quality("gzip") > 0 else ""
    changes = {"HTTP_RANGE": "", "HTTP_IF_MODIFIED_SINCE": "", "HTTP_ACCEPT_ENCODING": encodings}
    environ = request.environ | changes
    # Buffered, so that the file is closed even if nobody reads the response.
    response = Response.from_app(partial(files.serve, file), environ, buffered=True)
    response.headers.update(HEADERS)  # on 304 too: browsers update stored headers from it
    return response.make_conditional(request.environ)  # dates, weak ETags and lists of them
