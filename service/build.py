"""Build the parts of the service from the settings.

The cluster modules are imported only if a queue is set: a server without one needs none of
their libraries.
"""

import logging
import os
import tempfile
import threading
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Request
from flask_cors import CORS
from werkzeug.exceptions import BadHost
from werkzeug.routing import MapAdapter

from api import AccessPolicy, JobServiceContext, ServiceContext, create_api
from api.context import EXTENSION
from api.errors import status_of
from api.observability.tracing import EXPOSED_HEADERS
from config import OWN_MODELS, Settings
from core.files import MEGABYTE
from core.images import Limits
from core.media.convert import FILE_FORMATS, open_medium
from core.media.medium import ClipLimits
from core.model.catalog import Serving, read_catalog
from core.model.registry import ModelRegistry
from core.model.upscaler import Upscaler, load_upscaler
from core.options import RESTORE
from core.runtime.admission import Admission
from core.runtime.machine import give_back_heap, held_memory, memory_limit
from core.sandbox.decoder import Decoder, InProcessDecoder, SandboxedDecoder, decoding_bytes
from jobs.embedded.engine import EmbeddedJobs, EmbeddedLimits
from jobs.engine import JobEngine
from jobs.execution import JobContext
from service.proxies import ForwardedAddress, PathPrefix

if TYPE_CHECKING:
    from jobs.cluster.engine import ClusterBackend

USABLE_SHARE = 0.8
"""Share of the memory limit that pictures may use; allocators and the system need the rest."""

LEAST_BUDGET = 64 * MEGABYTE
"""Memory budget that is granted whatever the limit: enough for a picture of one megapixel."""

ANY_HOST = "localhost"  # all hosts have the same routes

log = logging.getLogger("enhancer")


