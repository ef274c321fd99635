"""Describe the service: GET /model/metadata, and the probes GET /health/live and /health/ready."""

from http import HTTPStatus
from typing import Any

from flask import request
from flask_restx import Namespace, Resource, fields

from api.context import JobServiceContext, current_service, error_schema, model
from core.images import INPUT_FORMATS, PILLOW_FORMATS
from core.model.registry import ModelRegistry
from core.model.upscaler import Upscaler
from core.options import ALL_FORMATS, AUTO, FULL_DETAIL, PICTURE_FORMATS, Restore

limits_schema = model.model(
    "Limits",
    {
        "max_pixels": fields.Integer(description="Width times height of a picture"),
        "max_side": fields.Integer(description="Width or height of a picture"),
        "max_output_pixels": fields.Integer(description="Width times height of a result"),
        "max_upload_bytes": fields.Integer(description="Bytes of a whole request"),
        "max_frames": fields.Integer(
            description="Frames of a file, of which the first is upscaled"
        ),
        "formats": fields.List(fields.String, description="Accepted file formats"),
        "output_formats": fields.List(fields.String, description="Values of `format`"),
    },
)

taken_schema = model.model(
    "Taken",
    {
        "format": fields.String,
        "pictures": fields.String(description="Kinds of pictures that are read"),
        "bits": fields.List(fields.Integer, description="Bits per sample that are kept"),
        "alpha": fields.Boolean(description="Whether transparency is kept"),
        "profiles": fields.List(
            fields.String, description="Kinds of colour profiles that are applied"
        ),
    },
)

detail_schema = model.model(
    "Detail",
    {
        "least": fields.Float(description="0, or 1 if there is no faithful model"),
        "most": fields.Float,
        "default": fields.Float,
    },
)

restorer_schema = model.model(
    "Restorer",
    {
        "name": fields.String,
        "version": fields.String,
        "description": fields.String,
        "faithful": fields.String(description="Name of the restorer for `detail` 0"),
        "halo": fields.Integer(description="Input pixels of context around a tile"),
        "parameters": fields.Integer,
        "sha256": fields.String(description="Checksum of the frozen graph"),
    },
)


class NumberOrWord(fields.Raw):
    """A number or a word. OpenAPI 2 has no type for that, so the schema allows any value."""

    def schema(self) -> dict[str, Any]:
        """Return the schema without a type."""
        return {name: value for name, value in super().schema().items() if name != "type"}


restore_schema = model.model(
    "Restore",
    {
        "least": fields.Float,
        "most": fields.Float(description="1, or 0 if there is no restorer"),
        "default": NumberOrWord(description="Number, or `auto`", example=AUTO),
        "restorer": fields.Nested(restorer_schema, description="Only if there is one"),
    },
)

jobs_schema = model.model(
    "Jobs",
    {
        "max_upload_bytes": fields.Integer(description="Bytes of a whole request"),
        "max_seconds": fields.Float(description="Duration of a clip"),
        "max_frames": fields.Integer(description="Frames of a clip, or pictures of an archive"),
        "max_pixels": fields.Integer(description="Width times height of a frame"),
        "max_side": fields.Integer(description="Width or height of a frame"),
        "formats": fields.List(fields.String, description="Accepted file formats"),
        "output_formats": fields.List(fields.String, description="Values of `format`"),
        "expiry_seconds": fields.Integer(description="Seconds that a finished job is kept"),
    },
)

weights_schema = model.model(
    "Weights",
    {
        "name": fields.String,
        "version": fields.String,
        "faithful": fields.String(description="Name of the model for `detail` 0"),
        "scale": fields.Integer(description="Factor of width and height"),
        "radius": fields.Integer(
            description="Input pixels on each side that affect an output pixel"
        ),
        "parameters": fields.Integer,
        "sha256": fields.String(description="Checksum of the frozen graph"),
        "quality": fields.Raw(description="Measured quality by test set"),
    },
)

model_schema = model.model(
    "Model",
    {
        "name": fields.String(required=True, description="Value of `model`"),
        "version": fields.String,
        "scale": fields.Integer(description="Factor of width and height, where no size is asked"),
        "license": fields.String,
        "description": fields.String,
        "source": fields.String(description="Address of imported weights"),
        "cost": fields.Float(description="Time of a picture, that of the default model being 1"),
        "detail": fields.Boolean(description="Whether `detail` below 1 is available"),
        "restore": NumberOrWord(description="`restore` of requests without one", example=AUTO),
        "error": fields.String(description="Why it cannot be used. Only where that is so"),
    },
)

metadata_schema = model.model(
    "Metadata",
    {
        "id": fields.String(required=True),
        "name": fields.String(required=True),
        "description": fields.String(required=True),
        "type": fields.String(required=True),
        "source": fields.String(required=True),
        "license": fields.String(required=True),
        "limits": fields.Nested(limits_schema),
        "pictures": fields.List(fields.Nested(taken_schema)),
        "detail": fields.Nested(detail_schema),
        "restore": fields.Nested(restore_schema),
        "jobs": fields.Nested(jobs_schema, description="Only if jobs are enabled"),
        "weights": fields.Nested(weights_schema),
        "models": fields.List(
            fields.Nested(model_schema), description="Models; the first is the default"
        ),
    },
)


