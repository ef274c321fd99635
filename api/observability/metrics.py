"""GET /metrics: what the service does, counted for Prometheus.

Several server processes count in files that they share; which of them are read is the
server's configuration's to say, by PROMETHEUS_MULTIPROC_DIR.
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
from core.runtime.machine import resident_memory

METRICS = "enhancer.metrics"  # among the extensions of an application

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STAGES = ("queue", "decode", "upscale")
OTHER = "other"  # instead of what a caller may make up

SAMPLE_EVERY_S = 1.0
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 300)
MEGAPIXELS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
DECIBELS = (20, 25, 30, 35, 40, 45, 50, 55, 60)

metrics = Namespace("metrics", description="For those who run the service", path="/metrics")

text_schema = metrics.schema_model("Metrics", {"type": "string"})


@metrics.route("")
class MetricsRoute(Resource):
    """All figures, in the format of Prometheus."""

    @metrics.doc("metrics")
    @metrics.produces(["text/plain"])
    @metrics.response(200, "Figures in the format of Prometheus", text_schema)
    @metrics.response(401, "No key, or a wrong one, where keys are set", error_schema)
    def get(self) -> Response:
        """Figures for Prometheus"""
        return Response(current_metrics().exposition(), content_type=CONTENT_TYPE_LATEST)


class Metrics:
    """All figures of one service.

    Args:
        service: whose queues and memory are looked at.
        shared: whether other processes count too, in the same files.
        version: of the service.
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
        self._describe(version)
        service.upscaler.scheduler.on_done = self.observe_tile
        if shared:
            threading.Thread(target=self._sample_for_ever, name="metrics", daemon=True).start()

    def _declare_requests(self) -> None:
        names, registry = ("method", "route"), self._registry
        self.requests = Counter(
            "enhancer_requests", "Requests answered.", (*names, "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "enhancer_request_seconds",
            "From the header of a request to the last byte of its answer.",
            names,
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "enhancer_stage_seconds",
            "Of pictures, by stage; `upscale` ends with the last byte of the answer.",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        )

    def _declare_work(self) -> None:
        registry = self._registry
        self.picture_megapixels = Histogram(
            "enhancer_picture_megapixels",
            "Sizes of decoded pictures.",
            buckets=MEGAPIXELS,
            registry=registry,
        )
        self.consistency_psnr_db = Histogram(
            "enhancer_consistency_psnr_db",
            "PSNR between pictures and their results, made small again.",
            buckets=DECIBELS,
            registry=registry,
        )
        self.megapixels = Counter(
            "enhancer_megapixels", "Of pictures whose whole answer was sent.", registry=registry
        )
        self.tiles = Counter("enhancer_tiles", "Tiles computed.", registry=registry)
        self.inference_seconds = Counter(
            "enhancer_inference_seconds", "Time that tiles took.", registry=registry
        )

    def _declare_state(self) -> None:
        self.pictures_waiting = self._gauge("pictures_waiting", "Pictures waiting for memory.")
        self.tiles_waiting = self._gauge("tiles_waiting", "Tiles not yet begun.")
        self.memory_admitted = self._gauge("memory_admitted_bytes", "Promised to pictures.")
        self.memory_budget = self._gauge("memory_budget_bytes", "For all pictures at once.")
        self.resident_memory = self._gauge("resident_memory_bytes", "Of the server processes.")

    def _declare_jobs(self, jobs: JobServiceContext) -> None:
        """Those that are there are the same for all processes; each counts what it does."""
        self.jobs = self._shared_gauge("jobs", "Jobs that are there.", "state")
        self.jobs_disk = self._shared_gauge("jobs_disk_bytes", "Taken by files of jobs.")
        self.jobs_disk_budget = self._shared_gauge(
            "jobs_disk_budget_bytes", "That files of jobs may take."
        )
        self.jobs_ended = Counter(
            "enhancer_jobs_ended", "Jobs come to their end.", ("state",), registry=self._registry
        )
        self.job_frames = Counter(
            "enhancer_job_frames", "Frames of jobs computed.", registry=self._registry
        )
        jobs.engine.on_frames = self.job_frames.inc
        jobs.engine.on_final = lambda state: self.jobs_ended.labels(state.value).inc()

    def _shared_gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        """A figure of which every process knows the whole."""
        return Gauge(
            f"enhancer_{name}",
            help_text,
            labels,
            multiprocess_mode="livemostrecent",
            registry=self._registry,
        )

    def _gauge(self, name: str, help_text: str) -> Gauge:
        """A figure that is the sum over all processes that live."""
        return Gauge(
            f"enhancer_{name}", help_text, multiprocess_mode="livesum", registry=self._registry
        )

    def _describe(self, version: str) -> None:
        card = self._service.upscaler.card
        model = {"name": card.name, "version": card.version, "sha256": card.sha256}
        build = {"version": version, "python": platform.python_version()}
        for name, labels in (("model", model), ("build", build)):
            info = Gauge(
                f"enhancer_{name}_info",
                f"What {name} this is; always 1.",
                tuple(labels),
                multiprocess_mode="livemax",
                registry=self._registry,
            )
            info.labels(**labels).set(1)

    def observe(self, trace: RequestTrace) -> None:
        """Count a request whose answer has ended."""
        method = trace.method if trace.method in METHODS else OTHER
        route = trace.route or OTHER
        self.requests.labels(method, route, trace.status).inc()
        self.request_seconds.labels(method, route).observe(trace.seconds)
        if trace.pixels:
            self._observe_picture(trace)

    def _observe_picture(self, trace: RequestTrace) -> None:
        self.picture_megapixels.observe(trace.pixels / 1e6)
        if trace.is_whole:
            self.megapixels.inc(trace.pixels / 1e6)
            if trace.consistency is not None:
                self.consistency_psnr_db.observe(trace.consistency.psnr_db)
        for stage in STAGES:
            if stage in trace.timings_ms:
                self.stage_seconds.labels(stage).observe(trace.timings_ms[stage] / 1000)

    def observe_tile(self, seconds: float) -> None:
        """Count a tile that the network has computed in so many seconds."""
        self.tiles.inc()
        self.inference_seconds.inc(seconds)

    def sample(self) -> None:
        """Look at what cannot be counted: how much there is at the moment."""
        admission = self._service.admission
        self.pictures_waiting.set(admission.waiting)
        self.memory_admitted.set(admission.taken)
        self.memory_budget.set(admission.budget)
        self.tiles_waiting.set(self._service.upscaler.scheduler.tiles_waiting)
        self.resident_memory.set(resident_memory())
        if self._service.jobs is not None:
            self._sample_jobs(self._service.jobs)

    def _sample_jobs(self, jobs: JobServiceContext) -> None:
        figures = jobs.engine.stats()
        for state, count in figures.jobs.items():
            self.jobs.labels(state.value).set(count)
        self.jobs_disk.set(figures.disk_bytes)
        self.jobs_disk_budget.set(figures.disk_budget_bytes)

    def _sample_for_ever(self) -> None:
        """Another process, which answers `GET /metrics`, reads what this one wrote last."""
        while True:
            self.sample()
            time.sleep(SAMPLE_EVERY_S)

    def exposition(self) -> bytes:
        """All figures, in the text format of Prometheus."""
        self.sample()
        if not self._shared:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def current_metrics() -> Metrics:
    """Of the application that answers the current request."""
    return cast(Metrics, current_app.extensions[METRICS])
