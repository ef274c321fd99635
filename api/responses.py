"""What is told of a job: as JSON, and how its acceptance is answered.

A result sent as a file: whole, or the part that is asked for.

Source: RFC 9110, sections 13.1.5 and 14.

Server-sent events: what happens to a job, told over a connection that stays open.

A thread is held for each. So they have threads of their own (`api.server.worker`), and there is a
limit on their number.

Source: HTML Living Standard, section 9.2.
"""

import json
import re
import threading
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Response, current_app, jsonify, request, stream_with_context, url_for
from flask_restx import fields
from flask_restx.reqparse import RequestParser
from werkzeug.datastructures import FileStorage
from werkzeug.http import parse_range_header
from werkzeug.wsgi import FileWrapper

from api.access import caller
from api.context import current_jobs, model
from api.errors import InvalidHeader
from core.media.medium import OutputOptions
from jobs.engine import OpenResult
from jobs.errors import TooManyWatchers
from jobs.job import Job, JobState

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
KEY = re.compile(r'"?([!#-\[\]-~]{1,200})"?')
"""As a structured header has it, in quotes, or bare as many send it."""

PREFERENCE = "respond-async"

NOT_STORED = "no-store"  # Cache-Control: who has the address of a job has the job

links_schema = model.model(
    "JobLinks",
    {
        "self": fields.String(required=True, description="The job; DELETE cancels it"),
        "events": fields.String(required=True, description="Server-sent events"),
        "result": fields.String(required=True, description="The result, once it has succeeded"),
    },
)

result_schema = model.model(
    "JobResult",
    {
        "name": fields.String(required=True),
        "type": fields.String(required=True),
        "bytes": fields.Integer(required=True),
        "sha256": fields.String(required=True),
    },
)


class OrNull(fields.Raw):
    """A field that may be null, which OpenAPI 2 can say in a dialect only."""

    def __init__(self, field: Any, description: str) -> None:
        super().__init__(description=description, required=True)
        self._field = field

    def schema(self) -> dict[str, Any]:
        return {**self._field.schema(), "x-nullable": True, "description": self.description}


class NestedOrNull(fields.Nested):
    """An object that may be null."""

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "x-nullable": True}


job_schema = model.model(
    "Job",
    {
        "id": fields.String(required=True, description="Not to be guessed: who has it may all"),
        "state": fields.String(required=True, enum=[state.value for state in JobState]),
        "kind": fields.String(required=True, description="video, animation or pictures"),
        "name": fields.String(required=True, description="Of the file that was sent"),
        "frames_done": fields.Integer(required=True),
        "frames_total": fields.Integer(required=True),
        "frames_per_second": OrNull(fields.Float(), "That are computed; null if not known"),
        "seconds_left": OrNull(fields.Float(), "Null unless it runs and its rate is known"),
        "position": OrNull(fields.Integer(), "Jobs before it; null unless it is queued"),
        "created": fields.DateTime(required=True),
        "started": OrNull(fields.DateTime(), "Null before"),
        "finished": OrNull(fields.DateTime(), "Null before"),
        "expires": OrNull(fields.DateTime(), "When it is deleted; null before it has ended"),
        "error": OrNull(fields.String(), "Why it failed; null unless it did"),
        "damage": OrNull(fields.String(), "What is wrong with the file; null if nothing is"),
        "result": NestedOrNull(
            result_schema, required=True, description="Null unless it succeeded"
        ),
        "links": fields.Nested(links_schema, required=True),
    },
)


def add_key(parser: RequestParser) -> None:
    """Document the idempotency key, for Swagger."""
    parser.add_argument(
        KEY_HEADER,
        location="headers",
        help="The same key with the same content gives the same job, however often it is sent.",
    )


def describe_job(job: Job) -> dict[str, Any]:
    """A job as callers see it."""
    result = job.result
    return {
        "id": job.id,
        "state": job.state.value,
        "kind": job.kind,
        "name": job.name,
        "frames_done": job.frames_done,
        "frames_total": job.frames,
        "frames_per_second": None if job.rate is None else round(job.rate, 3),
        "seconds_left": None if job.left_s is None else round(job.left_s, 1),
        "position": job.position,
        "created": moment(job.created),
        "started": moment(job.started),
        "finished": moment(job.finished),
        "expires": moment(job.expires),
        "error": job.error,
        "damage": job.damage,
        "result": result
        and {
            "name": result.name,
            "type": result.mimetype,
            "bytes": result.size,
            "sha256": result.digest,
        },
        "links": {
            "self": url_for("jobs_job_route", job_id=job.id),
            "events": url_for("jobs_job_events_route", job_id=job.id),
            "result": url_for("jobs_job_result_route", job_id=job.id),
        },
    }


