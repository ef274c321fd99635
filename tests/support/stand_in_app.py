"""The service with a slow stand-in network, for tests of the production server and of workers.

`python -m tests.support.stand_in_app SIGN` is a worker of a cluster: `python -m jobs worker --sign
SIGN` with that network.
"""

import logging.config
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from api.observability.logs import logging_config
from app import create_app
from benchmarks.server import free_port, running
from config import ROOT, Settings
from core.model.upscaler import Upscaler
from service.build import create_cluster_backend, create_worker_context
from tests.support.stand_ins import make_card, repeat

TILE_S = "STAND_IN_TILE_S"
LOAD_S = "STAND_IN_LOAD_S"
"""Environment variables: seconds per tile and seconds to load the application."""

LEASE_S = "STAND_IN_LEASE_S"
"""Environment variable: seconds of a lease of a worker, if not those of the service."""


def create_upscaler():
    """Return an upscaler, after the time that loading takes."""
    time.sleep(float(os.environ.get(LOAD_S, "0")))
    tile_s = float(os.environ.get(TILE_S, "0.005"))

    def network(lr):
        time.sleep(tile_s)
        return repeat(lr)

    return Upscaler(make_card(), network, window=64)


def load():
    """Return the application."""
    app = create_app(Settings.from_env(), create_upscaler())
    app.start()
    return app


def work(alive_file):
    """Run a worker until SIGTERM, and return its exit code."""
    from jobs.cluster.worker import WorkerTimings
    from jobs.cluster.worker_process import run_worker

    settings = Settings.from_env()
    logging.config.dictConfig(logging_config(settings.log_format, settings.log_level))
    context = create_worker_context(settings, create_upscaler())
    timings = WorkerTimings(frame_s=settings.deadline_s, stop_s=settings.graceful_timeout_s)
    backend = create_cluster_backend(settings)
    backend.ledger.lease_s = float(os.environ.get(LEASE_S, backend.ledger.lease_s))
    return run_worker(backend, context, timings, alive_file, settings.worker_metrics_port)


@contextmanager
def stand_in_service(port=None, **environ):
    """Run a production server with these environment variables. Yield its URL and process.

    Args:
        port: of the server; None for any.
        environ: environment variables beside those of this process.
    """
    port = port or free_port()
    configuration = str(ROOT / "gunicorn.conf.py")
    application = "tests.support.stand_in_app:load()"
    command = [sys.executable, "-m", "gunicorn", "--config", configuration, application]
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "ENHANCER_PORT": str(port),
            "ENHANCER_HOST": "127.0.0.1",
            "ENHANCER_JOBS_FOLDER": folder,
        } | environ
        with running(command, port, environ) as server:
            yield server


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1])))
