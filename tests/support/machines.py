"""A cluster for tests: Redis and workers, each in a process of its own, and a storage."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import requests
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server import free_port
from config import ROOT
from jobs.cluster.broker import Broker
from jobs.cluster.client import connect
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import JobLedger
from jobs.cluster.storage import Storage
from tests.support.redis_server import RedisServer
from tests.support.short_folder import short_folder
from tests.support.stand_in_worker import LIMITS, letters_context
from tests.support.waiting import wait_until

START_S = 40
LEASE_S = 2.0


class WorkerProcess:
    """A worker process, and what its log says."""

    def __init__(self, cluster, name, *, frame_s=0.1, stop_s=10.0, storage_url=None):
        self.alive_file = cluster.folder / f"{name}.alive"
        self.metrics_port = free_port()
        self._log = cluster.folder / f"{name}.log"
        arguments = [
            cluster.redis.url,
            storage_url or cluster.storage_url,
            self.alive_file,
            frame_s,
            LEASE_S,
            stop_s,
            self.metrics_port,
        ]
        with self._log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.stand_in_worker", *map(str, arguments)],
                cwd=ROOT,
                env=os.environ | {"TMPDIR": str(cluster.scratch)},
                stderr=file,
            )

    def wait_until_ready(self):
        wait_until(lambda: self.alive_file.exists() and "Ready to work" in self.log, START_S)

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.send(signal.SIGKILL)
        self.process.wait()

    def counted(self, sample, **labels):
        """Value of a sample among its metrics, which must be there."""
        answer = requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10)
        families = text_string_to_metric_families(answer.text)
        (value,) = (
            found.value
            for family in families
            for found in family.samples
            if (found.name, found.labels) == (f"enhancer_{sample}", labels)
        )
        return value

    @property
    def log(self):
        return self._log.read_text()

    @property
    def pieces_done(self):
        return self.log.count("Piece done")

    @property
    def is_computing(self):
        ended = self.log.count("Piece given up") + self.log.count("Job failed")
        return self.log.count("Rendering") + self.log.count("Joining") > self.pieces_done + ended


class Cluster:
    """Redis, storage and workers, and the engine of this process.

    Attributes:
        scratch: folder of the workers' temporary files.
    """

    def __init__(self, folder, scratch, server, storage_url):
        self.folder, self.redis, self.storage_url = folder, server, storage_url
        self.scratch = scratch
        ledger = JobLedger(connect(server.url), LIMITS, lease_s=LEASE_S)
        self.ledger = ledger
        self.jobs = ClusterJobs(ledger, Storage(storage_url), Broker(server.url), letters_context())
        self.workers = []

    def start_workers(self, *names, **options):
        started = [WorkerProcess(self, name, **options) for name in names]
        self.workers += started
        for worker in started:
            worker.wait_until_ready()
        return started

    def wait_for(self, job, timeout_s=40):
        """Wait until a job is final, and return it."""
        wait_until(lambda: self.jobs.get(job.id).state.is_final, timeout_s)
        return self.jobs.get(job.id)

    def sources(self, job):
        """Return the copies that workers have of a job's file."""
        return list(self.scratch.glob(f"*/{job.id}"))

    def result(self, job):
        with self.jobs.open_result(job.id) as opened:
            return opened.file.read()


@contextmanager
def running_cluster(folder, storage_url=None):
    """Yield a cluster without workers; at the end, kill all its processes."""
    server = RedisServer(folder)
    server.start()
    with short_folder() as scratch:
        cluster = Cluster(folder, scratch, server, storage_url or str(folder / "storage"))
        try:
            yield cluster
        finally:
            cluster.jobs.close()
            for worker in cluster.workers:
                worker.send(signal.SIGCONT)
                worker.kill()
            server.kill()
