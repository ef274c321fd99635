"""HAProxy in front of replicas, checked by their readiness, as an ingress would be."""

import subprocess
import time
from contextlib import contextmanager
from csv import DictReader

import requests

from benchmarks.server import free_port

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
frontend figures
  bind 127.0.0.1:{figures_port}
  stats enable
  stats uri /
backend replicas
  balance leastconn
  option httpchk GET /health/ready
  default-server check inter {every_ms}ms fall 1 rise 1
{servers}
"""


class Proxy:
    """A running proxy.

    Attributes:
        url: what clients post to.
    """

    def __init__(self, port, figures_port):
        self.url = f"http://127.0.0.1:{port}"
        self._figures_url = f"http://127.0.0.1:{figures_port}/;csv"

    def state_of(self, server):
        """UP or DOWN, with what HAProxy says beside."""
        lines = requests.get(self._figures_url, timeout=5).text.removeprefix("# ").splitlines()
        row = next(row for row in DictReader(lines) if row["svname"] == server)
        return row["status"]

    def wait_for(self, server, state, patience_s=180):
        deadline = time.monotonic() + patience_s
        while not self.state_of(server).startswith(state):
            assert time.monotonic() < deadline, f"{server} did not come {state}"
            time.sleep(0.1)


@contextmanager
def running_proxy(ports, folder):
    """A proxy in front of ports of this machine, whose servers are called by their ports."""
    port, figures_port = free_port(), free_port()
    servers = "\n".join(f"  server {each} 127.0.0.1:{each}" for each in ports)
    settings = folder / "haproxy.cfg"
    settings.write_text(
        CONFIGURATION.format(
            port=port, figures_port=figures_port, every_ms=CHECK_EVERY_MS, servers=servers
        )
    )
    with subprocess.Popen(["haproxy", "-db", "-q", "-f", str(settings)]) as process:
        try:
            proxy = Proxy(port, figures_port)
            time.sleep(1)
            assert process.poll() is None
            for server in ports:
                proxy.wait_for(str(server), "UP")
            yield proxy
        finally:
            process.kill()
