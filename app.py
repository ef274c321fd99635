"""Where the parts meet; `python app.py` starts the production server."""

import argparse
import logging
import logging.config
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Request
from flask_cors import CORS
from werkzeug.exceptions import BadHost
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import MapAdapter

from api import AccessPolicy, JobServiceContext, ServiceContext, create_api
from api.access import UnknownStorage, check_storage
from api.context import EXTENSION
from api.errors import status_of
from api.observability.logs import logging_config
from api.observability.tracing import TRUTH_HEADERS
from config import ROOT, InvalidSetting, Settings
from core.errors import GraphMismatch
from core.images import Limits
from core.media.convert import TAKEN, open_medium
from core.media.medium import ClipLimits
from core.model.card import faithful_path, read_card, read_verified_graph
from core.model.upscaler import Upscaler, load_upscaler
from core.runtime.admission import MEGABYTE, Admission
from core.runtime.machine import held_memory, memory_limit
from core.sandbox.decoder import Decoder, InProcessDecoder, SandboxedDecoder, decoding_bytes
from jobs.embedded.engine import EmbeddedJobs, EmbeddedLimits
from jobs.embedded.files import JobFiles
from jobs.engine import JobEngine
from jobs.execution import JobContext

if TYPE_CHECKING:
    from jobs.cluster.process import ClusterBackend

USABLE_SHARE = 0.8
"""Of the memory limit: the rest is for what allocators keep, and for the system."""

LEAST_BUDGET = 64 * MEGABYTE
"""For a picture of a megapixel, even where the limit is too low to say so."""

ANY_HOST = "localhost"  # routes are the same for all

log = logging.getLogger("enhancer")


class Application(Flask):
    """A Flask application that tells faults of its own from refusals in the log.

    It also survives a header `Host` that names no host: Flask answers 400, but Flask-RESTX,
    to see whose error that is, asks for the routes of that host again.
    """

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        try:
            return super().create_url_adapter(request)
        except BadHost:
            if request is not None:
                request.environ["HTTP_HOST"] = ANY_HOST
            raise

    def start(self) -> None:
        """Begin what goes on without a request."""
        jobs = self.extensions[EXTENSION].jobs
        if jobs is not None:
            jobs.engine.start()

    def stop(self) -> None:
        """Begin nothing more of that; called by the server when it is told to stop."""
        jobs = self.extensions[EXTENSION].jobs
        if jobs is not None:
            jobs.engine.stop()

    def log_exception(self, exc_info: Any) -> None:
        if status_of(exc_info[1]) == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("Request failed", exc_info=exc_info)
        else:
            log.warning("%s", exc_info[1])


def create_app(settings: Settings, upscaler: Upscaler | None = None) -> Application:
    """The service as a WSGI application.

    Args:
        settings: all that can be set.
        upscaler: what upscales; None to load the frozen graph that the settings name.

    Raises:
        GraphMismatch: if the graph is not what its card announces.
    """
    decoder = create_decoder(settings)
    decoder_bytes = decoder.start()
    if upscaler is None:
        upscaler = load(settings)
    app = Application(__name__, static_folder=None)
    admission = create_admission(settings, upscaler, decoder_bytes)
    workshop = create_workshop(settings, upscaler, admission, decoder)
    service = ServiceContext(
        upscaler=upscaler,
        limits=Limits(settings.max_pixels, settings.max_side, settings.max_frames),
        decoder=decoder,
        admission=admission,
        jobs=None if settings.no_jobs else create_jobs(settings, workshop),
        deadline_s=settings.deadline_s,
        max_upload_bytes=settings.max_upload_bytes,
        has_note=settings.synthetic_note,
    )
    access = AccessPolicy(settings.api_keys, settings.rate_limit, settings.rate_limit_storage)
    create_api(
        app,
        service,
        access,
        shared_metrics=settings.workers > 1,
        has_page=not settings.no_page,
    )
    let_pages_call(app, settings)
    if settings.proxies:
        trusted = {"x_for": settings.proxies, "x_proto": settings.proxies}
        app.wsgi_app = ProxyFix(app.wsgi_app, **trusted)  # type: ignore[method-assign]
    return app


