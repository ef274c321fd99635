import logging
import threading

import pytest

from core.options import OutputOptions
from jobs.cluster.ledger import JobLedger
from jobs.cluster.maintenance import PeriodicTask, Sweeper
from jobs.job import JobState
from tests.support.redis_server import needs_redis
from tests.support.stand_in_worker import letters_context
from tests.support.waiting import wait_until


@pytest.fixture
def sweeper(ledger, storage, messages):
    return Sweeper(ledger, storage, messages)


def test_a_periodic_task_goes_on_after_a_failure(caplog):
    calls = []

    def action():
        calls.append(1)
        raise OSError("not now")

    task = PeriodicTask(action, 0.01, "looking around")
    with caplog.at_level(logging.WARNING):
        task.start()
        wait_until(lambda: len(calls) >= 3)
        task.close()
    assert caplog.text.count("looking around did not work: not now") == 1
    assert "looking around" not in [thread.name for thread in threading.enumerate()]


def test_a_task_that_was_never_started_can_be_closed():
    calls = []
    PeriodicTask(lambda: calls.append(1), 0, "nothing").close()
    assert calls == []


@needs_redis
def test_the_piece_of_a_dead_worker_is_offered_to_others(
    submit, ledger, messages, deliver, sweeper
):
    job = submit().job
    messages.waiting.clear()
    ledger.claim(job.id, "dead", letters_context().model_id(OutputOptions()))

    def is_finished():
        sweeper.sweep()
        deliver()
        return ledger.get(job.id).state is JobState.SUCCEEDED

    wait_until(is_finished)  # after the lease of the dead worker has ended


@needs_redis
def test_files_of_a_forgotten_job_are_deleted(jobs, submit, deliver, sweeper, tmp_path):
    job = submit().job
    deliver()
    jobs.cancel(job.id)
    assert (tmp_path / "storage" / job.id).exists()
    sweeper.sweep()
    assert not (tmp_path / "storage" / job.id).exists()


@needs_redis
def test_files_that_cannot_be_deleted_do_not_keep_others(
    jobs, submit, deliver, sweeper, storage, tmp_path, monkeypatch
):
    stuck, other = submit().job, submit().job
    deliver()
    for job in (stuck, other):
        jobs.cancel(job.id)
    delete = storage.delete

    def delete_other(name):
        if name == stuck.id:
            raise OSError("busy")
        delete(name)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "delete", delete_other)
        with pytest.raises(OSError, match="busy"):
            sweeper.sweep()
    folders = [tmp_path / "storage" / job.id for job in (stuck, other)]
    assert [folder.exists() for folder in folders] == [True, False]

    def is_deleted():
        sweeper.sweep()
        return not folders[0].exists()

    wait_until(is_deleted)


@needs_redis
def test_one_of_several_sweepers_takes_a_turn(submit, messages, ledger, storage, redis_client):
    submit()
    messages.waiting.clear()
    ledger = JobLedger(redis_client, ledger.limits, lease_s=3600)  # a turn lasts for minutes
    for _ in range(2):
        Sweeper(ledger, storage, messages).sweep()
    assert len(messages.waiting) == 1