@model.route("/metadata")
class MetadataRoute(Resource):
    """The metadata that the original service published, and the limits."""

    @model.doc("metadata")
    @model.response(200, "Success", metadata_schema)
    @model.response(401, "No key, or a wrong one, where keys are set", error_schema)
    @model.response(429, "Too many requests; Retry-After says when", error_schema)
    def get(self) -> dict[str, Any]:
        """Get the model and the limits of the service."""
        service = current_service()
        card = service.upscaler.card
        metadata = {
            "id": "max-image-resolution-enhancer",
            "name": "Super-Resolution Generative Adversarial Network (SRGAN)",
            "description": card.description,
            "type": "Image-To-Image Translation Or Transformation",
            "source": "https://arxiv.org/abs/1609.04802",
            "license": "Apache V2",
            "limits": {
                "max_pixels": service.limits.max_pixels,
                "max_side": service.limits.max_side,
                "max_output_pixels": service.limits.max_output_pixels,
                "max_upload_bytes": service.max_upload_bytes,
                "max_frames": service.limits.max_frames,
                "formats": list(PILLOW_FORMATS),
                "output_formats": list(PICTURE_FORMATS),
            },
            "pictures": [supported._asdict() for supported in INPUT_FORMATS],
            "detail": {
                "least": service.upscaler.least_detail,
                "most": FULL_DETAIL,
                "default": FULL_DETAIL,
            },
            "restore": describe_restore(service.upscaler, service.restore),
            "weights": {name: getattr(card, name) for name in weights_schema},
            "models": describe_models(service.models, service.restore),
        }
        if service.jobs is not None:
            metadata["jobs"] = describe_jobs(service.jobs)
        return metadata


def describe_models(models: ModelRegistry, restore: Restore) -> list[dict[str, Any]]:
    """Return all models, and then the cards that cannot be used, each with the reason."""
    described: list[dict[str, Any]] = []
    for chosen in models.models:
        card = chosen.upscaler.card
        described.append(
            {
                "name": card.name,
                "version": card.version,
                "scale": card.scale,
                "license": card.license,
                "description": card.description,
                "cost": round(chosen.cost, 2),
                "detail": chosen.upscaler.least_detail < FULL_DETAIL,
                "restore": chosen.default_restore(restore),
                **({} if card.source is None else {"source": card.source}),
            }
        )
    return described + [{"name": name, "error": why} for name, why in models.refused.items()]


def describe_restore(upscaler: Upscaler, default: Restore) -> dict[str, Any]:
    """Return the values of `restore`, and the restorer if there is one."""
    described: dict[str, Any] = {"least": 0.0, "most": upscaler.most_restore, "default": default}
    if upscaler.restorer is not None:
        card = upscaler.restorer.card
        described["restorer"] = {name: getattr(card, name) for name in restorer_schema}
    return described


def describe_jobs(jobs: JobServiceContext) -> dict[str, Any]:
    """Return the limits of jobs."""
    frame = jobs.limits.frame
    return {
        "max_upload_bytes": jobs.max_upload_bytes,
        "max_seconds": jobs.limits.max_seconds,
        "max_frames": frame.max_frames,
        "max_pixels": frame.max_pixels,
        "max_side": frame.max_side,
        "formats": list(jobs.formats),
        "output_formats": list(ALL_FORMATS),
        "expiry_seconds": jobs.expiry_s,
    }


DRAINING = "enhancer.draining"
"""Name of a flag in the WSGI environment: true once the server is stopping."""

LIVE = {"status": "live"}
READY = {"status": "ready"}
STARTING = {"status": "starting"}
"""Sent by the worker until the application is loaded."""

STOPPING = {"status": "stopping"}

health = Namespace("health", description="Probes for operators", path="/health")

health_schema = health.model("Health", {"status": fields.String(required=True, example="ready")})


@health.route("/live")
class LiveRoute(Resource):
    """Liveness probe."""

    @health.doc("live", security=[])
    @health.response(200, "The process answers", health_schema)
    def get(self) -> dict[str, str]:
        """Check that the process answers."""
        return LIVE


@health.route("/ready")
class ReadyRoute(Resource):
    """Readiness probe."""

    @health.doc("ready", security=[])
    @health.response(200, "The service accepts pictures", health_schema)
    @health.response(503, "The model is being loaded, or the server is stopping", health_schema)
    def get(self) -> tuple[dict[str, str], HTTPStatus]:
        """Check that the service accepts pictures."""
        if request.environ.get(DRAINING, False):
            return STOPPING, HTTPStatus.SERVICE_UNAVAILABLE
        return READY, HTTPStatus.OK
