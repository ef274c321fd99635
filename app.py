"""Where the parts meet; `python app.py` starts the production server."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from flask import Flask, g
from flask_cors import CORS

from api import Service, create_api
from api.tracing import TRUTH_HEADERS
from config import ROOT, InvalidSetting, Settings
from core.admission import MEGABYTE, Admission
from core.card import faithful_path, read_card, read_verified_graph
from core.errors import GraphMismatch
from core.images import Limits
from core.machine import memory_limit, resident_memory
from core.upscaler import Upscaler, load_upscaler

USABLE_SHARE = 0.8
"""Of the memory limit: the rest is for what allocators keep, and for the system."""

LEAST_BUDGET = 64 * MEGABYTE
"""For a picture of a megapixel, even where the limit is too low to say so."""

log = logging.getLogger("enhancer")


class Application(Flask):
    """A Flask application that logs a failure under the id of its request."""

    def log_exception(self, exc_info: Any) -> None:
        log.error("request_id=%s failed", g.request_id, exc_info=exc_info)


def create_app(settings: Settings, upscaler: Upscaler | None = None) -> Flask:
    """The service as a WSGI application.

    Args:
        settings: all that can be set.
        upscaler: what upscales; None to load the frozen graph that the settings name.

    Raises:
        GraphMismatch: if the graph is not what its card announces.
    """
    if upscaler is None:
        upscaler = load_upscaler(
            settings.card,
            window=settings.window,
            threads=settings.inference_threads,
            precision=settings.precision,
        )
        upscaler.warm_up()
    app = Application(__name__, static_folder=None)
    service = Service(
        upscaler=upscaler,
        limits=Limits(settings.max_pixels, settings.max_side),
        admission=Admission(
            budget=memory_budget(settings),
            queue=settings.queue,
            backlog_s=lambda: upscaler.lane.backlog_s,
        ),
        deadline_s=settings.deadline_s,
        max_upload_bytes=settings.max_upload_bytes,
        has_note=settings.synthetic_note,
    )
    create_api(app, service, has_page=not settings.no_page)
    if settings.cors:
        CORS(app, send_wildcard=True, expose_headers=TRUTH_HEADERS)
    return app


def memory_budget(settings: Settings) -> int:
    """Bytes for all pictures at once: what is left of this process's share of the limit."""
    if settings.memory_mb:
        return settings.memory_mb * MEGABYTE
    share = memory_limit() * USABLE_SHARE / settings.workers
    return max(LEAST_BUDGET, int(share) - resident_memory())


def from_environment() -> Flask:
    """The application of a server process, with settings from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return create_app(Settings.from_env())


def check_graphs(card_path: Path) -> None:
    """Raise GraphMismatch unless a graph, and its faithful one, are those of their cards."""
    card = read_card(card_path)
    read_verified_graph(card_path, card)
    other_path = faithful_path(card_path, card)
    if other_path is not None:
        check_graphs(other_path)


def serve() -> None:
    """Become the production server, unless its settings or its graph are wrong."""
    try:
        settings = Settings.from_env()
        check_graphs(settings.card)
    except (InvalidSetting, GraphMismatch) as error:
        sys.exit(f"app.py: {error}")
    configuration = str(ROOT / "gunicorn.conf.py")
    command = [sys.executable, "-m", "gunicorn", "--config", configuration]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    serve()
