"""Tracing: response headers and one log line say what each request did, under one id."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flask import Flask, Response, g, request

from api.context import current_service
from core.media.render import SUSPECTED, Consistency
from core.model.card import ModelCard
from core.model.grid import OutputGrid
from core.options import AUTO, Restore, restore_text
from core.picture import Picture

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("enhancer.requests")

TRACE = "enhancer.trace"
"""Name of the trace in the WSGI environment, which outlives the request of Flask."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A caller's request id that is safe to log."""

POLLED_ROUTES = (
    "/health/live",
    "/health/ready",
    "/metrics",
    "/model/progress/<string:request_id>",
)
"""Routes that machines poll every few seconds: logged at level DEBUG only."""

EXPOSED_HEADERS = [
    "X-Request-Id",
    "X-Model",
    "X-Model-Version",
    "X-Scale",
    "X-Detail",
    "X-Restore",
    "X-Input-Size",
    "X-Output-Size",
    "X-Tiles",
    "X-Frames",
    "X-Alpha",
    "X-Consistency-PSNR",
    "X-Scaling-Attack",
    "Server-Timing",
    "Location",
    "Preference-Applied",
    "Idempotent-Replayed",
    "Accept-Ranges",
    "Content-Range",
    "Content-Disposition",
    "ETag",
]
"""Response headers that pages of other origins may read where CORS is enabled."""


class StageTimes:
    """Times of the stages of a picture, which follow one another and add up.

    While a stage waits for the network, which computes tiles of others, that time counts for the
    stage `queue`, not for the one that waits. An answer that is sent while it is computed has the
    stage `first` until its first row, which becomes a part of `upscale` when all is sent.

    Args:
        clock: that of the scheduler, s.

    Attributes:
        ms: milliseconds of each finished stage.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.ms: dict[str, float] = {}
        self._clock = clock
        self._waited_ms = 0.0
        self._ended_ms = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure the block as a stage, unless it raises."""
        began_ms = self._busy_ms()
        yield
        self._ended_ms = self._busy_ms()
        self.ms[stage] = self.ms.get(stage, 0.0) + self._ended_ms - began_ms

    def wait(self, seconds: float) -> None:
        """Count a time for `queue`, s."""
        self._waited_ms += 1000 * seconds
        self.ms["queue"] = self.ms.get("queue", 0.0) + 1000 * seconds

    def finish(self) -> None:
        """Measure `upscale` now that all is sent, unless that was done."""
        if "first" in self.ms and "upscale" not in self.ms:
            self.ms["upscale"] = self.ms["first"] + self._busy_ms() - self._ended_ms

    def _busy_ms(self) -> float:
        """Return the time on the clock without the time of waiting."""
        return 1000 * self._clock() - self._waited_ms


@dataclass
class RequestTrace:
    """What is known about a request, from its arrival to the last byte of its response.

    Attributes:
        request_id: the caller's id, or a random one.
        method: HTTP method.
        path: path without the secret part of a job's id.
        route: template of the path; empty if there is no such route.
        started: clock time of the arrival, s.
        status: status of the response; 0 before there is one.
        sent_bytes: number of bytes of the body that were sent.
        is_whole: whether the whole response was sent.
        card: of the model that upscales the picture; None without a picture.
        seconds: time from the header of the request to the last byte of the response.
        picture_headers: response headers about the picture.
        times: of the stages of the picture; None without one.
        pixels: number of LR pixels of the picture; 0 without one.
        consistency: of the SR picture with the LR picture.
        strength: strength at which the picture is restored, in [0, 1].
        has_chosen_strength: whether the caller chose it, rather than the service.
    """

    request_id: str
    method: str
    path: str
    route: str
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    sent_bytes: int = 0
    is_whole: bool = False
    card: ModelCard | None = None
    seconds: float = 0.0
    picture_headers: dict[str, str] = field(default_factory=dict)
    times: StageTimes | None = None
    pixels: int = 0
    consistency: Consistency | None = None
    strength: float = 0.0
    has_chosen_strength: bool = False

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds of each finished stage of the picture."""
        return {} if self.times is None else self.times.ms


Observer = Callable[[RequestTrace], None]
"""Function that is called with every request once its response has ended."""


def register_tracing(app: Flask, observers: Iterable[Observer] = ()) -> None:
    """Trace and log every request.

    Args:
        app: the application.
        observers: called after the log line is written.
    """
    app.before_request(start_trace)
    app.after_request(finish_trace)
    app.wsgi_app = TracedApplication(app.wsgi_app, [log_request, *observers])  # type: ignore[method-assign]


def start_trace() -> None:
    """Start the trace of a request, with the caller's id if it is valid."""
    given = request.headers.get("X-Request-Id", "")
    g.trace = RequestTrace(
        request_id=given if REQUEST_ID.fullmatch(given) else uuid4().hex,
        method=request.method,
        path=loggable_path(),
        route="" if request.url_rule is None else request.url_rule.rule,
    )
    request.environ[TRACE] = g.trace


