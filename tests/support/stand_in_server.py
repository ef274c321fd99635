"""An HTTP server in a thread that answers with given statuses, in a cycle."""

import itertools
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIMING = "decode;dur=1.5, inference;dur=2.5, encode;dur=3.5"


@contextmanager
def stand_in_server(*statuses, retry_after="0"):
    """Run the server; yield its URL."""
    turns = itertools.cycle(statuses or (200,))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(next(turns))
            self.send_header("Server-Timing", TIMING)
            self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
