"""What only the embedded engine does; see tests/jobs/test_engine_contract.py for the rest."""

import pytest

from jobs.errors import UnknownJob
from jobs.job import JobState
from tests.jobs.conftest import DISK_BYTES, EXPIRY_S, Gate
from tests.support.media_files import expected
from tests.support.stand_ins import repeat
from tests.support.waiting import wait_until

LEVELS = bytes(range(1, 11))  # four segments


def test_an_engine_opens_its_folder_when_it_is_first_used(jobs, limits):
    assert jobs.stats().disk_bytes == 0
    assert not limits.folder.exists()
    jobs.start()
    assert limits.folder.exists()
    assert 0 < jobs.stats().disk_bytes < DISK_BYTES


def test_times_are_those_of_the_clock(submit, finish, clock):
    job = submit(LEVELS).job
    assert job.created == clock.now
    done = finish(job.id)
    assert (done.started, done.finished) == (clock.now, clock.now)
    assert done.expires == done.result.expires == clock.now + EXPIRY_S


def test_an_expired_job_is_gone_but_its_open_result_stays(jobs, submit, finish, clock):
    job = submit(LEVELS).job
    finish(job.id)
    with jobs.open_result(job.id) as (file, _):
        clock.now += EXPIRY_S - 1
        assert jobs.get(job.id).state is JobState.SUCCEEDED
        clock.now += 1
        with pytest.raises(UnknownJob):
            jobs.get(job.id)
        assert file.read() == expected(LEVELS, repeat)


def test_two_engines_on_a_folder_compute_every_frame_once(create, submit, network):
    engines = [create(), create()]
    ids = [submit(bytes([n] * 7), engine=engines[n % 2]).job.id for n in range(5)]
    wait_until(lambda: all(engines[0].get(job_id).state.is_final for job_id in ids))
    assert sorted(network.seen) == sorted(n for n in range(5) for _ in range(7))
    for n, job_id in enumerate(ids):
        with engines[0].open_result(job_id) as (file, _):
            assert file.read() == expected(bytes([n] * 7), repeat)


def test_frames_and_ends_are_reported(create, submit, finish):
    ended, frames, engine = [], [], create()
    engine.on_final, engine.on_frames = ended.append, frames.append
    finish(submit(LEVELS, engine=engine).job.id, engine)
    wait_until(lambda: ended == [JobState.SUCCEEDED])
    assert sum(frames) == len(LEVELS)
    engine.stop()
    engine.cancel(submit(LEVELS, engine=engine).job.id)
    assert ended == [JobState.SUCCEEDED, JobState.CANCELLED]


def test_a_stopped_engine_puts_its_job_back(create, submit, network):
    engine, gate = create(), Gate(network, opened_for=7)
    job = submit(LEVELS, engine=engine).job
    gate.wait(8)
    engine.stop()
    gate.open(1)
    engine.close()
    assert engine.get(job.id).state is JobState.QUEUED
