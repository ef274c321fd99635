"""A production server of this checkout, for as long as a block runs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from config import ROOT

PATIENCE_S = 60  # with the start of the server, and with its end


@contextmanager
def running_server() -> Iterator[tuple[str, subprocess.Popen]]:
    """Start `python app.py` on a free port; its URL and process.

    The server is told to stop at the end and must then exit with 0.
    """
    port = free_port()
    environ = os.environ | {"ENHANCER_PORT": str(port), "ENHANCER_HOST": "127.0.0.1"}
    command = [sys.executable, ROOT / "app.py"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url)
            yield url, server
            server.terminate()
            if server.wait(PATIENCE_S) != 0:
                raise ChildProcessError(
                    f"The server must exit with 0. Received: {server.returncode}"
                )
        finally:
            server.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url: str) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            requests.get(f"{url}/model/metadata", timeout=PATIENCE_S)
            return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise TimeoutError(f"The server must answer within {PATIENCE_S} s.")
