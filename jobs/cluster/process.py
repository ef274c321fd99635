"""The process of a worker: its parts put together, its signs of life, its end.

Where the jobs of several machines are: Redis, and a storage that all of them see.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

from jobs.cluster.broker import Broker, Sweeper
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.health import PeriodicTask
from jobs.cluster.ledger import JobLedger, LedgerLimits, connect
from jobs.cluster.storage import Storage
from jobs.cluster.worker import ClusterWorker, WorkerTimings
from jobs.execution import JobContext


class ClusterBackend(NamedTuple):
    """The parts that a server and a worker have in common.

    Attributes:
        ledger: what is known of jobs.
        storage: their files.
        broker: messages to workers.
    """

    ledger: JobLedger
    storage: Storage
    broker: Broker

    def engine(self, workshop: JobContext) -> ClusterJobs:
        """What a server needs."""
        return ClusterJobs(self.ledger, self.storage, self.broker, workshop)


def open_place(queue_url: str, storage_url: str, bounds: LedgerLimits) -> ClusterBackend:
    """The place at these addresses; nothing of it is asked yet.

    Raises:
        ImportError, ValueError: if the storage is of no kind that can be used here.
    """
    return ClusterBackend(
        JobLedger(connect(queue_url), bounds), Storage(storage_url), Broker(queue_url)
    )


BEATS = 4
"""Signs of life in the time of a lease."""


def run_worker(
    place: ClusterBackend, workshop: JobContext, times: WorkerTimings, sign_of_life: Path
) -> int:
    """Work until SIGTERM; the exit code.

    Args:
        place: where jobs are.
        workshop: what computes frames.
        times: how long is waited.
        sign_of_life: a file that is touched as long as all is well; see `jobs.cluster.health`.
    """
    ledger, storage, broker = place
    with tempfile.TemporaryDirectory(prefix="enhancer-worker-") as folder:
        worker = ClusterWorker(ledger, storage, broker, workshop, times, Path(folder))
        sweeper = Sweeper(ledger, storage, broker)

        def beat() -> None:
            if not worker.is_stuck:
                sign_of_life.touch()
            worker.beat()

        threads = [
            PeriodicTask(beat, ledger.lease_s / BEATS, "signs of life"),
            PeriodicTask(sweeper.sweep, sweeper.every_s, "sweeping"),
        ]
        for thread in threads:
            thread.start()
        try:
            return broker.work(worker.work, on_stop=worker.stop)
        finally:
            for thread in threads:
                thread.close()
            sign_of_life.unlink(missing_ok=True)
