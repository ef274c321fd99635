"""The original's HTTP service in little code.

Run `python -m benchmarks.original_service PORT`. Pillow decodes, the network upscales the whole
picture at once, and Pillow encodes at its default level. The original also encoded twice inside
the graph and decoded again; that is left out.
"""

import io
import logging
import signal
import sys
import time
from http import HTTPStatus

import numpy as np
from flask import Flask, Response, request
from PIL import Image
from werkzeug.serving import make_server

from benchmarks.isolated import free_memory_bytes, limit_memory
from benchmarks.original_network import load_original
from config import Settings
from core.model.graph import tf
from core.model.tiles import Network


def create_app(network: Network) -> Flask:
    """Return the service with a network."""
    app = Flask(__name__, static_folder=None)

    @app.post("/model/predict")
    def predict() -> Response:
        lr = np.asarray(Image.open(request.files["image"].stream).convert("RGB"))
        started = time.perf_counter()
        sr = network(lr)
        inference_ms = 1000 * (time.perf_counter() - started)
        file = io.BytesIO()
        Image.fromarray(sr).save(file, "PNG")
        timing = {"Server-Timing": f"inference;dur={inference_ms:.3f}"}
        return Response(file.getvalue(), mimetype="image/png", headers=timing)

    @app.errorhandler(MemoryError)
    @app.errorhandler(tf.errors.ResourceExhaustedError)
    def refuse(_error: Exception) -> Response:
        return Response(status=HTTPStatus.INSUFFICIENT_STORAGE)

    return app


def main() -> None:
    """Serve on the port given as argument, within the free memory."""
    limit_memory(free_memory_bytes())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    network = load_original("by channel", Settings.from_env().inference_threads)
    make_server("127.0.0.1", int(sys.argv[1]), create_app(network)).serve_forever()


if __name__ == "__main__":
    main()
