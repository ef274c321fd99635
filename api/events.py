"""Server-sent events: what happens to a job, told over a connection that stays open.

A thread is held for each. So they have threads of their own (`api.worker`), and there is a
limit on their number.

Source: HTML Living Standard, section 9.2.
"""

import json
import threading
from collections.abc import Iterator
from http import HTTPStatus

from flask import Response, current_app, request, stream_with_context

from api.job_answers import NOT_STORED, describe_job
from api.service import current_jobs
from jobs.errors import TooManyWatchers
from jobs.job import Job

WATCHERS = "enhancer.watchers"  # among the extensions of an application
MAY_BE_HELD = "enhancer.may_be_held"  # in the WSGI environment; false in threads of pictures

MIMETYPE = "text/event-stream"
COME_BACK_MS = 2000
"""That a client waits before it connects again, when the connection ends before the job."""

OPENING = f"retry: {COME_BACK_MS}\n\n"
KEEP_ALIVE = ": still there\n\n"
RETRY_AFTER_S = 5
MOST_DIGITS = 15


class Watchers:
    """Counts those who watch, up to a limit.

    Args:
        limit: of them at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places = threading.BoundedSemaphore(limit)

    def enter(self) -> None:
        """Take a place.

        Raises:
            TooManyWatchers: if there is none.
        """
        if not self._places.acquire(blocking=False):
            raise TooManyWatchers(
                f"At most {self._limit} callers may watch jobs at once. Received: one more.",
                retry_after_s=RETRY_AFTER_S,
            )

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()


def stream(job_id: str) -> Response:
    """The answer to who wants to watch a job."""
    engine, seen = current_jobs().engine, last_seen()
    job = engine.get(job_id)
    if job.state.is_final and job.version == seen:
        return Response(status=HTTPStatus.NO_CONTENT)  # which alone keeps clients from returning
    if request.method == "HEAD":
        return as_events("")
    snapshots = engine.watch(job_id, seen)
    if not request.environ.get(MAY_BE_HELD, True):
        snapshots = iter([job])  # the client will be back, and be given another thread
    watchers: Watchers = current_app.extensions[WATCHERS]
    watchers.enter()
    response = as_events(stream_with_context(events(snapshots)))
    response.call_on_close(watchers.leave)
    return response


def as_events(body: Iterator[str] | str) -> Response:
    response = Response(body, mimetype=MIMETYPE)
    response.headers["Cache-Control"] = NOT_STORED
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    return response


def last_seen() -> int:
    """Version of the job that the caller has seen; 0 if that is not said."""
    given = request.headers.get("Last-Event-ID", "")
    is_number = given.isascii() and given.isdigit() and len(given) <= MOST_DIGITS
    return int(given) if is_number else 0


def events(snapshots: Iterator[Job | None]) -> Iterator[str]:
    """Snapshots as events: `state` where it is another one, else `progress`."""
    yield OPENING
    state = None
    for job in snapshots:
        if job is None:
            yield KEEP_ALIVE
            continue
        name = "progress" if job.state == state else "state"
        state = job.state
        yield f"id: {job.version}\nevent: {name}\ndata: {json.dumps(describe_job(job))}\n\n"
