"""The service behind a real server, with a network that can be paused and chosen responses."""

import threading
from contextlib import contextmanager
from wsgiref.headers import Headers

from werkzeug.serving import WSGIRequestHandler, make_server

from api.context import EXTENSION
from app import create_app
from config import Settings
from core.model.registry import ModelRegistry, ServedModel
from core.model.upscaler import Upscaler
from tests.support.stand_ins import between, blur_then_repeat, make_card

PREDICT = "/model/predict"
JOBS = "/model/jobs"

LIMITS = {
    "max_pixels": 30_000,
    "max_output_pixels": 480_000,
    "max_side": 300,
    "max_upload_bytes": 120_000,
    "max_job_bytes": 150_000,
    "max_clip_s": 5,
    "memory_mb": 64,
    "deadline_s": 30,
}
"""Settings of the service, unless a test states others."""


class StandInService:
    """WSGI application that a test controls.

    Attributes:
        url: URL of the root.
        gate: event for which the network waits; set, the network runs.
        instead: WSGI applications that answer the next requests for pictures or jobs.
        key: key that requests for the model must carry; None for no key.
        received: number of requests for pictures or jobs so far.
        upscaler: of the default model.
    """

    def __init__(self, folder, *, restorer=None, **settings):
        self.gate = threading.Event()
        self.url = ""
        self.reset()
        card = make_card(faithful="plain")
        network = self.gated(blur_then_repeat)
        interpolated = self.gated(between)
        settings = Settings(**{**LIMITS, **settings}, jobs_folder=str(folder))
        self.upscaler = Upscaler(
            card, network, window=64, interpolated=interpolated, restorer=restorer
        )
        self.app = create_app(settings, self.upscaler)

    def reset(self):
        """Return to the initial state."""
        self.gate.set()
        self.instead = []
        self.key = None
        self.received = 0

    @contextmanager
    def offering(self, others, refused=None):
        """Offer other models beside the default one for as long as the block lasts."""
        service = self.app.extensions[EXTENSION]
        holders = [service, service.jobs.engine._context]
        before = service.models
        try:
            for holder in holders:
                models = ModelRegistry(ServedModel(self.upscaler), others, refused)
                object.__setattr__(holder, "models", models)
            yield
        finally:
            for holder in holders:
                object.__setattr__(holder, "models", before)

    def forget(self, job_ids):
        """Cancel jobs, so that no other test finds them."""
        jobs = self.app.extensions[EXTENSION].jobs
        for job_id in job_ids:
            jobs.engine.cancel(job_id)

    def __call__(self, environ, start_response):
        is_open = not self.key or not environ["PATH_INFO"].startswith("/model/")
        if not is_open and environ.get("HTTP_X_API_KEY") != self.key:
            return refuse(401, "Request must carry a key.")(environ, start_response)
        if environ["PATH_INFO"] in (PREDICT, JOBS):
            self.received += 1
            if self.instead:
                return self.instead.pop(0)(environ, start_response)
        return self.app(environ, start_response)

    def gated(self, network):
        """Return a network that waits for the gate."""

        def wait_then_run(*args):
            self.gate.wait(30)
            return network(*args)

        return wait_then_run


def refuse(status, message, **headers):
    """Return a WSGI application that answers with an error in the form of the service."""

    def application(environ, start_response):
        read_body(environ)
        fields = Headers([("Content-Type", "application/json")])
        for name, value in headers.items():
            fields[name.replace("_", "-")] = value
        start_response(f"{status} REFUSED", fields.items())
        return [f'{{"message": "{message}"}}'.encode()]

    return application


def answer_with(body):
    """Return a WSGI application that answers with a PNG without headers about it."""

    def application(environ, start_response):
        read_body(environ)
        start_response(
            "200 OK", [("Content-Type", "image/png"), ("Content-Length", str(len(body)))]
        )
        return [body]

    return application


def break_off(environ, start_response):
    """Answer with fewer bytes than announced, as a WSGI application."""
    read_body(environ)
    start_response("200 OK", [("Content-Type", "image/png"), ("Content-Length", "1000")])
    return [b"\x89PNG"]


def read_body(environ):
    """Read the request: a client may miss a response that comes before its request ends."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


class Handler(WSGIRequestHandler):
    """Keeps connections open, as production servers do, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *_args):
        pass


@contextmanager
def running(service):
    """Run a server with the service for as long as the block lasts."""
    server = make_server("127.0.0.1", 0, service, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.url = f"http://127.0.0.1:{server.port}"
    try:
        yield service
    finally:
        service.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
        jobs = service.app.extensions[EXTENSION].jobs
        if jobs is not None:
            jobs.engine.close()
