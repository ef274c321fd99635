"""POST /model/estimate: the size of a result and the time that it takes, without computing it."""

import io
from typing import IO, Any

from flask import g, request
from flask_restx import Resource, fields
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api.context import ServiceContext, current_jobs, current_service, error_schema, model
from api.errors import InvalidUpload
from api.forms import document_options, read_picture_options, read_upload
from api.responses import OrNull
from api.routes.jobs import FIELD as JOB_FIELD
from api.routes.jobs import allow_large_upload, read_job
from api.routes.predict import FIELD as PICTURE_FIELD
from api.routes.predict import plan_picture
from core.media.medium import PICTURES
from core.model.grid import OutputGrid
from core.model.upscaler import Upscaler
from core.options import JOB_OPTIONS

upload = model.parser()
upload.add_argument(
    PICTURE_FIELD, type=FileStorage, location="files", help="A picture, as in /model/predict."
)
upload.add_argument(
    JOB_FIELD,
    type=FileStorage,
    location="files",
    help="Or a clip, a picture or an archive, as in /model/jobs. The other fields are those of "
    "the route that the file is for.",
)
document_options(upload, JOB_OPTIONS)

size_schema = model.model(
    "Size",
    {
        "width": fields.Integer(required=True, description="Pixels"),
        "height": fields.Integer(required=True, description="Pixels"),
    },
)

estimate_schema = model.model(
    "Estimate",
    {
        "kind": fields.String(
            required=True,
            enum=["video", "animation", PICTURES],
            description="As in a job; pictures for `image`",
        ),
        "frames": fields.Integer(required=True, description="Number of frames or pictures"),
        "input": fields.Nested(
            size_schema, required=True, description="Of a frame; the largest sides in an archive"
        ),
        "output": fields.Nested(
            size_schema, required=True, description="Of a frame; the largest one of an archive"
        ),
        "scale": fields.Float(required=True, description="Factor of width and height"),
        "passes": fields.Integer(
            required=True, description="Passes of the network: 0 at 1x, 1 up to 4x, 2 above"
        ),
        "tiles": fields.Integer(
            required=True,
            description="Tiles of all frames and passes. With `restore=auto` those of the "
            "restorer count",
        ),
        "memory_bytes": fields.Integer(required=True, description="Memory to be reserved"),
        "seconds": fields.Float(
            required=True, description="Computing time at the rate of recent tiles"
        ),
        "queue_seconds": fields.Float(
            required=True, description="Computing time of the pictures that are in progress"
        ),
        "jobs_before": fields.Integer(
            required=True, description="Number of jobs that are queued or running; 0 for `image`"
        ),
        "deadline_seconds": OrNull(
            fields.Integer(), "Time limit, from the arrival to the last row; null for `file`"
        ),
    },
)


@model.route("/estimate")
class EstimateRoute(Resource):
    """Route that estimates what a picture or a job takes."""

    @model.doc("estimate")
    @model.expect(upload)
    @model.response(200, "Estimate for the file", estimate_schema)
    @model.response(400, "No readable file in `image` or `file`, or a wrong field", error_schema)
    @model.response(401, "Missing or wrong key, if the service has keys", error_schema)
    @model.response(408, "The request did not arrive in time", error_schema)
    @model.response(413, "File, result or request over a limit", error_schema)
    @model.response(415, "Unsupported kind of file", error_schema)
    @model.response(429, "Too many requests; Retry-After says when to retry", error_schema)
    @model.response(503, "The decoders are busy; Retry-After says when", error_schema)
    @model.response(507, "No disk space to read the file; Retry-After says when", error_schema)
    @model.response(500, "Internal error, which is in the log", error_schema)
    def post(self) -> dict[str, Any]:
        """Estimate size, memory and time of a result without computing it."""
        service = current_service()
        if service.jobs is not None:
            allow_large_upload()
            job_bytes = service.jobs.max_upload_bytes
            request.max_content_length = max(job_bytes, service.max_upload_bytes)
            if is_for_job():
                check_length(job_bytes)
                return estimate_job(service)
            check_length(service.max_upload_bytes)
        return estimate_picture(service)


def is_for_job() -> bool:
    """Return whether the file of the request is one for a job.

    Raises:
        InvalidUpload: if there are files for both routes.
    """
    given = [n for n in (PICTURE_FIELD, JOB_FIELD) if n in request.files or n in request.form]
    if len(given) > 1:
        raise InvalidUpload(
            f"Request must have a file in one of the fields `{PICTURE_FIELD}` and `{JOB_FIELD}`. "
            "Received: both."
        )
    return given == [JOB_FIELD]


def check_length(limit: int) -> None:
    """Raise RequestEntityTooLarge if a request has more bytes than one for its route may have."""
    sizes = [length_of(file.stream) for file in request.files.values()]
    if max(request.content_length or 0, *sizes, 0) > limit:
        request.max_content_length = limit
        raise RequestEntityTooLarge


def length_of(file: IO[bytes]) -> int:
    """Return the number of bytes of a file that is at its beginning."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    return length


def estimate_picture(service: ServiceContext) -> dict[str, Any]:
    """Return the estimate for the picture of the request; the errors are those of predict."""
    options = read_picture_options(has_note=service.has_note, restore=service.default_restore)
    service.models.check(options)
    chosen = service.models.find(options.model)
    g.trace.card = chosen.upscaler.card
    plan = plan_picture(service, read_upload(PICTURE_FIELD).stream, options)
    chosen.check(service.admission, plan.memory_bytes)
    return {
        "kind": PICTURES,
        "frames": 1,
        "input": size_json(plan.header.height, plan.header.width),
        "output": size_json(plan.grid.height, plan.grid.width),
        "tiles": plan.result.tiles,
        "memory_bytes": plan.memory_bytes,
        "jobs_before": 0,
        "deadline_seconds": service.deadline_s,
        **factor_json(plan.grid),
        **time_json(chosen.upscaler, chosen.upscaler.work(plan.result)),
    }


def estimate_job(service: ServiceContext) -> dict[str, Any]:
    """Return the estimate for the job that the request describes; the errors are those of jobs."""
    file, options = read_job()
    engine = current_jobs().engine
    estimate = engine.estimate(file.stream, options)
    medium = estimate.medium
    return {
        "kind": medium.kind,
        "frames": medium.frames,
        "input": size_json(medium.height, medium.width),
        "output": size_json(*estimate.output_size),
        "tiles": estimate.tiles,
        "memory_bytes": estimate.memory_bytes,
        "jobs_before": engine.stats().unfinished,
        "deadline_seconds": None,
        **factor_json(estimate.grid),
        **time_json(service.models.find(options.model).upscaler, estimate.work),
    }


def size_json(height: int, width: int) -> dict[str, int]:
    """Return a size in the form of `size_schema`."""
    return {"width": width, "height": height}


def factor_json(grid: OutputGrid) -> dict[str, float]:
    """Return how a result is enlarged, as a part of `estimate_schema`."""
    return {"scale": round(float(grid.factor), 4), "passes": grid.passes}


def time_json(upscaler: Upscaler, work: int) -> dict[str, float]:
    """Return how long work takes, as a part of `estimate_schema`."""
    return {
        "seconds": round(upscaler.rate.seconds(work), 1),
        "queue_seconds": round(upscaler.scheduler.backlog_s, 1),
    }
