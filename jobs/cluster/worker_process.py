"""The process of a worker: its loop, and what it does meanwhile in the background."""

from pathlib import Path

from core.files import scratch_folder, sweep_scratch_folders
from jobs.cluster.engine import ClusterBackend
from jobs.cluster.maintenance import PeriodicTask, Sweeper
from jobs.cluster.metrics import WorkerMetrics
from jobs.cluster.worker import ClusterWorker, WorkerTimings
from jobs.execution import JobContext

BEATS_PER_LEASE = 4
"""Number of signs of life in the time of a lease."""


def run_worker(
    backend: ClusterBackend,
    context: JobContext,
    timings: WorkerTimings,
    alive_file: Path,
    metrics_port: int = 0,
) -> int:
    """Work on jobs until SIGTERM, and return the exit code of the process.

    Args:
        backend: ledger, storage and messages.
        context: opens files and computes frames.
        timings: timeouts.
        alive_file: touched as long as the worker is healthy; see `jobs.__main__`.
        metrics_port: port of `GET /metrics`; 0 for none.
    """
    ledger, storage, broker = backend
    metrics = WorkerMetrics()
    sweep_scratch_folders()
    with scratch_folder() as folder, metrics.serve(metrics_port):
        worker = ClusterWorker(ledger, storage, broker, context, timings, folder)
        worker.on_frames, worker.on_final = metrics.count_frames, metrics.count_job
        context.upscaler.scheduler.on_done = metrics.count_tile
        sweeper = Sweeper(ledger, storage, broker)

        def show_life() -> None:
            if not worker.is_stuck:
                alive_file.touch()

        def sweep() -> None:
            worker.drop_ended_sources()
            sweeper.sweep()

        # Neither a storage that hangs nor an absent Redis must keep one of these from the others.
        every_s = ledger.lease_s / BEATS_PER_LEASE
        tasks = [
            PeriodicTask(show_life, every_s, "signs of life"),
            PeriodicTask(worker.beat, every_s, "renewing the lease"),
            PeriodicTask(sweep, sweeper.every_s, "sweeping"),
            PeriodicTask(worker.check_storage, sweeper.every_s, "checking the storage"),
        ]
        for task in tasks:
            task.start()
        try:
            return broker.consume(worker.work, on_stop=worker.stop)
        finally:
            for task in tasks:
                task.close()
            alive_file.unlink(missing_ok=True)
