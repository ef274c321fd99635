from dataclasses import dataclass

import pytest

from jobs.embedded.engine import EmbeddedJobs, EmbeddedLimits
from tests.jobs.conftest import DISK_BYTES, MAX_WAITING, Gate


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