def load(settings: Settings) -> Upscaler:
    """The frozen graph that the settings name, ready."""
    upscaler = load_upscaler(
        settings.card,
        window=settings.window,
        large_window=settings.large_window,
        threads=settings.inference_threads,
        precision=settings.precision,
    )
    upscaler.warm_up()
    return upscaler


def create_admission(settings: Settings, upscaler: Upscaler, decoder_bytes: int) -> Admission:
    """Memory for all pictures; `decoder_bytes` of this process's share are the decoders'."""
    return Admission(
        budget=memory_budget(settings, decoder_bytes),
        queue=settings.queue,
        backlog_s=lambda: upscaler.scheduler.backlog_s,
    )


def create_jobs(settings: Settings, workshop: JobContext) -> JobServiceContext:
    """Jobs; nobody works on them before the application is started."""
    return JobServiceContext(
        engine=create_engine(settings, workshop),
        limits=workshop.limits,
        max_upload_bytes=settings.max_job_bytes,
        formats=TAKEN,
        expiry_s=settings.job_expiry_s,
        watchers=settings.job_watchers,
    )


def create_engine(settings: Settings, workshop: JobContext) -> JobEngine:
    """What has jobs computed: threads of this server, or workers elsewhere."""
    if settings.queue_url:
        return create_place(settings).engine(workshop)
    budget_bytes = settings.jobs_disk_mb * MEGABYTE
    return EmbeddedJobs(
        EmbeddedLimits(jobs_folder(settings), budget_bytes, settings.jobs_queue), workshop
    )


def create_place(settings: Settings) -> "ClusterBackend":
    """Where the jobs of several machines are."""
    from jobs.cluster.ledger import LedgerLimits
    from jobs.cluster.process import open_place

    disk_bytes = settings.jobs_disk_mb * MEGABYTE
    bounds = LedgerLimits(settings.jobs_queue, disk_bytes, settings.job_expiry_s)
    return open_place(settings.queue_url, settings.storage_url, bounds)


def create_workshop(
    settings: Settings, upscaler: Upscaler, admission: Admission, decoder: Decoder
) -> JobContext:
    """What frames of jobs are computed with."""
    frame = Limits(settings.max_pixels, settings.max_side, settings.max_clip_frames)
    return JobContext(
        upscaler=upscaler,
        admission=admission,
        open_medium=partial(open_medium, decoder=decoder, scale=upscaler.scale),
        limits=ClipLimits(frame, settings.max_clip_s),
        expiry_s=settings.job_expiry_s,
    )


def work(sign_of_life: Path) -> int:
    """Be a worker of jobs on several machines, until SIGTERM; the exit code.

    Args:
        sign_of_life: a file that is touched as long as all is well.
    """
    from jobs.cluster.process import run_worker
    from jobs.cluster.worker import WorkerTimings

    try:
        settings = Settings.from_env()
        check_graphs(settings.card)
        check_queue(settings)
    except (InvalidSetting, GraphMismatch) as error:
        sys.exit(f"python -m jobs: {error}")
    logging.config.dictConfig(logging_config(settings.log_format, settings.log_level))
    logging.captureWarnings(True)
    decoder = create_decoder(settings)
    decoder_bytes = decoder.start()
    upscaler = load(settings)
    admission = create_admission(settings, upscaler, decoder_bytes)
    workshop = create_workshop(settings, upscaler, admission, decoder)
    times = WorkerTimings(frame_s=settings.deadline_s, stop_s=settings.graceful_timeout_s)
    return run_worker(create_place(settings), workshop, times, sign_of_life)


def jobs_folder(settings: Settings) -> Path:
    """The folder of jobs; services of other users and ports have others."""
    if settings.jobs_folder:
        return Path(settings.jobs_folder)
    return Path(tempfile.gettempdir()) / f"enhancer-jobs-{os.geteuid()}-{settings.port}"


def let_pages_call(app: Flask, settings: Settings) -> None:
    """Put CORS headers on answers to pages of other origins, of any or of those listed."""
    exposed = [*TRUTH_HEADERS, "Retry-After"]
    if settings.cors:
        CORS(app, send_wildcard=True, expose_headers=exposed)
    elif settings.cors_origins:
        CORS(app, origins=list(settings.cors_origins), expose_headers=exposed)