class Application(Flask):
    """Flask application that starts and stops the job engine.

    It logs faults of the service as errors and refused requests as warnings. It also survives a
    `Host` header that names no host: Flask answers 400, but Flask-RESTX then asks for the routes
    of that host again.
    """

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return the routes of a request; replace an invalid host before the error is raised."""
        try:
            return super().create_url_adapter(request)
        except BadHost:
            if request is not None:
                request.environ["HTTP_HOST"] = ANY_HOST
            raise

    def start(self) -> None:
        """Start the job engine, if there is one."""
        jobs = self.extensions[EXTENSION].jobs
        if jobs is not None:
            jobs.engine.start()

    def stop(self) -> None:
        """Stop the job engine. The server calls this when it receives a stop signal."""
        jobs = self.extensions[EXTENSION].jobs
        if jobs is not None:
            jobs.engine.stop()

    def log_exception(self, exc_info: Any) -> None:
        """Log a fault with its traceback, a refused request as one line."""
        if status_of(exc_info[1]) == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("Request failed", exc_info=exc_info)
        else:
            log.warning("%s", exc_info[1])


def create_app(settings: Settings, upscaler: Upscaler | None = None) -> Application:
    """Build the WSGI application.

    Args:
        settings: of the service.
        upscaler: upscales the pictures; None to load the graph that the settings name.

    Raises:
        GraphMismatch: if the graph does not match its card.
    """
    decoder = create_decoder(settings)
    decoder_bytes = decoder.start()
    if upscaler is None:
        upscaler = create_upscaler(settings)
    upscaler.scheduler.background.share = settings.jobs_share
    models = create_registry(settings, upscaler)
    admission = create_admission(settings, upscaler, decoder_bytes)
    context = create_job_context(settings, models, admission, decoder)
    service = ServiceContext(
        models=models,
        limits=picture_limits(settings, settings.max_frames),
        decoder=decoder,
        admission=admission,
        jobs=None if settings.no_jobs else create_job_service(settings, context),
        deadline_s=settings.deadline_s,
        max_upload_bytes=settings.max_upload_bytes,
        has_note=settings.synthetic_note,
        restore=RESTORE.parse(settings.restore),
    )
    app = Application(__name__, static_folder=None)
    create_api(
        app,
        service,
        AccessPolicy(settings.api_keys, settings.rate_limit, settings.rate_limit_storage),
        shared_metrics=settings.workers > 1,
        has_page=not settings.no_page,
    )
    allow_origins(app, settings)
    serve_behind_proxies(app, settings)
    return app


def create_upscaler(settings: Settings) -> Upscaler:
    """Load the frozen graph that the settings name, and run it once."""
    upscaler = load_upscaler(settings.card, **settings.network_options)
    upscaler.warm_up()
    give_back_heap()
    return upscaler


def create_registry(settings: Settings, default: Upscaler) -> ModelRegistry:
    """Return all models: the default one, those of the service, and those of the operator.

    Their graphs are verified in the background. Until then, a damaged one is found when a request
    asks for it.

    Raises:
        GraphMismatch: if the folder of the operator cannot be read.
    """
    serving = Serving(**settings.network_options)
    catalog = read_catalog(default, serving, OWN_MODELS, settings.models_folder)
    if settings.models_folder is not None:
        threading.Thread(target=catalog.verify, name="models", daemon=True).start()
    return catalog.registry()


def create_decoder(settings: Settings) -> Decoder:
    """Return a decoder in processes of its own, or in this one if the settings ask for none."""
    if not settings.decoders:
        return InProcessDecoder()
    memory_bytes = settings.decoder_memory_mb * MEGABYTE or decoding_bytes(settings.max_pixels)
    return SandboxedDecoder(
        settings.decoders, memory_bytes=memory_bytes, wall_s=settings.decode_timeout_s
    )


def picture_limits(settings: Settings, max_frames: int) -> Limits:
    """Return the limits on a picture, and on what becomes of it."""
    return Limits(settings.max_pixels, settings.max_side, max_frames, settings.output_pixels)


def create_admission(settings: Settings, upscaler: Upscaler, decoder_bytes: int) -> Admission:
    """Return the memory budget and queue of all pictures.

    Args:
        settings: of the service.
        upscaler: its backlog tells how long a refused client should wait.
        decoder_bytes: memory that the decoders of this process use.
    """
    return Admission(
        budget=memory_budget(settings, decoder_bytes),
        queue=settings.queue,
        backlog_s=lambda: upscaler.scheduler.backlog_s,
    )


def memory_budget(settings: Settings, decoder_bytes: int) -> int:
    """Return the bytes for all pictures at once: the rest of this process's share of the limit.

    File pages do not count, because the system drops them when memory is short.
    """
    if settings.memory_mb:
        return settings.memory_mb * MEGABYTE
    share = memory_limit() * USABLE_SHARE / settings.workers
    return max(LEAST_BUDGET, int(share) - held_memory() - decoder_bytes)


def create_job_context(
    settings: Settings, models: ModelRegistry, admission: Admission, decoder: Decoder
) -> JobContext:
    """Return what jobs need to open files and compute frames."""
    picture = picture_limits(settings, settings.max_clip_frames)
    frame = replace(picture, max_pixels=settings.frame_pixels)
    return JobContext(
        models=models,
        admission=admission,
        open_medium=partial(open_medium, decoder=decoder),
        limits=ClipLimits(frame, settings.max_clip_s, picture),
        expiry_s=settings.job_expiry_s,
    )


def create_worker_context(settings: Settings, upscaler: Upscaler | None = None) -> JobContext:
    """Load all that a worker of a cluster needs to compute frames.

    Args:
        settings: of the worker.
        upscaler: upscales the frames; None to load the graph that the settings name.
    """
    decoder = create_decoder(settings)
    decoder_bytes = decoder.start()
    if upscaler is None:
        upscaler = create_upscaler(settings)
    models = create_registry(settings, upscaler)
    admission = create_admission(settings, upscaler, decoder_bytes)
    return create_job_context(settings, models, admission, decoder)


def create_job_service(settings: Settings, context: JobContext) -> JobServiceContext:
    """Return what the routes of jobs need. No job runs before the application is started."""
    return JobServiceContext(
        engine=create_job_engine(settings, context),
        limits=context.limits,
        max_upload_bytes=settings.max_job_bytes,
        formats=FILE_FORMATS,
        expiry_s=settings.job_expiry_s,
        watchers=settings.job_watchers,
    )


def create_job_engine(settings: Settings, context: JobContext) -> JobEngine:
    """Return the engine that runs jobs: a cluster if a queue is set, else this server."""
    if settings.queue_url:
        return create_cluster_backend(settings).engine(context)
    budget_bytes = settings.jobs_disk_mb * MEGABYTE
    limits = EmbeddedLimits(jobs_folder(settings), budget_bytes, settings.jobs_queue)
    return EmbeddedJobs(limits, context)


def create_cluster_backend(settings: Settings) -> "ClusterBackend":
    """Return ledger, storage and broker of a cluster.

    Raises:
        ImportError, ValueError: if the storage is of a kind that cannot be used.
    """
    from jobs.cluster.engine import open_backend
    from jobs.cluster.ledger import LedgerLimits

    disk_bytes = settings.jobs_disk_mb * MEGABYTE
    limits = LedgerLimits(settings.jobs_queue, disk_bytes, settings.job_expiry_s)
    return open_backend(settings.queue_url, settings.storage_url, limits)


def jobs_folder(settings: Settings) -> Path:
    """Return the folder of jobs; by default each user and port has its own."""
    if settings.jobs_folder:
        return Path(settings.jobs_folder)
    return Path(tempfile.gettempdir()) / f"enhancer-jobs-{os.geteuid()}-{settings.port}"


def allow_origins(app: Flask, settings: Settings) -> None:
    """Add CORS headers for any origin, for the listed ones, or for none."""
    exposed = [*EXPOSED_HEADERS, "Retry-After"]
    if settings.cors:
        CORS(app, send_wildcard=True, expose_headers=exposed)
    elif settings.cors_origins:
        CORS(app, origins=list(settings.cors_origins), expose_headers=exposed)


def serve_behind_proxies(app: Flask, settings: Settings) -> None:
    """Publish the application where clients see it: below a prefix, behind trusted proxies."""
    if settings.proxies:
        app.wsgi_app = ForwardedAddress(  # type: ignore[method-assign]
            app.wsgi_app, settings.proxies
        )
    prefix = settings.path_prefix.removesuffix("/")
    if prefix:
        app.wsgi_app = PathPrefix(app.wsgi_app, prefix)  # type: ignore[method-assign]
