"""Every answer says what was done, under an id that is also in the log line."""

import logging
import re
import time
from uuid import uuid4

from flask import Flask, Response, g, request

from api.service import current_service
from core.picture import Picture

log = logging.getLogger("enhancer.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of a caller's own id, to be logged as is

TRUTH_HEADERS = [
    "X-Request-Id",
    "X-Model",
    "X-Model-Version",
    "X-Scale",
    "X-Detail",
    "X-Input-Size",
    "X-Output-Size",
    "X-Tiles",
    "X-Alpha",
    "X-Consistency-PSNR",
    "Server-Timing",
]
"""Also readable by pages of other origins, where CORS is enabled."""


def register_tracing(app: Flask) -> None:
    app.before_request(start_trace)
    app.after_request(finish_trace)


def start_trace() -> None:
    """Take the caller's id, if it is one, or make one."""
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
    g.started = time.perf_counter()
    g.truth = {}


def describe_work(lr: Picture, tiles: int, detail: float, timings_ms: dict[str, float]) -> None:
    """Note what a request takes, for its headers and its log line.

    Args:
        lr: the decoded input.
        tiles: that it is cut into.
        detail: of the network that is used.
        timings_ms: milliseconds by stage, as far as they are over.
    """
    scale = current_service().upscaler.scale
    g.truth = {
        "X-Scale": str(scale),
        "X-Detail": f"{detail:g}",
        "X-Input-Size": f"{lr.width}x{lr.height}",
        "X-Output-Size": f"{scale * lr.width}x{scale * lr.height}",
        "X-Tiles": str(tiles),
        "Server-Timing": ", ".join(f"{name};dur={ms:.1f}" for name, ms in timings_ms.items()),
    }


def finish_trace(response: Response) -> Response:
    """Put the headers on an answer and write its log line."""
    card = current_service().upscaler.card
    headers = {
        "X-Request-Id": g.request_id,
        "X-Model": card.name,
        "X-Model-Version": card.version,
        **g.truth,
    }
    response.headers.update(headers)
    log.info(
        "request_id=%s method=%s path=%r status=%d bytes=%s ms=%.1f %s",
        g.request_id,
        request.method,
        request.path,
        response.status_code,
        response.content_length,
        1000 * (time.perf_counter() - g.started),
        " ".join(f"{name}={value!r}" for name, value in g.truth.items()),
    )
    return response