def create_decoder(settings: Settings) -> Decoder:
    """What decodes pictures: processes, or none if the settings say so."""
    if not settings.decoders:
        return InProcessDecoder()
    memory_bytes = settings.decoder_memory_mb * MEGABYTE or decoding_bytes(settings.max_pixels)
    return SandboxedDecoder(
        settings.decoders, memory_bytes=memory_bytes, wall_s=settings.decode_timeout_s
    )


def memory_budget(settings: Settings, decoder_bytes: int) -> int:
    """Bytes for all pictures at once: what is left of this process's share of the limit.

    Pages of files are left out, because the system drops them where pictures need the room.

    Args:
        decoder_bytes: that the decoders of this process have.
    """
    if settings.memory_mb:
        return settings.memory_mb * MEGABYTE
    share = memory_limit() * USABLE_SHARE / settings.workers
    return max(LEAST_BUDGET, int(share) - held_memory() - decoder_bytes)


def from_environment() -> Application:
    """The application of a server process, with settings from the environment."""
    logging.captureWarnings(True)  # else they would stand between the lines of the log
    app = create_app(Settings.from_env())
    app.start()
    return app


def check_graphs(card_path: Path) -> None:
    """Raise GraphMismatch unless a graph, and its faithful one, are those of their cards."""
    card = read_card(card_path)
    read_verified_graph(card_path, card)
    other_path = faithful_path(card_path, card)
    if other_path is not None:
        check_graphs(other_path)


def check_rate_limit(settings: Settings) -> None:
    """Raise InvalidSetting if requests cannot be counted where they should be."""
    try:
        check_storage(settings.rate_limit_storage)
    except UnknownStorage as error:
        raise InvalidSetting(
            "ENHANCER_RATE_LIMIT_STORAGE must be one whose library is installed. "
            f"Received: one of which is said: {error}"
        ) from error


def check_queue(settings: Settings) -> None:
    """Raise InvalidSetting if there is no queue of jobs that a worker could work off."""
    if not settings.queue_url:
        raise InvalidSetting(
            "ENHANCER_QUEUE_URL must be set for a worker, as for the servers whose jobs it is to "
            "compute. Received: ''"
        )
    check_jobs_storage(settings)


def check_jobs(settings: Settings) -> None:
    """Raise InvalidSetting if files of jobs cannot be where they should."""
    if settings.queue_url:
        check_jobs_storage(settings)
    elif not settings.no_jobs:
        check_jobs_folder(settings)


def check_jobs_storage(settings: Settings) -> None:
    """Raise InvalidSetting if the storage is of no kind that can be used; it is not asked."""
    try:
        create_place(settings)
    except (ImportError, ValueError) as error:
        raise InvalidSetting(
            "ENHANCER_STORAGE_URL must be a folder or s3://bucket/folder. "
            f"Received: one of which is said: {error}"
        ) from error


def check_jobs_folder(settings: Settings) -> None:
    """Raise InvalidSetting if files of jobs cannot be in their folder."""
    folder = jobs_folder(settings)
    try:
        JobFiles(folder, settings.jobs_disk_mb * MEGABYTE).make()
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise InvalidSetting(
            "ENHANCER_JOBS_FOLDER must be a folder of this user that can be written to, or "
            f"DISABLE_JOBS must be set. Received: {folder}, of which is said: {error}"
        ) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Check settings and graph; then become the production server, unless only that is asked for.

    Exits with 1 if a setting or a graph is wrong, with 2 if an argument is.
    """
    only_check = read_arguments(arguments).check
    try:
        settings = Settings.from_env()
        check_graphs(settings.card)
        check_rate_limit(settings)
        check_jobs(settings)
    except (InvalidSetting, GraphMismatch) as error:
        sys.exit(f"app.py: {error}")
    if only_check:
        sys.stdout.writelines(f"{line}\n" for line in settings.lines())
    else:
        serve()


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="app.py", description="Serve. All settings are in the environment, see README.md."
    )
    parser.add_argument(
        "--check", action="store_true", help="check settings and graph, print the settings"
    )
    return parser.parse_args(arguments)


def serve() -> None:
    """Become the production server."""
    configuration = str(ROOT / "gunicorn.conf.py")
    command = [sys.executable, "-m", "gunicorn", "--config", configuration]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
