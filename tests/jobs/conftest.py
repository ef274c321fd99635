import io
import threading
from dataclasses import dataclass, field

import pytest

from core.files import MEGABYTE
from core.model.registry import ModelRegistry, ServedModel
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.runtime.admission import Admission
from jobs.cluster.client import connect
from jobs.execution import JobContext
from tests.support.media_files import LIMITS, open_numbers
from tests.support.redis_server import RedisServer
from tests.support.stand_ins import make_card, repeat
from tests.support.waiting import wait_until

EXPIRY_S = 3600.0
MAX_WAITING = 5
DISK_BYTES = 10 * MEGABYTE
TIMEOUT_S = 10


@dataclass
class Network:
    """Nearest neighbour that calls `before`, if it is set, and records the frames it sees."""

    seen: list = field(default_factory=list)
    before: object = None

    def __call__(self, lr):
        if self.before is not None:
            self.before()
        self.seen.append(int(lr[0, 0, 0]))
        return repeat(lr)


class Gate:
    """Holds the frames of a network back until they are let through."""

    def __init__(self, network, opened_for=0):
        self._arrived = threading.Semaphore(0)
        self._passes = threading.Semaphore(opened_for)
        network.before = self

    def __call__(self):
        self._arrived.release()
        assert self._passes.acquire(timeout=TIMEOUT_S)

    def wait(self, frames=1):
        """Wait until this many more frames have arrived."""
        for _ in range(frames):
            assert self._arrived.acquire(timeout=TIMEOUT_S)

    def open(self, frames=1000):
        """Let this many frames through."""
        self._passes.release(frames)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def opened():
    """The options with which files were opened."""
    return []


@pytest.fixture
def context(network, opened):
    def open_medium(path, limits, options, _scale):
        opened.append(options)
        return open_numbers(path, limits, options)

    return JobContext(
        models=ModelRegistry(ServedModel(Upscaler(make_card(), network, window=16))),
        admission=Admission(budget=50 * MEGABYTE, queue=4, backlog_s=lambda: 0.0),
        open_medium=open_medium,
        limits=LIMITS,
        expiry_s=EXPIRY_S,
    )


@pytest.fixture(scope="module")
def redis_client(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    with connect(server.url) as client:
        yield client
    server.kill()


@pytest.fixture
def submit(jobs):
    def submit(content, name="clip.mov", *, engine=jobs, key=None, caller="me", **options):
        return engine.submit(
            io.BytesIO(content), name, OutputOptions(**options), key=key, caller=caller
        )

    return submit


@pytest.fixture
def finish(jobs):
    """Wait until a job is final."""

    def finish(job_id, engine=jobs):
        wait_until(lambda: engine.get(job_id).state.is_final)
        return engine.get(job_id)

    return finish
