"""The engine and a worker in one process, with messages that a test delivers."""

import io

import pytest

from core.options import OutputOptions
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import JobLedger, LedgerLimits
from jobs.cluster.storage import Storage
from jobs.cluster.worker import ClusterWorker, WorkerTimings
from tests.support.stand_in_worker import letters_context
from tests.support.stand_ins import repeat

TIMINGS = WorkerTimings(frame_s=30, stop_s=10, pause_s=0)


class Messages:
    """Messages that were sent and not yet taken."""

    queue = "enhancer"

    def __init__(self):
        self.waiting = []

    def send(self, job_id):
        self.waiting.append(job_id)


@pytest.fixture
def messages():
    return Messages()


@pytest.fixture
def ledger(redis_client):
    redis_client.flushdb()
    return JobLedger(redis_client, LedgerLimits(3, 1000, expiry_s=60), lease_s=0.3)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def jobs(ledger, storage, messages):
    return ClusterJobs(ledger, storage, messages, letters_context())


@pytest.fixture
def create_worker(ledger, storage, messages, tmp_path):
    def create_worker(network=repeat, timings=TIMINGS, names=(), other_storage=None):
        (tmp_path / "scratch").mkdir(exist_ok=True)
        context, files = letters_context(network, names), other_storage or storage
        return ClusterWorker(ledger, files, messages, context, timings, tmp_path / "scratch")

    return create_worker


@pytest.fixture
def submit(jobs):
    def submit(text=b"abcdef", name="a.txt", *, key=None, caller="me", **options):
        return jobs.submit(io.BytesIO(text), name, OutputOptions(**options), key=key, caller=caller)

    return submit


@pytest.fixture
def deliver(messages, create_worker):
    """Have a worker take all messages."""

    def deliver(worker=None):
        worker = worker or create_worker()
        while messages.waiting:
            worker.work(messages.waiting.pop(0))

    return deliver
