import errno
import io
import os
import threading

import pytest
import redis

from core.errors import InvalidModel, ModelUnavailable
from core.options import OutputOptions
from jobs.cluster import worker as worker_module
from jobs.cluster.client import connect
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import JobLedger, LedgerLimits
from jobs.cluster.worker import ClusterWorker, WorkerTimings
from jobs.job import JobState
from tests.support.letters import result_of
from tests.support.redis_server import needs_redis
from tests.support.stand_in_worker import letters_context
from tests.support.stand_ins import repeat
from tests.support.waiting import wait_until

pytestmark = needs_redis


def test_a_worker_computes_all_pieces_of_a_job(jobs, submit, deliver):
    job = submit(name="holiday.txt").job
    deliver()
    with jobs.open_result(job.id) as (file, result):
        assert file.read() == result_of(b"abcdef")
        assert (result.name, result.size, result.mimetype) == ("holiday_x4.txt", 96, "text/plain")


@pytest.mark.parametrize(
    "fault",
    [
        OSError("disk full"),
        ModelUnavailable("No memory.", retry_after_s=1),
        InvalidModel("Its graph is damaged."),
    ],
)
def test_a_fault_of_the_machine_is_tried_again_elsewhere(
    jobs, submit, deliver, create_worker, fault
):
    faults = [fault, fault]

    def network(lr):
        if faults:
            raise faults.pop()
        return repeat(lr)

    job = submit().job
    deliver(create_worker(network))
    with jobs.open_result(job.id) as (file, _result):
        assert file.read() == result_of(b"abcdef")


@pytest.fixture
def failing_storage(storage, monkeypatch):
    """Have the storage fail as often as asked for, in one of its methods."""
    monkeypatch.setattr("jobs.cluster.storage.CALLER_CHECK_S", 0.001)
    monkeypatch.setattr("jobs.cluster.storage.RETRY_S", 0.001)
    monkeypatch.setattr("jobs.cluster.storage.LONGEST_PAUSE_S", 0.001)

    def fail(method, error, times):
        works = getattr(storage, method)
        errors = [error] * times

        def transfer(*arguments):
            if errors:
                raise errors.pop()
            works(*arguments)

        monkeypatch.setattr(storage, method, transfer)

    return fail


