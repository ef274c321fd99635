"""The process of a worker: its parts put together, its signs of life, its end."""

import tempfile
import time
from contextlib import suppress
from pathlib import Path

from jobs.attempt import Workshop
from jobs.cluster.broker import Broker
from jobs.cluster.ledger import Ledger
from jobs.cluster.repeating import Repeating
from jobs.cluster.storage import Storage
from jobs.cluster.sweeping import Sweeper
from jobs.cluster.worker import Times, Worker

BEATS = 4
"""Signs of life in the time of a lease."""

OLD_S = 60.0
"""Age of a sign of life at which a worker is not healthy."""


def run_worker(
    ledger: Ledger,
    storage: Storage,
    broker: Broker,
    workshop: Workshop,
    times: Times,
    sign_of_life: Path,
) -> int:
    """Work until SIGTERM; the exit code.

    Args:
        sign_of_life: a file that is touched as long as all is well; see `is_healthy`.
    """
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


def is_healthy(sign_of_life: Path) -> bool:
    """Whether the worker with this file has lately shown that it lives and is not stuck."""
    with suppress(FileNotFoundError):
        return time.time() - sign_of_life.stat().st_mtime < OLD_S
    return False
