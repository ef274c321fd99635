"""Every answer says what was done, under an id that is also in the log line."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flask import Flask, Response, g, request

from api.context import current_service
from core.media.render import Consistency
from core.picture import Picture

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("enhancer.requests")

TRACE = "enhancer.trace"  # in the WSGI environment, which outlives Flask's request
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of a caller's own id, to be logged as is

ASKED_AGAIN = (
    "/health/live",
    "/health/ready",
    "/metrics",
    "/model/progress/<string:request_id>",
)
"""Asked every few seconds by machines: logged only where debugging."""

TRUTH_HEADERS = [
    "X-Request-Id",
    "X-Model",
    "X-Model-Version",
    "X-Scale",
    "X-Detail",
    "X-Input-Size",
    "X-Output-Size",
    "X-Tiles",
    "X-Frames",
    "X-Alpha",
    "X-Consistency-PSNR",
    "Server-Timing",
    "Location",
    "Preference-Applied",
    "Idempotent-Replayed",
    "Accept-Ranges",
    "Content-Range",
    "Content-Disposition",
    "ETag",
]
"""Also readable by pages of other origins, where CORS is enabled."""


@dataclass
class RequestTrace:
    """What is known of a request, from its arrival to the last byte of its answer."""

    request_id: str
    method: str
    path: str
    route: str
    """Template of the path; empty where there is no such path."""
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    """Of the answer; 0 as long as there is none."""
    sent_bytes: int = 0
    is_whole: bool = False
    """Whether all of the answer was sent."""
    seconds: float = 0.0
    """From the arrival of the header to the last byte."""
    truth: dict[str, str] = field(default_factory=dict)
    """Headers that say what was done."""
    timings_ms: dict[str, float] = field(default_factory=dict)
    """By stage, as far as they are over."""
    pixels: int = 0
    """Of the picture, LR; 0 without one."""
    consistency: Consistency | None = None
    """Of the answer with its picture."""
    described: float = 0.0
    """When the picture was under way."""


Observer = Callable[[RequestTrace], None]
"""Told of every request once its answer has been sent, or given up."""


def register_tracing(app: Flask, observers: Iterable[Observer] = ()) -> None:
    app.before_request(start_trace)
    app.after_request(finish_trace)
    app.wsgi_app = TracedApplication(app.wsgi_app, [write_line, *observers])  # type: ignore[method-assign]


def start_trace() -> None:
    """Take the caller's id, if it is one, or make one."""
    given = request.headers.get("X-Request-Id", "")
    g.trace = RequestTrace(
        request_id=given if REQUEST_ID.fullmatch(given) else uuid4().hex,
        method=request.method,
        path=shown_path(),
        route="" if request.url_rule is None else request.url_rule.rule,
    )
    request.environ[TRACE] = g.trace


def shown_path() -> str:
    """The path as the log may have it: who reads an id in full has its job."""
    job_id = (request.view_args or {}).get("job_id")
    return request.path if job_id is None else request.path.replace(job_id, f"{job_id[:6]}...")


@dataclass
class PictureFacts:
    """What is known of the work on a picture.

    Attributes:
        lr: the decoded input.
        frames: in its file; 0 if that is not known.
        tiles: that it is cut into.
        detail: of the network that is used.
        consistency: of the answer, complete when all of it is sent.
    """

    lr: Picture
    frames: int
    tiles: int
    detail: float
    consistency: Consistency


def describe(facts: PictureFacts, timings_ms: dict[str, float]) -> None:
    """Note the work on a picture, for its headers and its log line.

    Args:
        facts: of the work.
        timings_ms: milliseconds by stage, as far as they are over.
    """
    lr, scale = facts.lr, current_service().upscaler.scale
    g.trace.truth = {
        "X-Scale": str(scale),
        "X-Detail": f"{facts.detail:g}",
        "X-Input-Size": f"{lr.width}x{lr.height}",
        "X-Output-Size": f"{scale * lr.width}x{scale * lr.height}",
        "X-Tiles": str(facts.tiles),
        "Server-Timing": ", ".join(f"{name};dur={ms:.1f}" for name, ms in timings_ms.items()),
    }
    if facts.frames > 1:
        g.trace.truth["X-Frames"] = f"1 of {facts.frames}"
    g.trace.consistency = facts.consistency
    g.trace.timings_ms = timings_ms
    g.trace.pixels = lr.height * lr.width
    g.trace.described = time.perf_counter()


def finish_trace(response: Response) -> Response:
    """Put the headers on an answer."""
    card = current_service().upscaler.card
    headers = {
        "X-Request-Id": g.trace.request_id,
        "X-Model": card.name,
        "X-Model-Version": card.version,
        **g.trace.truth,
    }
    response.headers.update(headers)
    g.trace.status = response.status_code
    return response


class TracedApplication:
    """A WSGI application whose observers learn how each of its answers ended."""

    def __init__(self, application: "WSGIApplication", observers: list[Observer]) -> None:
        self._application = application
        self._observers = observers

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        body = self._application(environ, start_response)
        trace = environ.get(TRACE)
        return body if trace is None else TracedBody(body, trace, self._observers)


class TracedBody:
    """The parts of an answer, counted as they are sent."""

    def __init__(
        self, body: Iterable[bytes], trace: RequestTrace, observers: list[Observer]
    ) -> None:
        self._body = body
        self._parts = iter(body)
        self._trace = trace
        self._observers = observers

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            part = next(self._parts)
        except StopIteration:
            self._end()
            raise
        self._trace.sent_bytes += len(part)
        return part

    def _end(self) -> None:
        """What is asked for the next part has sent the last one."""
        trace, now = self._trace, time.perf_counter()
        trace.is_whole = True
        if "first" in trace.timings_ms and "upscale" not in trace.timings_ms:
            rest_ms = 1000 * (now - trace.described)
            trace.timings_ms["upscale"] = trace.timings_ms["first"] + rest_ms

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
        self._trace.seconds = time.perf_counter() - self._trace.started
        for observe in self._observers:
            observe(self._trace)


def write_line(trace: RequestTrace) -> None:
    """Log a request: what was asked, what was answered, how long it took."""
    level = logging.DEBUG if trace.route in ASKED_AGAIN else logging.INFO
    log.log(level, "%s %s %d", trace.method, trace.path, trace.status, extra=fields_of(trace))


def fields_of(trace: RequestTrace) -> dict[str, Any]:
    """What a log line says of a request."""
    timings = {f"{name}_ms": round(ms, 1) for name, ms in trace.timings_ms.items()}
    truth = {field_name(name): value for name, value in trace.truth.items()}
    truth.pop("server_timing", None)  # the same, as one text
    found = {}
    if trace.consistency is not None and trace.is_whole:
        found["consistency_psnr_db"] = round(trace.consistency.psnr_db, 2)
    return {
        "request_id": trace.request_id,
        "method": trace.method,
        "path": trace.path,
        "status": trace.status,
        "bytes": trace.sent_bytes,
        "whole": trace.is_whole,
        "ms": round(1000 * trace.seconds, 1),
        **truth,
        **found,
        **timings,
    }


def field_name(header: str) -> str:
    """Name of a header's value in a log line.

    >>> field_name("X-Input-Size")
    'input_size'
    """
    return header.removeprefix("X-").lower().replace("-", "_")
