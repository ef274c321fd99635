"""HAProxy in front of replicas, checked by their readiness, as an ingress would be."""

import subprocess
import time
from contextlib import contextmanager
from csv import DictReader

import requests

from benchmarks.server import free_port
from config import ROOT
from tests.support.waiting import wait_until

DOCUMENTED = ROOT / "deploy" / "proxies" / "haproxy.cfg"
PREFIX = "/enhancer"
"""The documented configuration, and the prefix under which it publishes the service."""

SERVED_BY = "X-Served-By"
"""Header of answers that names the server, behind the documented configuration."""

CHECK_EVERY_MS = 500
"""A refusal counts at once; an answer may take longer, where all share too few cores."""

CONFIGURATION = """
global
  maxconn 512
defaults
  mode http
  timeout connect 2s
  timeout client 300s
  timeout server 300s
  timeout queue 300s
  timeout check 8s
  # What is lost is to be seen, not repaired.
  retries 0
frontend pictures
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  balance leastconn
  option httpchk GET /health/ready
  default-server check inter {every_ms}ms fall 1 rise 1
{servers}
"""

FIGURES = """
frontend figures
  bind 127.0.0.1:{port}
  stats enable
  stats uri /
"""


class Proxy:
    """A running proxy.

    Attributes:
        url: what clients post to.
    """

    def __init__(self, url, figures_port):
        self.url = url
        self._figures_url = f"http://127.0.0.1:{figures_port}/;csv"

    def answers(self):
        """Whether HAProxy accepts connections yet."""
        try:
            return requests.get(self._figures_url, timeout=5).ok
        except requests.ConnectionError:
            return False

    def figures_of(self, server):
        """What HAProxy knows of a server, by the names of its columns."""
        lines = requests.get(self._figures_url, timeout=5).text.removeprefix("# ").splitlines()
        return next(row for row in DictReader(lines) if row["svname"] == str(server))

    def wait_for(self, server, state, patience_s=180):
        """Wait until a server is UP or DOWN."""
        deadline = time.monotonic() + patience_s
        while not self.figures_of(server)["status"].startswith(state):
            assert time.monotonic() < deadline, f"{server} did not come {state}"
            time.sleep(0.1)


@contextmanager
def running_proxy(ports, folder):
    """A proxy in front of ports of this machine, whose servers are called by their ports."""
    port = free_port()
    servers = server_lines(ports, "  server {0} 127.0.0.1:{0}")
    text = CONFIGURATION.format(port=port, every_ms=CHECK_EVERY_MS, servers=servers)
    with _running(f"http://127.0.0.1:{port}", text, ports, folder) as proxy:
        yield proxy


@contextmanager
def documented_proxy(ports, folder, changes):
    """A proxy as it is documented, in front of servers that are called by their ports.

    Args:
        ports: of the servers, on this machine.
        folder: for the configuration.
        changes: words of the configuration, and what stands there instead.
    """
    port = free_port()
    changed = {
        "bind :8080": f"bind 127.0.0.1:{port}",
        "    server enhancer1 127.0.0.1:5000": server_lines(ports, "    server {0} 127.0.0.1:{0}")
        + f"\n    http-response set-header {SERVED_BY} %s",
    }
    text = DOCUMENTED.read_text()
    for words, others in (changed | changes).items():
        assert text.count(words) == 1, words
        text = text.replace(words, others)
    with _running(f"http://127.0.0.1:{port}{PREFIX}", text, ports, folder) as proxy:
        yield proxy


def server_lines(ports, pattern):
    return "\n".join(pattern.format(port) for port in ports)


@contextmanager
def _running(url, text, ports, folder):
    """Run HAProxy until the block ends, which begins when all servers are there."""
    figures_port = free_port()
    settings = folder / "haproxy.cfg"
    settings.write_text(text + FIGURES.format(port=figures_port))
    with subprocess.Popen(["haproxy", "-db", "-q", "-f", str(settings)]) as process:
        try:
            proxy = Proxy(url, figures_port)
            wait_until(lambda: process.poll() is not None or proxy.answers())
            assert process.poll() is None
            for server in ports:
                proxy.wait_for(server, "UP")
            yield proxy
        finally:
            process.kill()
