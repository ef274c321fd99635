"""The production overlay in processes: servers behind HAProxy, Redis, workers, a shared folder."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import redis

from benchmarks.server import free_port, running
from config import ROOT
from jobs.cluster.ledger import PREFIX
from tests.support.proxy import documented_proxy
from tests.support.redis_server import RedisServer
from tests.support.short_folder import short_folder
from tests.support.stand_in_app import LEASE_S, TILE_S, stand_in_service
from tests.support.waiting import wait_until

START_S = 600


class StandIns:
    """Servers and workers with a slow stand-in network, and short times."""

    environ = {
        "ENHANCER_DECODERS": "0",
        "ENHANCER_DRAIN_S": "3",
        "ENHANCER_GRACEFUL_TIMEOUT_S": "30",
        TILE_S: "0.03",
        LEASE_S: "2",
    }
    worker = ("-m", "tests.support.stand_in_app")
    check_every = "100ms"

    @staticmethod
    def server(port, environ):
        return stand_in_service(port, **environ)


class RealNetwork:
    """Servers and workers as they are shipped, with the times of the manifests."""

    environ = {"ENHANCER_DRAIN_S": "5", "ENHANCER_GRACEFUL_TIMEOUT_S": "60"}
    worker = ("-m", "jobs", "worker", "--sign")
    check_every = "2s"  # as in the documented configuration

    @staticmethod
    def server(port, environ):
        command = [sys.executable, str(ROOT / "app.py")]
        settings = {"ENHANCER_PORT": str(port), "ENHANCER_HOST": "127.0.0.1"}
        return running(command, port, settings | environ)


class Worker:
    """A worker that can be ended and started again.

    Attributes:
        process: the worker.
    """

    def __init__(self, command, sign, environ):
        self._command, self._sign, self._environ = command, sign, environ
        self._log = sign.with_suffix(".log")
        self.process = None

    def start(self):
        """Start the worker, and wait until it takes work."""
        before = self.log.count("Ready to work")
        with self._log.open("a") as log:
            command = [sys.executable, *self._command, str(self._sign)]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._environ, stderr=log)
        wait_until(lambda: self.log.count("Ready to work") > before, START_S)

    def stop(self):
        """End the worker as Kubernetes does, and check that it had the time to finish."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(START_S) == 0
        assert not self._sign.exists()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def log(self):
        return self._log.read_text() if self._log.exists() else ""


class Topology:
    """Everything that runs.

    Attributes:
        url: of the service, behind the proxy.
        proxy: in front of the servers.
        servers: stack of each port, which ends with the server there.
        workers: of all jobs.
        redis: with the queue.
        scratch: folder of the temporary files of all processes.
    """

    def __init__(self, kind, folder, scratch, environ, queue):
        environ = environ | {"TMPDIR": str(scratch)}
        self._kind, self._environ, self.redis, self.scratch = kind, environ, queue, scratch
        self.servers = {free_port(): ExitStack() for _ in range(2)}
        self.workers = [
            Worker(kind.worker, folder / f"worker-{name}", os.environ | environ) for name in "ab"
        ]
        self.proxy = None

    @property
    def url(self):
        return self.proxy.url

    def start(self):
        """Start all servers and workers at the same time."""
        with ThreadPoolExecutor() as pool:
            started = [pool.submit(worker.start) for worker in self.workers]
            started += [pool.submit(self.start_server, port) for port in self.servers]
        for each in started:
            each.result()

    def stop_servers(self):
        """End all servers at the same time."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(ExitStack.close, self.servers.values()))

    def start_server(self, port):
        self.servers[port].enter_context(self._kind.server(port, self._environ))

    def replace_server(self, port):
        """End a server as Kubernetes does, and start another one in its place."""
        self.servers[port].close()  # fails unless the server exits with 0
        self.proxy.wait_for(port, "DOWN")
        self.start_server(port)
        self.proxy.wait_for(port, "UP")

    def kill_while_it_computes(self, worker):
        """Kill the only worker that runs, while it has the lease of a piece."""

        def has_a_lease(client):
            worker.process.send_signal(signal.SIGSTOP)
            leases = client.scan_iter(f"{PREFIX}:job:*:leases")
            if any(client.zcount(lease, time.time(), "+inf") for lease in leases):
                return True
            worker.process.send_signal(signal.SIGCONT)
            return False

        with redis.Redis.from_url(self.redis.url) as client:
            wait_until(lambda: has_a_lease(client), START_S)
        worker.kill()


@contextmanager
def running_topology(kind, folder, balance="leastconn"):
    """Yield a `Topology` of two servers and two workers; at the end, end all its processes."""
    queue = RedisServer(folder)
    queue.start()
    environ = kind.environ | {
        "ENHANCER_QUEUE_URL": queue.url,
        "ENHANCER_STORAGE_URL": str(folder / "storage"),
        "ENHANCER_PROXIES": "1",
    }
    changes = {"balance leastconn": f"balance {balance}", "inter 2s": f"inter {kind.check_every}"}
    with short_folder() as scratch, ExitStack() as everything:
        topology = Topology(kind, folder, scratch, environ, queue)
        everything.callback(queue.kill)
        for worker in topology.workers:
            everything.callback(worker.kill)
        everything.callback(topology.stop_servers)
        topology.start()
        proxy = documented_proxy(topology.servers, folder, changes)
        topology.proxy = everything.enter_context(proxy)
        yield topology
