"""What the routes share: the namespace they are in, and the service they speak for."""

from dataclasses import dataclass
from typing import cast

from flask import current_app
from flask_restx import Namespace, fields

from core.images import Limits
from core.media.medium import ClipLimits
from core.model.upscaler import Upscaler
from core.runtime.admission import Admission
from core.sandbox.decoder import Decoder
from jobs.engine import JobEngine

EXTENSION = "enhancer"

model = Namespace("model", description="The super-resolution model")

error_schema = model.model(
    "Error",
    {
        "message": fields.String(
            required=True,
            description="What was expected, and what was received",
            example="Image must have at most 4000000 pixels. "
            "Received: 4000 x 3000 = 12000000 pixels.",
        )
    },
)


@dataclass(frozen=True)
class JobServiceContext:
    """Jobs, and what is accepted for them."""

    engine: JobEngine
    limits: ClipLimits
    max_upload_bytes: int
    """Of a whole request, the multipart framing included."""
    formats: tuple[str, ...]
    """Of files that are taken, as people write them."""
    expiry_s: int
    """After which a job that has ended is deleted."""
    watchers: int
    """That may be sent events at once, by this process."""


@dataclass(frozen=True)
class ServiceContext:
    """The upscaler behind the routes, and what they accept for it."""

    upscaler: Upscaler
    limits: Limits
    decoder: Decoder
    admission: Admission
    deadline_s: int
    """From the arrival of a picture to its last row."""
    max_upload_bytes: int
    """Of a whole request, the multipart framing included."""
    has_note: bool
    """Whether files say that their detail is synthetic."""
    jobs: JobServiceContext | None = None
    """None where there are no jobs."""


@dataclass(frozen=True)
class AccessPolicy:
    """Who may use the service, and how often."""

    keys: tuple[str, ...] = ()
    """Of which a request must carry one; without any, it need not."""
    rate_limit: str = ""
    """Requests of one caller, such as `60/minute`; empty for no limit."""
    rate_limit_storage: str = "memory://"
    """Where they are counted."""


def current_service() -> ServiceContext:
    return cast(ServiceContext, current_app.extensions[EXTENSION])


def current_jobs() -> JobServiceContext:
    """Those of the service, which has them where there are routes to them."""
    return cast(JobServiceContext, current_service().jobs)
