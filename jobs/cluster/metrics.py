"""Metrics of a worker for Prometheus, under the names that they have on a server."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from core.runtime.machine import resident_memory
from jobs.job import FINAL, JobState

log = logging.getLogger("enhancer.jobs")


class WorkerMetrics:
    """What one worker has done since its start.

    Queues have no gauge here: servers report the jobs of all machines, and the tiles that wait on a
    worker must not scale servers.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._ended = Counter(
            "enhancer_jobs_ended", "Number of jobs ended, by state.", ("state",), registry=registry
        )
        for state in FINAL:
            self._ended.labels(state.value)
        self._frames = Counter(
            "enhancer_job_frames", "Number of frames of jobs computed.", registry=registry
        )
        self._tiles = Counter("enhancer_tiles", "Number of tiles computed.", registry=registry)
        self._seconds = Counter(
            "enhancer_inference_seconds", "Seconds spent computing tiles.", registry=registry
        )
        memory = Gauge(
            "enhancer_resident_memory_bytes", "Resident bytes of the worker.", registry=registry
        )
        memory.set_function(resident_memory)

    def count_frames(self, frames: int) -> None:
        """Count computed frames."""
        self._frames.inc(frames)

    def count_job(self, state: JobState) -> None:
        """Count a job that this worker has ended."""
        self._ended.labels(state.value).inc()

    def count_tile(self, seconds: float) -> None:
        """Count a tile.

        Args:
            seconds: time that the network took for it.
        """
        self._tiles.inc()
        self._seconds.inc(seconds)

    @contextmanager
    def serve(self, port: int) -> Iterator[None]:
        """Answer `GET /metrics` on a port of all addresses while the block runs.

        Args:
            port: 0 to answer nothing.

        Raises:
            OSError: if the port is taken.
        """
        if not port:
            yield
            return
        host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
        server, thread = start_http_server(port, host, self._registry)
        log.info("Metrics at port %d", port)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
