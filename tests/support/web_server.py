"""A web server whose answers a test plans: whole files, ranges, broken transfers, errors."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Page:
    """The file at a path, and how it is served.

    Attributes:
        body: the whole file.
        etag: header ETag; empty for none.
        changed: header Last-Modified; empty for none.
        ranges: whether ranges are served.
        answers: answers to the first requests: a status with headers, or a number of bytes
            after which the connection is cut.
    """

    body: bytes = b""
    etag: str = ""
    changed: str = ""
    ranges: bool = True
    answers: list = field(default_factory=list)


class Web:
    """Pages by path, a stand-in for Pixabay's API with `hits`, and the received requests."""

    def __init__(self):
        self.pages = {}
        self.requests = []  # (path, headers)
        self.hits = []
        self.total = None
        self.quota = []  # headers X-RateLimit-Remaining and -Reset of the next answers
        self.url = ""

    def ranges_asked(self):
        """Return the header Range of every request."""
        return [headers.get("Range") for _, headers in self.requests]

    def answer(self, handler):
        """Answer a request."""
        self.requests.append((handler.path, dict(handler.headers)))
        address = urlsplit(handler.path)
        if address.path == "/api/" and "/api/" not in self.pages:
            return self.find(handler, parse_qs(address.query))
        page = self.pages.get(address.path)
        if page is None:
            return send(handler, 404)
        planned = page.answers.pop(0) if page.answers else None
        if isinstance(planned, tuple):
            return send(handler, *planned)
        return serve(handler, page, planned)

    def find(self, handler, query):
        """Answer a search as Pixabay does."""
        page, per_page = int(query["page"][0]), int(query["per_page"][0])
        hits = self.hits[(page - 1) * per_page : page * per_page]
        total = len(self.hits) if self.total is None else self.total
        headers = dict(self.quota.pop(0)) if self.quota else {}
        send(handler, 200, headers, json.dumps({"totalHits": total, "hits": hits}).encode())


def send(handler, status, headers=None, body=b"", cut_after=None):
    """Send an answer, and cut the body after some bytes if asked for."""
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(body[:cut_after])


def serve(handler, page, cut_after):
    """Send a page, or the range of it that the request asks for."""
    headers = {"ETag": page.etag, "Last-Modified": page.changed}
    headers = {name: value for name, value in headers.items() if value}
    asked = handler.headers.get("Range") if page.ranges else None
    if not asked or handler.headers.get("If-Range") not in (page.etag, page.changed):
        return send(handler, 200, headers, page.body, cut_after)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start >= len(page.body):
        return send(handler, 416)
    headers["Content-Range"] = f"bytes {start}-{len(page.body) - 1}/{len(page.body)}"
    return send(handler, 206, headers, page.body[start:], cut_after)


@contextmanager
def serving():
    """Run the server in a thread."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            web.answer(self)

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        web.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
