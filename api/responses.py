"""Responses about jobs: a job as JSON, its result as a file, its progress as an event stream.

An event stream keeps a thread. So streams have threads of their own (`api.server.worker`), and
their number is limited.

Source: RFC 9110, sections 13.1.5 and 14 (ranges); HTML Living Standard, section 9.2 (events).
"""

import json
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Response, current_app, g, jsonify, request, stream_with_context, url_for
from flask_restx import fields
from flask_restx.reqparse import RequestParser
from werkzeug.datastructures import FileStorage
from werkzeug.http import parse_range_header
from werkzeug.wsgi import FileWrapper

from api.access import caller
from api.context import current_jobs, current_service, model
from api.errors import InvalidHeader
from core.errors import InvalidModel
from core.options import OutputOptions
from jobs.engine import OpenResult
from jobs.errors import TooManyWatchers
from jobs.job import Job, JobResult, JobState

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
KEY = re.compile(r'"?([!#-\[\]-~]{1,200})"?')
"""An idempotency key: in quotes, as a structured header, or without, as many clients send it."""

PREFERENCE = "respond-async"  # RFC 7240, section 4.1

NOT_STORED = "no-store"
"""Cache-Control of responses about a job: anyone who knows its address can control the job."""

PRIVATE = "private, no-cache"
"""Cache-Control of results."""

CHUNK_BYTES = 256 * 1024
RANGE_UNIT = "bytes"
UNQUOTED = "!#$&+-.^_`|~"  # attr-char of RFC 8187

STREAM_LIMIT = "enhancer.event_streams"
"""Name of the `EventStreamLimit` among the extensions of the application."""

MAY_STREAM = "enhancer.may_stream"
"""Name of a flag in the WSGI environment: false in a thread that no stream may keep."""

MIMETYPE = "text/event-stream"
RECONNECT_MS = 2000
"""Time after which a client reconnects, if the stream ends before the job."""

FIRST_LINES = f"retry: {RECONNECT_MS}\n\n"
KEEP_ALIVE = ": still there\n\n"
RETRY_AFTER_S = 5
MAX_ID_DIGITS = 15


class OrNull(fields.Raw):
    """A field that may be null, which OpenAPI 2 can express only as an extension."""

    def __init__(self, field: Any, description: str) -> None:
        super().__init__(description=description, required=True)
        self._field = field

    def schema(self) -> dict[str, Any]:
        """Return the schema of the field with `x-nullable`."""
        return {**self._field.schema(), "x-nullable": True, "description": self.description}


class NestedOrNull(fields.Nested):
    """An object that may be null."""

    def schema(self) -> dict[str, Any]:
        """Return the schema of the object with `x-nullable`."""
        return {**super().schema(), "x-nullable": True}


links_schema = model.model(
    "JobLinks",
    {
        "self": fields.String(
            required=True, description="The job. DELETE cancels it, or deletes it once it has ended"
        ),
        "events": fields.String(required=True, description="Its progress as server-sent events"),
        "result": fields.String(required=True, description="Its result, once it has succeeded"),
    },
)

result_schema = model.model(
    "JobResult",
    {
        "name": fields.String(required=True, description="File name"),
        "type": fields.String(required=True, description="Media type"),
        "bytes": fields.Integer(required=True, description="Size of the file"),
        "sha256": fields.String(required=True, description="Checksum of the file"),
    },
)

