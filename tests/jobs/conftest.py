import io
from dataclasses import dataclass, field

import pytest

from core.files import MEGABYTE
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.runtime.admission import Admission
from jobs.embedded.engine import EmbeddedJobs, EmbeddedLimits
from jobs.execution import JobContext
from tests.support.media_files import LIMITS, open_numbers
from tests.support.stand_ins import make_card, repeat
from tests.support.waiting import wait_until

EXPIRY_S = 3600.0


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 1000.0

    def __call__(self):
        return self.now


@dataclass
class Network:
    """Nearest neighbour that notes what it sees, and waits or fails when it is told to."""

    seen: list = field(default_factory=list)
    before: object = None

    def __call__(self, lr):
        if self.before is not None:
            self.before()
        self.seen.append(int(lr[0, 0, 0]))
        return repeat(lr)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def workshop(network):
    return JobContext(
        upscaler=Upscaler(make_card(), network, window=16),
        admission=Admission(budget=50 * MEGABYTE, queue=4, backlog_s=lambda: 0.0),
        open_medium=open_numbers,
        limits=LIMITS,
        expiry_s=EXPIRY_S,
    )


@pytest.fixture
def room(tmp_path):
    return EmbeddedLimits(tmp_path / "jobs", budget_bytes=10 * MEGABYTE, most_waiting=5)


@pytest.fixture
def create(room, workshop, clock):
    """Engines on one folder, as several server processes would have them."""
    engines = []

    def create(**changes):
        arguments = {"room": room, "workshop": workshop, "clock": clock} | changes
        engines.append(EmbeddedJobs(**arguments))
        return engines[-1]

    yield create
    for engine in engines:
        engine.close()


@pytest.fixture
def jobs(create):
    return create()


@pytest.fixture
def submit(jobs):
    def submit(content, name="clip.mov", *, engine=jobs, key=None, caller="me", **wish):
        return engine.submit(
            io.BytesIO(content), name, OutputOptions(**wish), key=key, caller=caller
        )

    return submit


@pytest.fixture
def finish(jobs):
    """Wait until a job is final."""

    def finish(job_id, engine=jobs):
        wait_until(lambda: engine.get(job_id).state.is_final)
        return engine.get(job_id)

    return finish