def moment(seconds: float | None) -> str | None:
    """A time as RFC 3339 has it.

    >>> moment(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def tell(job: Job, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """The answer that describes a job."""
    response = jsonify(describe_job(job))
    response.status_code = status
    response.headers["Cache-Control"] = NOT_STORED
    return response


def accepted(file: FileStorage, wish: OutputOptions, *, is_preferred: bool = False) -> Response:
    """Make a job of a file, and say where it is.

    Args:
        file: of the request.
        wish: how its result is wanted.
        is_preferred: whether the caller could have had the result instead.
    """
    job, is_new = current_jobs().engine.submit(
        file.stream, file.filename or "", wish, key=read_key(), caller=caller()
    )
    response = tell(job, HTTPStatus.ACCEPTED)
    response.headers["Location"] = url_for("jobs_job_route", job_id=job.id)
    if is_preferred:
        response.headers["Preference-Applied"] = PREFERENCE
    if not is_new:
        response.headers[REPLAYED_HEADER] = "true"
    return response


def read_key() -> str | None:
    """The idempotency key of the request; None without one.

    Raises:
        InvalidHeader: if it is none.
    """
    given = request.headers.get(KEY_HEADER)
    if given is None:
        return None
    found = KEY.fullmatch(given.strip())
    if found is None:
        raise InvalidHeader(
            f"`{KEY_HEADER}` must be of 1 to 200 visible ASCII characters. Received: {given[:40]!r}"
        )
    return found[1]


def prefers_job() -> bool:
    """Whether the caller would rather have a job than wait (RFC 7240, section 4.1)."""
    preferences = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(part.partition(";")[0].strip().lower() == PREFERENCE for part in preferences)


CHUNK_BYTES = 256 * 1024
UNIT = "bytes"
UNQUOTED = "!#$&+-.^_`|~"  # attr-char of RFC 8187
PRIVATE = "private, no-cache"


def send_result(opened: OpenResult) -> Response:
    """The answer to a request for a result, with validators, so that it can be resumed.

    Raises:
        RequestedRangeNotSatisfiable: if the part asked for is none of it.
    """
    result = opened.result
    response = Response(FileWrapper(opened.file, CHUNK_BYTES), mimetype=result.mimetype)
    response.headers.set("Content-Disposition", "attachment", **names_of(result.name))
    response.headers["Accept-Ranges"] = UNIT
    response.headers["Cache-Control"] = PRIVATE
    response.content_length = result.size
    response.set_etag(result.digest)
    response.make_conditional(
        request.environ,
        accept_ranges=True,
        complete_length=result.size if asks_for_one_part() else None,
    )
    return response


def names_of(name: str) -> dict[str, str]:
    """A name for all browsers, and in full where it has other letters (RFC 6266, RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    if plain == name:
        return {"filename": name}
    return {"filename": plain, "filename*": f"UTF-8''{quote(name, safe=UNQUOTED)}"}


def asks_for_one_part() -> bool:
    """Whether Range is to be obeyed: one that is not understood, or of several parts, is not."""
    asked = parse_range_header(request.headers.get("Range"))
    return asked is not None and asked.units == UNIT and len(asked.ranges) == 1


WATCHERS = "enhancer.watchers"  # among the extensions of an application
MAY_STREAM = "enhancer.may_stream"  # in the WSGI environment; false in threads of pictures

MIMETYPE = "text/event-stream"
COME_BACK_MS = 2000
"""That a client waits before it connects again, when the connection ends before the job."""

OPENING = f"retry: {COME_BACK_MS}\n\n"
KEEP_ALIVE = ": still there\n\n"
RETRY_AFTER_S = 5
MOST_DIGITS = 15


class EventStreamLimit:
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
    if not request.environ.get(MAY_STREAM, True):
        snapshots = iter([job])  # the client will be back, and be given another thread
    watchers: EventStreamLimit = current_app.extensions[WATCHERS]
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