job_schema = model.model(
    "Job",
    {
        "id": fields.String(
            required=True, description="Secret: anyone who knows it can read and cancel the job"
        ),
        "state": fields.String(required=True, enum=[state.value for state in JobState]),
        "kind": fields.String(required=True, description="video, animation or pictures"),
        "name": fields.String(required=True, description="Name of the uploaded file"),
        "frames_done": fields.Integer(required=True, description="Number of frames upscaled"),
        "frames_total": fields.Integer(required=True, description="Number of frames of the file"),
        "frames_per_second": OrNull(fields.Float(), "Speed of the job. Null if not known"),
        "seconds_left": OrNull(
            fields.Float(), "Estimated. Null unless the job runs and its speed is known"
        ),
        "position": OrNull(
            fields.Integer(),
            "Number of jobs that run, or wait and came earlier. Null unless this one is queued",
        ),
        "created": fields.DateTime(required=True),
        "started": OrNull(fields.DateTime(), "Null before the job starts"),
        "finished": OrNull(fields.DateTime(), "Null before the job ends"),
        "expires": OrNull(fields.DateTime(), "When the job is deleted. Null before the job ends"),
        "error": OrNull(fields.String(), "Why the job failed. Null unless it failed"),
        "restore": OrNull(
            fields.Float(),
            "Strength at which all frames are restored. Null if each picture has its own",
        ),
        "damage": OrNull(fields.String(), "What is damaged in the file. Null if nothing is"),
        "result": NestedOrNull(
            result_schema, required=True, description="Null unless the job succeeded"
        ),
        "links": fields.Nested(links_schema, required=True),
    },
)


# The job


def document_idempotency_key(parser: RequestParser) -> None:
    """Add the idempotency key to the documented parameters of a route."""
    parser.add_argument(
        KEY_HEADER,
        location="headers",
        help="A repeated request with the same key and content returns the same job.",
    )


def job_json(job: Job) -> dict[str, Any]:
    """Return a job in the form of `job_schema`."""
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
        "created": timestamp(job.created),
        "started": timestamp(job.started),
        "finished": timestamp(job.finished),
        "expires": timestamp(job.expires),
        "error": job.error,
        "restore": job.options.strength,
        "damage": job.damage,
        "result": result and result_json(result),
        "links": job_links(job.id),
    }


def result_json(result: JobResult) -> dict[str, Any]:
    """Return a result in the form of `result_schema`."""
    return {
        "name": result.name,
        "type": result.mimetype,
        "bytes": result.size,
        "sha256": result.digest,
    }


def job_links(job_id: str) -> dict[str, str]:
    """Return the addresses of a job in the form of `links_schema`."""
    return {
        "self": url_for("jobs_job_route", job_id=job_id),
        "events": url_for("jobs_job_events_route", job_id=job_id),
        "result": url_for("jobs_job_result_route", job_id=job_id),
    }


def timestamp(seconds: float | None) -> str | None:
    """Return a Unix time in the format of RFC 3339.

    >>> timestamp(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def job_response(job: Job, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a response with the job as JSON. Its headers state the model of the job."""
    with suppress(InvalidModel):  # the model is gone
        g.trace.card = current_service().models.find(job.options.model).upscaler.card
    response = jsonify(job_json(job))
    response.status_code = status
    response.headers["Cache-Control"] = NOT_STORED
    return response


def job_accepted(
    file: FileStorage, options: OutputOptions, *, is_preferred: bool = False
) -> Response:
    """Create a job for a file. Return a response with the job and its address.

    Args:
        file: file of the request.
        options: output options of the result.
        is_preferred: whether the client chose a job where it could have had the result.
    """
    job, is_new = current_jobs().engine.submit(
        file.stream, file.filename or "", options, key=idempotency_key(), caller=caller()
    )
    response = job_response(job, HTTPStatus.ACCEPTED)
    response.headers["Location"] = url_for("jobs_job_route", job_id=job.id)
    if is_preferred:
        response.headers["Preference-Applied"] = PREFERENCE
    if not is_new:
        response.headers[REPLAYED_HEADER] = "true"
    return response


