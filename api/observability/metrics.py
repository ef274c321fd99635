"""GET /metrics: metrics of the service for Prometheus.

Several worker processes count in shared files. Their folder is in the environment variable
PROMETHEUS_MULTIPROC_DIR, which the configuration of the server sets.
"""

import platform
import threading
import time
from typing import cast

from flask import Response, current_app
from flask_restx import Namespace, Resource
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from api.context import JobServiceContext, ServiceContext, error_schema
from api.observability.tracing import RequestTrace
from core.options import AUTO
from core.runtime.machine import resident_memory
from jobs.job import FINAL

METRICS = "enhancer.metrics"
"""Name of the metrics among the extensions of the application."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STAGES = ("queue", "decode", "upscale")
FAULTS = {"/model/predict": (500, 503, 504), "/model/jobs": (500, 503, 507)}
"""Statuses of faults by route. Their series exist before the first one, which `rate` would miss."""
OTHER = "other"  # label for methods and paths that callers make up

SAMPLE_EVERY_S = 1.0

# Upper bounds of the histograms.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 300)
MEGAPIXELS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
STRENGTHS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
DECIBELS = (20, 25, 30, 35, 40, 45, 50, 55, 60)

metrics = Namespace("metrics", description="Metrics for operators", path="/metrics")

text_schema = metrics.schema_model("Metrics", {"type": "string"})


@metrics.route("")
class MetricsRoute(Resource):
    """All metrics of the service."""

    @metrics.doc("metrics")
    @metrics.produces(["text/plain"])
    @metrics.response(200, "Metrics in the text format of Prometheus", text_schema)
    @metrics.response(401, "No key, or a wrong one, where keys are set", error_schema)
    def get(self) -> Response:
        """Get the metrics in the text format of Prometheus."""
        return Response(current_metrics().exposition(), content_type=CONTENT_TYPE_LATEST)


class Metrics:
    """All metrics of one service.

    Args:
        service: the service, whose queues and memory are sampled.
        shared: whether other processes count in the same files.
        version: version of the service.
    """

    def __init__(self, service: ServiceContext, *, shared: bool, version: str) -> None:
        self._service = service
        self._shared = shared
        self._registry = CollectorRegistry()
        self._declare_requests()
        self._declare_work()
        self._declare_state()
        if service.jobs is not None:
            self._declare_jobs(service.jobs)
        self._declare_info(version)
        service.upscaler.scheduler.on_done = self.observe_tile
        if shared:
            threading.Thread(target=self._sample_forever, name="metrics", daemon=True).start()

    def _declare_requests(self) -> None:
        names, registry = ("method", "route"), self._registry
        self.requests = Counter(
            "enhancer_requests",
            "Number of requests answered.",
            (*names, "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "enhancer_request_seconds",
            "Seconds from the header of a request to the last byte of its response.",
            names,
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "enhancer_stage_seconds",
            "Seconds per picture and stage. `queue` is waiting for memory and for the network; "
            "`upscale` ends with the last byte of the response.",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        )
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        for route, statuses in FAULTS.items():
            for status in statuses:
                self.requests.labels("POST", route, status)

    def _declare_work(self) -> None:
        registry = self._registry
        self.picture_megapixels = Histogram(
            "enhancer_picture_megapixels",
            "Sizes of decoded pictures in LR megapixels.",
            buckets=MEGAPIXELS,
            registry=registry,
        )
        self.consistency_psnr_db = Histogram(
            "enhancer_consistency_psnr_db",
            "PSNR in dB between a picture and its downscaled result.",
            buckets=DECIBELS,
            registry=registry,
        )
        self.restore_strength = Histogram(
            "enhancer_restore_strength",
            "Strengths at which pictures are restored; 0 for those that are not.",
            ("choice",),
            buckets=STRENGTHS,
            registry=registry,
        )
        self.megapixels = Counter(
            "enhancer_megapixels",
            "LR megapixels of pictures whose whole response was sent.",
            registry=registry,
        )
        self.tiles = Counter("enhancer_tiles", "Number of tiles computed.", registry=registry)
        self.inference_seconds = Counter(
            "enhancer_inference_seconds", "Seconds spent computing tiles.", registry=registry
        )

    def _declare_state(self) -> None:
        self.pictures_waiting = self._gauge(
            "pictures_waiting", "Number of pictures waiting for memory."
        )
        self.tiles_waiting = self._gauge("tiles_waiting", "Number of tiles not started yet.")
        self.memory_admitted = self._gauge(
            "memory_admitted_bytes", "Bytes admitted for pictures under way."
        )
        self.memory_budget = self._gauge(
            "memory_budget_bytes", "Bytes available for all pictures under way."
        )
        self.resident_memory = self._gauge(
            "resident_memory_bytes", "Resident bytes of the worker processes."
        )

    def _declare_jobs(self, jobs: JobServiceContext) -> None:
        """Declare metrics of jobs. Gauges are the same in all processes; counters are added up."""
        self.jobs = self._shared_gauge("jobs", "Number of jobs by state.", "state")
        self.jobs_disk = self._shared_gauge("jobs_disk_bytes", "Bytes used by files of jobs.")
        self.jobs_disk_budget = self._shared_gauge(
            "jobs_disk_budget_bytes", "Bytes that files of jobs may use."
        )
        self.jobs_ended = Counter(
            "enhancer_jobs_ended",
            "Number of jobs ended, by state.",
            ("state",),
            registry=self._registry,
        )
        self.job_frames = Counter(
            "enhancer_job_frames", "Number of frames of jobs computed.", registry=self._registry
        )
        for state in FINAL:  # series that are missing until their first event set off no alert
            self.jobs_ended.labels(state.value)
        jobs.engine.on_frames = self.job_frames.inc
        jobs.engine.on_final = lambda state: self.jobs_ended.labels(state.value).inc()

    def _shared_gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        """Return a gauge whose value is the same in every process."""
        return Gauge(
            f"enhancer_{name}",
            help_text,
            labels,
            multiprocess_mode="livemostrecent",
            registry=self._registry,
        )

    def _gauge(self, name: str, help_text: str) -> Gauge:
        """Return a gauge that is summed over all living processes."""
        return Gauge(
            f"enhancer_{name}", help_text, multiprocess_mode="livesum", registry=self._registry
        )

    def _declare_info(self, version: str) -> None:
        """Declare gauges that are always 1 and carry names and versions as labels."""
        card = self._service.upscaler.card
        model = {"name": card.name, "version": card.version, "sha256": card.sha256}
        build = {"version": version, "python": platform.python_version()}
        for name, labels in (("model", model), ("build", build)):
            info = Gauge(
                f"enhancer_{name}_info",
                f"Labels that identify the {name}; always 1.",
                tuple(labels),
                multiprocess_mode="livemax",
                registry=self._registry,
            )
            info.labels(**labels).set(1)

    def observe(self, trace: RequestTrace) -> None:
        """Count a request whose response has ended."""
        method = trace.method if trace.method in METHODS else OTHER
        route = trace.route or OTHER
        self.requests.labels(method, route, trace.status).inc()
        self.request_seconds.labels(method, route).observe(trace.seconds)
        if trace.pixels:
            self._observe_picture(trace)

    def _observe_picture(self, trace: RequestTrace) -> None:
        self.picture_megapixels.observe(trace.pixels / 1e6)
        choice = "caller" if trace.has_chosen_strength else AUTO
        self.restore_strength.labels(choice).observe(trace.strength)
        if trace.is_whole:
            self.megapixels.inc(trace.pixels / 1e6)
            if trace.consistency is not None:
                self.consistency_psnr_db.observe(trace.consistency.psnr_db)
        for stage in STAGES:
            if stage in trace.timings_ms:
                self.stage_seconds.labels(stage).observe(trace.timings_ms[stage] / 1000)

    def observe_tile(self, seconds: float) -> None:
        """Count a tile.

        Args:
            seconds: time that the network took for it.
        """
        self.tiles.inc()
        self.inference_seconds.inc(seconds)

    def sample(self) -> None:
        """Set the gauges to their current values."""
        admission = self._service.admission
        self.pictures_waiting.set(admission.waiting)
        self.memory_admitted.set(admission.taken)
        self.memory_budget.set(admission.budget)
        self.tiles_waiting.set(self._service.upscaler.scheduler.tiles_waiting)
        self.resident_memory.set(resident_memory())
        if self._service.jobs is not None:
            self._sample_jobs(self._service.jobs)

    def _sample_jobs(self, jobs: JobServiceContext) -> None:
        numbers = jobs.engine.stats()
        for state, count in numbers.jobs.items():
            self.jobs.labels(state.value).set(count)
        self.jobs_disk.set(numbers.disk_bytes)
        self.jobs_disk_budget.set(numbers.disk_budget_bytes)

    def _sample_forever(self) -> None:
        """Write the gauges every second, for the process that answers `GET /metrics`."""
        while True:
            self.sample()
            time.sleep(SAMPLE_EVERY_S)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        self.sample()
        if not self._shared:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def current_metrics() -> Metrics:
    """Return the metrics of the current application."""
    return cast(Metrics, current_app.extensions[METRICS])
