import io
from dataclasses import dataclass

import pytest

from core.options import OutputOptions
from jobs.embedded.engine import EmbeddedJobs, EmbeddedLimits
from tests.jobs.conftest import DISK_BYTES, MAX_WAITING, Gate
from tests.support.waiting import wait_until


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limits(tmp_path):
    return EmbeddedLimits(tmp_path / "jobs", DISK_BYTES, MAX_WAITING)


@pytest.fixture
def create(limits, context, clock, network):
    """Engines on one folder, as several server processes have them."""
    engines = []

    def create(**changes):
        arguments = {"limits": limits, "context": context, "clock": clock} | changes
        engines.append(EmbeddedJobs(**arguments))
        return engines[-1]

    yield create
    if isinstance(network.before, Gate):
        network.before.open()
    for engine in engines:
        engine.close()


@pytest.fixture
def jobs(create):
    return create()


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
