"""What all routes share: the namespace of the model and the context of the service."""

from dataclasses import dataclass
from typing import cast

from flask import current_app
from flask_restx import Namespace, fields

from core.images import Limits
from core.media.medium import ClipLimits
from core.model.registry import ModelRegistry
from core.model.upscaler import Upscaler
from core.options import AUTO, Restore
from core.runtime.admission import Admission
from core.sandbox.decoder import Decoder
from jobs.engine import JobEngine

EXTENSION = "enhancer"
"""Name of the service context among the extensions of the application."""

JOBS_PATH = "/model/jobs"
"""Path of the routes of jobs, where jobs are enabled."""

model = Namespace("model", description="The super-resolution model")

error_schema = model.model(
    "Error",
    {
        "message": fields.String(
            required=True,
            description="What was expected, and what was received",
            example="Image must have at most 48000000 pixels. "
            "Received: 4000 x 3000 = 12000000 pixels.",
        )
    },
)


@dataclass(frozen=True)
class JobServiceContext:
    """The job engine behind the routes, and the limits of the routes.

    Attributes:
        engine: runs the jobs.
        limits: on pictures, clips and archives.
        max_upload_bytes: largest size of a request, including the multipart framing.
        formats: accepted input formats, as people write them.
        expiry_s: seconds after which a finished job is deleted.
        watchers: largest number of event streams that this process sends at once.
    """

    engine: JobEngine
    limits: ClipLimits
    max_upload_bytes: int
    formats: tuple[str, ...]
    expiry_s: int
    watchers: int


@dataclass(frozen=True)
class ServiceContext:
    """The models behind the routes, and the limits of the routes.

    Attributes:
        models: run the networks.
        limits: on pictures.
        decoder: decodes pictures.
        admission: admits pictures as far as there is memory.
        deadline_s: seconds from the arrival of a picture to the last row of its result.
        max_upload_bytes: largest size of a request, including the multipart framing.
        has_note: whether results carry a note that their detail is synthetic.
        restore: strength of restoring for requests that do not state it.
        jobs: job engine and limits; None where jobs are turned off.
    """

    models: ModelRegistry
    limits: Limits
    decoder: Decoder
    admission: Admission
    deadline_s: int
    max_upload_bytes: int
    has_note: bool
    restore: Restore = AUTO
    jobs: JobServiceContext | None = None

    @property
    def upscaler(self) -> Upscaler:
        """Upscaler of the default model."""
        return self.models.default.upscaler

    def default_restore(self, name: str | None) -> Restore:
        """Return `restore` of requests that do not state it.

        Args:
            name: of the requested model; None for the default one.

        Raises:
            InvalidModel: if there is no such model.
        """
        return self.models.find(name).default_restore(self.restore)


@dataclass(frozen=True)
class AccessPolicy:
    """Who may use the service, and how often.

    Attributes:
        keys: API keys, one of which a request must carry; empty to need none.
        rate_limit: number of requests per caller and period, such as `60/minute`; empty for no
            limit.
        rate_limit_storage: address of the storage in which requests are counted.
    """

    keys: tuple[str, ...] = ()
    rate_limit: str = ""
    rate_limit_storage: str = "memory://"


def current_service() -> ServiceContext:
    """Return the service context of the current application."""
    return cast(ServiceContext, current_app.extensions[EXTENSION])


def current_jobs() -> JobServiceContext:
    """Return the job context of the current application, for routes that exist only with jobs."""
    return cast(JobServiceContext, current_service().jobs)
