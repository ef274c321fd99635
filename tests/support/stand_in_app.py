"""The service with a slow stand-in network, for tests of the production server."""

import os
import sys
import tempfile
import time
from contextlib import contextmanager

from app import create_app
from benchmarks.server import free_port, running
from config import ROOT, Settings
from core.model.upscaler import Upscaler
from tests.support.stand_ins import make_card, repeat

TILE_S = "STAND_IN_TILE_S"
LOAD_S = "STAND_IN_LOAD_S"
"""Environment variables: seconds per tile and seconds to load the application."""


def load():
    """Return the application, after the time that loading takes."""
    time.sleep(float(os.environ.get(LOAD_S, "0")))
    tile_s = float(os.environ.get(TILE_S, "0.005"))

    def network(lr):
        time.sleep(tile_s)
        return repeat(lr)

    app = create_app(Settings.from_env(), Upscaler(make_card(), network, window=64))
    app.start()
    return app


@contextmanager
def stand_in_service(**environ):
    """Run a production server with these environment variables. Yield its URL and process."""
    port = free_port()
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
