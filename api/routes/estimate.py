"""POST /model/estimate: the size of a result and the time that it takes, without computing it."""

from typing import Any

from flask_restx import Resource, fields

from api.context import ServiceContext, current_service, error_schema, model
from api.forms import read_picture_options, read_upload
from api.routes.predict import FIELD, document_picture, plan_picture
from core.model.grid import OutputGrid
from core.runtime.memory_plan import MemoryPlan

upload = model.parser()
document_picture(upload)

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
        "input": fields.Nested(size_schema, required=True),
        "output": fields.Nested(size_schema, required=True),
        "scale": fields.Float(required=True, description="Factor of width and height"),
        "passes": fields.Integer(
            required=True, description="Passes of the network: 0 at 1x, 1 up to 4x, 2 above"
        ),
        "tiles": fields.Integer(
            required=True,
            description="Tiles of all passes. With `restore=auto` those of the restorer count",
        ),
        "memory_bytes": fields.Integer(required=True, description="Memory to be reserved"),
        "seconds": fields.Float(
            required=True, description="Computing time at the rate of recent tiles"
        ),
        "queue_seconds": fields.Float(
            required=True, description="Computing time of the pictures that are in progress"
        ),
        "deadline_seconds": fields.Integer(
            required=True, description="Time limit, from the arrival to the last row"
        ),
    },
)


@model.route("/estimate")
class EstimateRoute(Resource):
    """Route that estimates what a picture takes."""

    @model.doc("estimate")
    @model.expect(upload)
    @model.response(200, "Estimate for the picture", estimate_schema)
    @model.response(400, "No readable picture in `image`, or a wrong field", error_schema)
    @model.response(401, "Missing or wrong key, if the service has keys", error_schema)
    @model.response(408, "The request did not arrive in time", error_schema)
    @model.response(413, "Picture, result or request over a limit", error_schema)
    @model.response(415, "Unsupported kind of picture", error_schema)
    @model.response(429, "Too many requests; Retry-After says when to retry", error_schema)
    @model.response(503, "The decoders are busy; Retry-After says when", error_schema)
    @model.response(500, "Internal error, which is in the log", error_schema)
    def post(self) -> dict[str, Any]:
        """Estimate size, memory and time of a result from the header of the picture alone."""
        service = current_service()
        options = read_picture_options(has_note=service.has_note, restore=service.restore)
        service.upscaler.check_detail(options.detail)
        service.upscaler.check_restore(options.restore)
        plan = plan_picture(service, read_upload(FIELD).stream, options)
        service.admission.check(plan.memory_bytes)
        return estimate_json(service, plan)


def estimate_json(service: ServiceContext, plan: MemoryPlan) -> dict[str, Any]:
    """Return an estimate in the form of `estimate_schema`."""
    upscaler = service.upscaler
    return {
        "input": {"width": plan.header.width, "height": plan.header.height},
        "output": size_json(plan.grid),
        "scale": round(float(plan.grid.factor), 4),
        "passes": plan.grid.passes,
        "tiles": plan.result.tiles,
        "memory_bytes": plan.memory_bytes,
        "seconds": round(upscaler.scheduler.seconds(upscaler.work(plan.result)), 1),
        "queue_seconds": round(upscaler.scheduler.backlog_s, 1),
        "deadline_seconds": service.deadline_s,
    }


def size_json(grid: OutputGrid) -> dict[str, int]:
    """Return the size of a result in the form of `size_schema`."""
    return {"width": grid.width, "height": grid.height}