@pytest.mark.parametrize("method", ["put", "fetch"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_job_waits_for_a_storage_that_is_full_or_away(
    submit, jobs, deliver, failing_storage, method, code, caplog
):
    job = submit().job
    failing_storage(method, OSError(code, os.strerror(code)), 20)
    with caplog.at_level("INFO"):
        deliver()
    with jobs.open_result(job.id) as (file, _result):
        assert file.read() == result_of(b"abcdef")
    assert {record.attempt for record in caplog.records if record.msg == "Piece done"} == {1}
    assert caplog.text.count("The storage does not work") == 1
    assert caplog.text.count("The storage works again") == 1


def test_a_worker_does_not_wait_for_a_storage_with_a_job_that_was_cancelled(
    submit, jobs, storage, create_worker, failing_storage, monkeypatch, tmp_path
):
    job = submit().job
    failing_storage("put", OSError(errno.ENOSPC, "full"), 10**6)
    refused = storage.put

    def put(*arguments):
        jobs.cancel(job.id)
        worker.beat()
        refused(*arguments)

    monkeypatch.setattr(storage, "put", put)
    worker = create_worker()
    worker.work(job.id)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_storage_that_stays_away_counts_as_a_failed_attempt(
    submit, jobs, deliver, failing_storage, monkeypatch
):
    monkeypatch.setattr("jobs.cluster.storage.PATIENCE_S", 0.01)
    job = submit().job
    failing_storage("put", OSError(errno.EIO, "away"), 10**6)
    deliver()
    assert jobs.get(job.id).error.startswith("Segment 1 must come to an end. Begun 3 times")


def test_after_a_fault_of_its_machine_a_worker_leaves_the_piece_to_others(
    submit, ledger, create_worker, caplog
):
    def network(_lr):
        raise MemoryError

    job = submit().job
    worker = create_worker(network, WorkerTimings(frame_s=30, stop_s=10, pause_s=30))
    working = threading.Thread(target=worker.work, args=(job.id,))
    working.start()
    wait_until(lambda: "Piece not finished" in caplog.text)
    model_id = letters_context().model_id(OutputOptions())
    claims = []

    def is_left_to_others():
        claims.append(ledger.claim(job.id, "other", model_id))
        return claims[-1] is not None and claims[-1].piece == 0

    wait_until(is_left_to_others)
    assert (claims[-1].attempt, working.is_alive()) == (2, True)
    worker.stop()
    working.join(10)
    assert not working.is_alive()


def test_a_worker_that_stops_while_the_ledger_is_away_gives_up_its_piece(
    submit, ledger, create_worker, monkeypatch, caplog
):
    def finish(*_arguments):
        worker.stop()
        raise redis.ConnectionError

    monkeypatch.setattr(ledger, "finish", finish)
    worker = create_worker(timings=WorkerTimings(frame_s=30, stop_s=0))
    with caplog.at_level("INFO"):
        worker.work(submit().job.id)
    assert "Piece given up" in caplog.messages
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_lasting_fault_fails_the_job(jobs, submit, deliver, create_worker):
    def network(_lr):
        raise MemoryError

    job = submit().job
    deliver(create_worker(network))
    failed = jobs.get(job.id)
    assert failed.state is JobState.FAILED
    assert failed.error.startswith("Segment 1 must come to an end. Begun 3 times")


@pytest.fixture
def submit_to_other(ledger, storage, messages):
    """Submit a job to a server that has a model which some workers lack."""
    server = ClusterJobs(ledger, storage, messages, letters_context(names=["other"]))

    def submit_to_other():
        options = OutputOptions(model="other")
        return server.submit(io.BytesIO(b"abcdef"), "a.txt", options, key=None, caller="me").job

    return submit_to_other


def test_a_worker_leaves_a_job_to_others_that_have_its_model(
    jobs, submit_to_other, messages, deliver, create_worker, monkeypatch
):
    monkeypatch.setattr(worker_module, "RETRY_S", 0.0)
    job = submit_to_other()
    with monkeypatch.context() as patched:
        patched.setattr("time.time", lambda: 4e9)  # the clock of this machine is wrong
        create_worker().work(messages.waiting.pop())
    assert jobs.get(job.id).state is JobState.QUEUED
    assert messages.waiting == [job.id]
    other = create_worker(names=["other"])
    other.beat()
    monkeypatch.setattr(worker_module, "MODEL_WAIT_S", 0.0)  # it has waited for long
    create_worker().work(messages.waiting.pop())
    assert messages.waiting == [job.id]
    deliver(other)
    assert jobs.get(job.id).state is JobState.SUCCEEDED


def test_a_job_whose_model_no_worker_has_fails_after_a_while(
    jobs, submit_to_other, deliver, create_worker, monkeypatch
):
    job = submit_to_other()
    worker = create_worker(names=["third"])
    worker.beat()
    monkeypatch.setattr(worker_module, "MODEL_WAIT_S", 0.0)
    deliver(worker)
    failed = jobs.get(job.id)
    assert failed.state is JobState.FAILED
    expected = "`model` must be one that a worker has: stand-in, third. Received: 'other'"
    assert failed.error == expected


def test_a_worker_notices_between_tiles_that_its_piece_is_lost(submit, jobs, create_worker):
    job = submit().job
    seen = []

    def network(lr):
        seen.append(1)
        jobs.cancel(job.id)
        worker.beat()
        return repeat(lr)

    worker = create_worker(network)
    worker.work(job.id)
    assert len(seen) == 1
    worker.beat()


def test_a_worker_keeps_no_file_of_a_job_that_ended_elsewhere(
    submit, jobs, create_worker, tmp_path
):
    open_files = []

    def network(lr):
        worker.drop_ended_sources()
        open_files.extend(path.name for path in (tmp_path / "scratch").glob("[!.]*"))
        return repeat(lr)

    worker = create_worker(network)
    one, two = submit().job, submit(b"abcdefg").job
    for job in (one, two):
        worker.work(job.id)
    jobs.cancel(one.id)
    assert set(open_files) == {one.id, two.id}
    worker.drop_ended_sources()
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == [two.id]


def test_the_file_of_a_job_that_is_cancelled_stays_while_it_is_read(
    submit, jobs, create_worker, tmp_path
):
    job = submit().job
    seen = []

    def network(lr):
        jobs.cancel(job.id)
        worker.drop_ended_sources()
        seen.append((tmp_path / "scratch" / job.id).exists())
        return repeat(lr)

    worker = create_worker(network)
    worker.work(job.id)
    assert seen == [True]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_stuck_worker_loses_its_piece(submit, ledger, create_worker):
    job = submit().job

    def is_stuck():
        worker.beat()
        return worker.is_stuck

    def has_lost_its_piece():
        claim = ledger.claim(job.id, "other", letters_context().model_id(OutputOptions()))
        return claim is not None and claim.piece == 0

    def network(lr):
        if not lost:
            wait_until(is_stuck)
            wait_until(has_lost_its_piece)  # after its lease has ended
            lost.append(True)
        return repeat(lr)

    lost = []
    worker = create_worker(network, WorkerTimings(frame_s=0.2, stop_s=10))
    worker.work(job.id)
    assert lost
    assert not worker.is_stuck


def test_a_worker_survives_that_the_ledger_does_not_answer(storage, messages, tmp_path, caplog):
    ledger = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(1, 1, 1))
    timings = WorkerTimings(frame_s=1, stop_s=1)
    ClusterWorker(ledger, storage, messages, letters_context(), timings, tmp_path).work("j")
    assert "Redis does not answer" in caplog.text