def loggable_path() -> str:
    """Return the path for the log, with the job id shortened, which is a secret."""
    job_id = (request.view_args or {}).get("job_id")
    return request.path if job_id is None else request.path.replace(job_id, f"{job_id[:6]}...")


@dataclass
class PictureFacts:
    """Facts about the picture of a request.

    Attributes:
        card: of the model.
        lr: whole LR picture.
        grid: pixels of the SR picture.
        frames: number of frames in its file; 0 if not known.
        tiles: number of tiles of the picture.
        detail: detail of the SR picture.
        restore: requested strength of restoring.
        strength: strength at which the picture is restored, in [0, 1].
        is_suspected: whether it probably hides another picture.
        consistency: of the SR picture with the LR picture; complete once all is sent.
    """

    card: ModelCard
    lr: Picture
    grid: OutputGrid
    frames: int
    tiles: int
    detail: float
    restore: Restore
    strength: float
    is_suspected: bool
    consistency: Consistency


def trace_picture(facts: PictureFacts, times: StageTimes) -> None:
    """Add a picture to the trace of the current request.

    Args:
        facts: facts about the picture.
        times: of its stages.
    """
    lr, grid = facts.lr, facts.grid
    g.trace.card = facts.card
    g.trace.picture_headers = {
        "X-Scale": f"{float(grid.factor):.6g}",
        "X-Detail": f"{facts.detail:g}",
        "X-Restore": restore_text(facts.restore, facts.strength),
        "X-Input-Size": f"{lr.width}x{lr.height}",
        "X-Output-Size": f"{grid.width}x{grid.height}",
        "X-Tiles": str(facts.tiles),
        "Server-Timing": ", ".join(f"{name};dur={ms:.1f}" for name, ms in times.ms.items()),
    }
    if facts.frames > 1:
        g.trace.picture_headers["X-Frames"] = f"1 of {facts.frames}"
    if facts.is_suspected:
        g.trace.picture_headers["X-Scaling-Attack"] = SUSPECTED
    g.trace.consistency = facts.consistency
    g.trace.times = times
    g.trace.pixels = lr.height * lr.width
    g.trace.strength = facts.strength
    g.trace.has_chosen_strength = facts.restore != AUTO


def finish_trace(response: Response) -> Response:
    """Add the trace to the headers of a response."""
    card = g.trace.card or current_service().upscaler.card
    headers = {
        "X-Request-Id": g.trace.request_id,
        "X-Model": card.name,
        "X-Model-Version": card.version,
        **g.trace.picture_headers,
    }
    response.headers.update(headers)
    g.trace.status = response.status_code
    return response


class TracedApplication:
    """WSGI application that passes the trace of each request to observers."""

    def __init__(self, application: "WSGIApplication", observers: list[Observer]) -> None:
        self._application = application
        self._observers = observers

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Return the body of the response, which tells the observers when it is closed."""
        body = self._application(environ, start_response)
        trace = environ.get(TRACE)
        return body if trace is None else TracedBody(body, trace, self._observers)


class TracedBody:
    """Response body that counts its parts as they are sent."""

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
        """Complete the trace: when the server asks for another part, it has sent the last one."""
        self._trace.is_whole = True
        if self._trace.times is not None:
            self._trace.times.finish()

    def close(self) -> None:
        """Close the body, then call the observers. The server calls this in any case."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
        self._trace.seconds = time.perf_counter() - self._trace.started
        for observe in self._observers:
            observe(self._trace)


def log_request(trace: RequestTrace) -> None:
    """Write the log line of a request."""
    level = logging.DEBUG if trace.route in POLLED_ROUTES else logging.INFO
    log.log(level, "%s %s %d", trace.method, trace.path, trace.status, extra=log_fields(trace))


def log_fields(trace: RequestTrace) -> dict[str, Any]:
    """Return the fields of the log line of a request."""
    timings = {f"{name}_ms": round(ms, 1) for name, ms in trace.timings_ms.items()}
    picture = {field_name(name): value for name, value in trace.picture_headers.items()}
    picture.pop("server_timing", None)  # repeats the timings
    quality = {}
    if trace.consistency is not None and trace.is_whole:
        quality["consistency_psnr_db"] = round(trace.consistency.psnr_db, 2)
    return {
        "request_id": trace.request_id,
        "method": trace.method,
        "path": trace.path,
        "status": trace.status,
        "bytes": trace.sent_bytes,
        "whole": trace.is_whole,
        "ms": round(1000 * trace.seconds, 1),
        **picture,
        **quality,
        **timings,
    }


def field_name(header: str) -> str:
    """Return the name of a header in the log line.

    >>> field_name("X-Input-Size")
    'input_size'
    """
    return header.removeprefix("X-").lower().replace("-", "_")
