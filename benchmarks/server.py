"""Run a server while a block of code runs: this service, or another command."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import requests

from config import ROOT

TIMEOUT_S = 180  # for the start of the server, and for its end

Running = tuple[str, subprocess.Popen]
"""URL and process of a server."""


@contextmanager
def running_server(launcher: Sequence[str] = ()) -> Iterator[Running]:
    """Start `python app.py` on a free port, and stop it at the end.

    Args:
        launcher: command and arguments that start the command after them, such as `nice`.

    Yields:
        URL and process of the server.

    Raises:
        ChildProcessError: if the server ends early, or with a status other than 0.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "ENHANCER_PORT": str(port),
            "ENHANCER_HOST": "127.0.0.1",
            "ENHANCER_JOBS_FOLDER": folder,
        }
        command = [*launcher, sys.executable, str(ROOT / "app.py")]
        with running(command, port, environ) as server:
            yield server


@contextmanager
def running(
    command: Sequence[str], port: int, environ: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start a command that serves on a port of this machine, and stop it at the end.

    Yields:
        URL and process of the server.

    Raises:
        ChildProcessError: if it ends early, or with a status other than 0.
        TimeoutError: if it does not answer.
    """
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | dict(environ or {}), stderr=subprocess.DEVNULL
    ) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for_answer(url, server)
            yield url, server
            server.terminate()
            if server.wait(TIMEOUT_S) != 0:
                raise ChildProcessError(
                    f"The server must exit with 0. Received: {server.returncode}"
                )
        finally:
            server.kill()


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_answer(url: str, server: subprocess.Popen) -> None:
    """Wait until the server answers, with any status."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            requests.get(f"{url}/model/metadata", timeout=TIMEOUT_S)
            return
        except requests.ConnectionError:
            time.sleep(0.1)
        if server.poll() is not None:
            raise ChildProcessError(f"The server ended at its start, with {server.returncode}.")
    raise TimeoutError(f"The server must answer within {TIMEOUT_S} s.")
