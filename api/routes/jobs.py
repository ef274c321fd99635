"""/model/jobs: clips and archives, upscaled in the background."""

from contextlib import ExitStack
from http import HTTPStatus

from flask import Response, request
from flask_restx import Namespace, Resource
from werkzeug.datastructures import FileStorage

from api.context import JOBS_PATH, current_jobs, current_service, error_schema
from api.forms import document_options, read_job_options, read_upload
from api.responses import (
    document_idempotency_key,
    event_stream_response,
    job_accepted,
    job_response,
    job_schema,
    result_response,
)
from api.server.connection import extend_read_timeout
from core.options import JOB_OPTIONS, OutputOptions

FIELD = "file"

MIN_UPLOAD_RATE = 250_000
"""Bytes per second at which a file must arrive that takes longer than the read timeout."""

jobs = Namespace("jobs", description="Clips, pictures and archives, as jobs", path=JOBS_PATH)

upload = jobs.parser()
upload.add_argument(
    FIELD,
    type=FileStorage,
    location="files",
    required=True,
    help="A clip, a picture or a ZIP archive of them; see `jobs` in /model/metadata.",
)
document_options(upload, JOB_OPTIONS)
document_idempotency_key(upload)

event_headers = jobs.parser()
event_headers.add_argument(
    "Last-Event-ID", location="headers", help="Id of the last event received. Resumes the stream."
)

result_headers = jobs.parser()
result_headers.add_argument("Range", location="headers", help="Range of bytes to send.")
result_headers.add_argument(
    "If-Range", location="headers", help="ETag. With another one, the whole result is sent."
)

file_schema = jobs.schema_model("File", {"type": "string", "format": "binary"})
events_schema = jobs.schema_model("Events", {"type": "string"})

no_key = jobs.response(401, "No key, or a wrong one, where keys are set", error_schema)
rate_limited = jobs.response(429, "Too many requests; Retry-After says when", error_schema)
no_job = jobs.response(404, "No such job, or it has been deleted", error_schema)


@jobs.route("")
class JobsRoute(Resource):
    """All jobs. They cannot be listed, because anyone who knows an id can control the job."""

    @jobs.doc("create_job")
    @jobs.expect(upload)
    @jobs.response(202, "The job. `Location` is its address", job_schema)
    @jobs.response(400, "No readable file in `file`, or an invalid field", error_schema)
    @no_key
    @jobs.response(408, "The request did not arrive in time", error_schema)
    @jobs.response(413, "File or request over the limits", error_schema)
    @jobs.response(415, "Unsupported kind of file", error_schema)
    @jobs.response(422, "The idempotency key was used with other content", error_schema)
    @rate_limited
    @jobs.response(503, "Too many jobs are waiting; Retry-After says when", error_schema)
    @jobs.response(507, "No disk space for the file; Retry-After says when", error_schema)
    @jobs.response(500, "Internal error; see the log of the service", error_schema)
    def post(self) -> Response:
        """Create a job that upscales a file, by default four times."""
        allow_large_upload()
        return job_accepted(*read_job())


def allow_large_upload() -> None:
    """Allow the request to be as large, and to arrive as slowly, as that of a job."""
    request.max_content_length = current_jobs().max_upload_bytes
    extend_read_timeout(request.environ, MIN_UPLOAD_RATE)


def read_job() -> tuple[FileStorage, OutputOptions]:
    """Return the file and the options of the job that the request asks for.

    The errors are those of `read_upload` and `read_job_options`.
    """
    file = read_upload(FIELD, "a picture, a clip or an archive")
    service = current_service()
    return file, read_job_options(has_note=service.has_note, restore=service.default_restore)


@jobs.route("/<string:job_id>")
class JobRoute(Resource):
    """One job."""

    @jobs.doc("job")
    @jobs.response(200, "Current state of the job", job_schema)
    @no_key
    @no_job
    @rate_limited
    def get(self, job_id: str) -> Response:
        """Get the state of a job."""
        return job_response(current_jobs().engine.get(job_id))

    @jobs.doc("cancel_job")
    @jobs.response(204, "The job is cancelled; or deleted, if it had ended; or does not exist")
    @no_key
    @rate_limited
    def delete(self, job_id: str) -> tuple[str, HTTPStatus]:
        """Cancel a job that is queued or running, or delete one that has ended."""
        current_jobs().engine.cancel(job_id)
        return "", HTTPStatus.NO_CONTENT


@jobs.route("/<string:job_id>/result")
class JobResultRoute(Resource):
    """Result file of a job."""

    @jobs.doc("result")
    @jobs.expect(result_headers)
    @jobs.produces(["application/octet-stream", "application/json"])
    @jobs.response(200, "The whole result, with its media type", file_schema)
    @jobs.response(206, "The requested range", file_schema)
    @no_key
    @no_job
    @jobs.response(409, "There is no result yet", error_schema)
    @jobs.response(410, "The job failed or was cancelled", error_schema)
    @jobs.response(416, "The range is outside the result", error_schema)
    @rate_limited
    def get(self, job_id: str) -> Response:
        """Download the result of a job."""
        with ExitStack() as stack:  # closed here on an error, else after the response
            opened = stack.enter_context(current_jobs().engine.open_result(job_id))
            response = result_response(opened)
            if request.method == "HEAD":  # its body is never iterated nor closed
                return response
            response.call_on_close(stack.pop_all().close)
        return response


@jobs.route("/<string:job_id>/events")
class JobEventsRoute(Resource):
    """Event stream of a job."""

    @jobs.doc("events")
    @jobs.expect(event_headers)
    @jobs.produces(["text/event-stream", "application/json"])
    @jobs.response(200, "Events `state` and `progress`, each with the job as JSON", events_schema)
    @jobs.response(204, "There are no more events: do not reconnect")
    @no_key
    @no_job
    @rate_limited
    @jobs.response(503, "Too many event streams; Retry-After says when", error_schema)
    def get(self, job_id: str) -> Response:
        """Stream the progress of a job until it ends."""
        return event_stream_response(job_id)