def idempotency_key() -> str | None:
    """Return the idempotency key of the request; None without one.

    Raises:
        InvalidHeader: if the header is not a valid key.
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
    """Return whether the client prefers a job to a result (RFC 7240, section 4.1)."""
    preferences = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(part.partition(";")[0].strip().lower() == PREFERENCE for part in preferences)


# The result


def result_response(opened: OpenResult) -> Response:
    """Return a response with the result or the requested range of it.

    The response carries an ETag, so that a client can resume an interrupted download.

    Raises:
        RequestedRangeNotSatisfiable: if the range is outside the result.
    """
    result = opened.result
    response = Response(FileWrapper(opened.file, CHUNK_BYTES), mimetype=result.mimetype)
    response.headers.set("Content-Disposition", "attachment", **filename_parameters(result.name))
    response.headers["Accept-Ranges"] = RANGE_UNIT
    response.headers["Cache-Control"] = PRIVATE
    response.content_length = result.size
    response.set_etag(result.digest)
    response.make_conditional(
        request.environ,
        accept_ranges=True,
        complete_length=result.size if has_single_range() else None,
    )
    return response


def filename_parameters(name: str) -> dict[str, str]:
    """Return a file name in ASCII, and in UTF-8 if it has other letters (RFC 6266, RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    if plain == name:
        return {"filename": name}
    return {"filename": plain, "filename*": f"UTF-8''{quote(name, safe=UNQUOTED)}"}


def has_single_range() -> bool:
    """Return whether the request has one range of bytes. Every other `Range` is ignored."""
    ranges = parse_range_header(request.headers.get("Range"))
    return ranges is not None and ranges.units == RANGE_UNIT and len(ranges.ranges) == 1


# The event stream


class EventStreamLimit:
    """Limit on the number of event streams at once.

    Args:
        limit: largest number.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = threading.BoundedSemaphore(limit)

    def enter(self) -> None:
        """Count a stream.

        Raises:
            TooManyWatchers: if the limit is reached.
        """
        if not self._free.acquire(blocking=False):
            raise TooManyWatchers(
                f"At most {self._limit} callers may watch jobs at once. Received: one more.",
                retry_after_s=RETRY_AFTER_S,
            )

    def leave(self) -> None:
        """Stop counting a stream."""
        self._free.release()


def event_stream_response(job_id: str) -> Response:
    """Return a response that streams the progress of a job until it ends."""
    engine, seen = current_jobs().engine, last_event_id()
    job = engine.get(job_id)
    if job.state.is_final and job.version == seen:
        return Response(status=HTTPStatus.NO_CONTENT)  # the only answer that ends reconnecting
    if request.method == "HEAD":
        return make_stream("")
    snapshots = engine.watch(job_id, seen)
    if not request.environ.get(MAY_STREAM, True):
        snapshots = iter([job])  # the client reconnects, and gets another thread
    limit: EventStreamLimit = current_app.extensions[STREAM_LIMIT]
    limit.enter()
    response = make_stream(stream_with_context(events(snapshots)))
    response.call_on_close(limit.leave)
    return response


def make_stream(body: Iterator[str] | str) -> Response:
    """Return a response of events that no cache stores and no proxy buffers."""
    response = Response(body, mimetype=MIMETYPE)
    response.headers["Cache-Control"] = NOT_STORED
    response.headers["X-Accel-Buffering"] = "no"  # nginx buffers by default
    return response


def last_event_id() -> int:
    """Return the version of the job that the client received last; 0 if not known."""
    given = request.headers.get("Last-Event-ID", "")
    is_number = given.isascii() and given.isdigit() and len(given) <= MAX_ID_DIGITS
    return int(given) if is_number else 0


def events(snapshots: Iterator[Job | None]) -> Iterator[str]:
    """Format snapshots of a job as events.

    Args:
        snapshots: the job whenever it has changed; None to keep the connection alive.

    Yields:
        The event `state` if the state has changed, else the event `progress`.
    """
    yield FIRST_LINES
    state = None
    for job in snapshots:
        if job is None:
            yield KEEP_ALIVE
            continue
        name = "progress" if job.state == state else "state"
        state = job.state
        yield f"id: {job.version}\nevent: {name}\ndata: {json.dumps(job_json(job))}\n\n"
