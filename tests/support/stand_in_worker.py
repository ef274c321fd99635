"""A worker process with a slow stand-in network; its media are videos and `Letters`.

Arguments: URL of Redis, URL of the storage, file that shows that the worker is alive, seconds of a
frame, seconds of a lease, seconds to stop in, port of its metrics.
"""

import logging
import sys
import time
from pathlib import Path

from core.files import MEGABYTE
from core.images import Limits
from core.media.convert import open_medium
from core.media.medium import ClipLimits
from core.model.registry import ModelRegistry, ServedModel
from core.model.upscaler import Upscaler
from core.runtime.admission import Admission
from core.sandbox.decoder import InProcessDecoder
from jobs.cluster.broker import Broker
from jobs.cluster.client import connect
from jobs.cluster.engine import ClusterBackend
from jobs.cluster.ledger import JobLedger, LedgerLimits
from jobs.cluster.storage import Storage
from jobs.cluster.worker import WorkerTimings
from jobs.cluster.worker_process import run_worker
from jobs.execution import JobContext
from tests.support.letters import open_letters
from tests.support.stand_ins import make_card, repeat

LIMITS = LedgerLimits(waiting=10, disk_bytes=1_000_000, expiry_s=60)


def open_any(path, limits, options, scale):
    """Open a video as the service does; any other file as `Letters`."""
    with path.open("rb") as file:
        is_video = file.read(8).endswith(b"ftyp")
    if is_video:
        return open_medium(path, limits, options, scale, decoder=InProcessDecoder())
    return open_letters(path, limits, options)


def letters_context(network=repeat, names=()):
    """Return the context of jobs whose files are `Letters` or videos, with models of some names."""
    cards = [make_card(), *(make_card(name=name) for name in names)]
    default, *others = [ServedModel(Upscaler(card, network, window=16)) for card in cards]
    return JobContext(
        models=ModelRegistry(default, others),
        admission=Admission(budget=50 * MEGABYTE, queue=4, backlog_s=lambda: 0.0),
        open_medium=open_any,
        limits=ClipLimits(Limits(1000, 1000, 1000), 300),
        expiry_s=LIMITS.expiry_s,
    )


def main(redis_url, storage_url, alive_file, frame_s, lease_s, stop_s, metrics_port):
    logging.basicConfig(level="INFO")

    def network(lr):
        time.sleep(float(frame_s))
        return repeat(lr)

    ledger = JobLedger(connect(redis_url), LIMITS, lease_s=float(lease_s))
    backend = ClusterBackend(ledger, Storage(storage_url), Broker(redis_url))
    timings = WorkerTimings(frame_s=30, stop_s=float(stop_s))
    context = letters_context(network)
    return run_worker(backend, context, timings, Path(alive_file), int(metrics_port))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
