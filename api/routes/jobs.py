"""/model/jobs: work that takes longer than anybody waits for an answer."""

from contextlib import ExitStack
from http import HTTPStatus

from flask import Response, request
from flask_restx import Namespace, Resource
from werkzeug.datastructures import FileStorage

from api.context import current_jobs, current_service, error_schema
from api.forms import add_job_wishes, read_job_wish, read_upload
from api.responses import accepted, add_key, job_schema, send_result, stream, tell
from api.server.connection import extend_read_timeout

FIELD = "file"

LEAST_RATE = 250_000
"""Bytes a second at which a large file must come, beyond the time for any request."""

jobs = Namespace("jobs", description="Clips and many pictures, as jobs", path="/model/jobs")

upload = jobs.parser()
upload.add_argument(
    FIELD,
    type=FileStorage,
    location="files",
    required=True,
    help="A picture, or a ZIP archive of pictures; see `jobs` in /model/metadata.",
)
add_job_wishes(upload)
add_key(upload)

watching = jobs.parser()
watching.add_argument(
    "Last-Event-ID", location="headers", help="Id of the last event that was received."
)

reading = jobs.parser()
reading.add_argument("Range", location="headers", help="The part that is wanted, of bytes.")
reading.add_argument("If-Range", location="headers", help="ETag for which `Range` holds.")

file_schema = jobs.schema_model("File", {"type": "string", "format": "binary"})
events_schema = jobs.schema_model("Events", {"type": "string"})

no_key = jobs.response(401, "No key, or a wrong one, where keys are set", error_schema)
too_often = jobs.response(429, "Too many requests; Retry-After says when", error_schema)
no_job = jobs.response(404, "No such job, or not any more", error_schema)


@jobs.route("")
class JobsRoute(Resource):
    """Where jobs are made. There is no list of them: who knows an id may do all with its job."""

    @jobs.doc("create_job")
    @jobs.expect(upload)
    @jobs.response(202, "The job; `Location` says where it is", job_schema)
    @jobs.response(400, "No file that can be read in `file`, or a wrong field", error_schema)
    @no_key
    @jobs.response(408, "The request did not arrive in time", error_schema)
    @jobs.response(413, "File or request over the limits", error_schema)
    @jobs.response(415, "A kind of file that is not taken", error_schema)
    @jobs.response(422, "The idempotency key came with other content before", error_schema)
    @too_often
    @jobs.response(503, "Too many jobs are waiting; Retry-After says when", error_schema)
    @jobs.response(507, "No room for the file; Retry-After says when", error_schema)
    @jobs.response(500, "A fault of the service; it is in the log", error_schema)
    def post(self) -> Response:
        """Hand in a file to be made four times as wide and high"""
        request.max_content_length = current_jobs().max_upload_bytes
        extend_read_timeout(request.environ, LEAST_RATE)
        file = read_upload(FIELD, "a picture, a clip or an archive")
        return accepted(file, read_job_wish(has_note=current_service().has_note))


@jobs.route("/<string:job_id>")
class JobRoute(Resource):
    """A job."""

    @jobs.doc("job")
    @jobs.response(200, "The job as it is now", job_schema)
    @no_key
    @no_job
    @too_often
    def get(self, job_id: str) -> Response:
        """How far a job is"""
        return tell(current_jobs().engine.get(job_id))

    @jobs.doc("cancel_job")
    @jobs.response(204, "It takes no time and no room any more, whatever it was before")
    @no_key
    @too_often
    def delete(self, job_id: str) -> tuple[str, HTTPStatus]:
        """Cancel a job; delete it, with its result, if it has ended"""
        current_jobs().engine.cancel(job_id)
        return "", HTTPStatus.NO_CONTENT


@jobs.route("/<string:job_id>/result")
class JobResultRoute(Resource):
    """The file that a job has made."""

    @jobs.doc("result")
    @jobs.expect(reading)
    @jobs.produces(["application/octet-stream", "application/json"])
    @jobs.response(200, "The result, of its own type", file_schema)
    @jobs.response(206, "The part that was asked for", file_schema)
    @no_key
    @no_job
    @jobs.response(409, "There is no result yet", error_schema)
    @jobs.response(410, "The job failed or was cancelled", error_schema)
    @jobs.response(416, "There is no such part", error_schema)
    @too_often
    def get(self, job_id: str) -> Response:
        """The result of a job"""
        with ExitStack() as stack:  # closed here if something fails, else with the answer
            opened = stack.enter_context(current_jobs().engine.open_result(job_id))
            response = send_result(opened)
            if request.method == "HEAD":  # of which no body is taken, nor closed
                return response
            response.call_on_close(stack.pop_all().close)
        return response


@jobs.route("/<string:job_id>/events")
class JobEventsRoute(Resource):
    """What happens to a job, while it happens."""

    @jobs.doc("events")
    @jobs.expect(watching)
    @jobs.produces(["text/event-stream", "application/json"])
    @jobs.response(200, "Events `state` and `progress`, each with the job as JSON", events_schema)
    @jobs.response(204, "The last event was the last: do not come back")
    @no_key
    @no_job
    @too_often
    @jobs.response(503, "Too many watch jobs already; Retry-After says when", error_schema)
    def get(self, job_id: str) -> Response:
        """Follow a job until it ends"""
        return stream(job_id)
