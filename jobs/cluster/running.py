"""The process of a worker: its parts put together, its signs of life, its end."""

import tempfile
from pathlib import Path

from jobs.cluster.place import Place
from jobs.cluster.repeating import Repeating
from jobs.cluster.sweeping import Sweeper
from jobs.cluster.worker import Times, Worker
from jobs.workshop import Workshop

BEATS = 4
"""Signs of life in the time of a lease."""


def run_worker(place: Place, workshop: Workshop, times: Times, sign_of_life: Path) -> int:
    """Work until SIGTERM; the exit code.

    Args:
        place: where jobs are.
        workshop: what computes frames.
        times: how long is waited.
        sign_of_life: a file that is touched as long as all is well; see `jobs.cluster.health`.
    """
    ledger, storage, broker = place
    with tempfile.TemporaryDirectory(prefix="enhancer-worker-") as folder:
        worker = Worker(ledger, storage, broker, workshop, times, Path(folder))
        sweeper = Sweeper(ledger, storage, broker)

        def beat() -> None:
            if not worker.is_stuck:
                sign_of_life.touch()
            worker.beat()

        threads = [
            Repeating(beat, ledger.lease_s / BEATS, "signs of life"),
            Repeating(sweeper.sweep, sweeper.every_s, "sweeping"),
        ]
        for thread in threads:
            thread.start()
        try:
            return broker.work(worker.work, on_stop=worker.stop)
        finally:
            for thread in threads:
                thread.close()
            sign_of_life.unlink(missing_ok=True)
