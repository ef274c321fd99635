"""A machine whose share is not mounted, or has another one, takes no work."""

import errno
import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.options import OutputOptions
from jobs.cluster import worker as worker_module
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.maintenance import Sweeper
from jobs.cluster.storage import IDENTITY_NAME, Storage, WrongStorage
from jobs.cluster.storage_watch import StorageWatch, adopt_storage
from jobs.errors import EngineUnavailable, OutOfSpace
from jobs.job import JobState
from tests.support.letters import result_of
from tests.support.redis_server import needs_redis
from tests.support.stand_in_worker import letters_context
from tests.support.stand_ins import repeat

pytestmark = needs_redis

GONE = "The storage cannot be used"
BACK = "The storage can be used again"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(worker_module, "RETRY_S", 0.0)
    for name in ("CALLER_CHECK_S", "RETRY_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(f"jobs.cluster.storage.{name}", 0.001)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "storage"


@pytest.fixture
def other(tmp_path):
    """A folder of one machine, where its share is not mounted."""
    return Storage(str(tmp_path / "other"))


@pytest.fixture
def server(ledger, storage):
    """The watch of a server that has the storage of the cluster."""
    return StorageWatch(ledger, storage, declares=True)


def submit_to(engine):
    return engine.submit(io.BytesIO(b"abc"), "a.txt", OutputOptions(), key=None, caller="me")


def swap(one, two):
    """Exchange two folders, as mounting and unmounting a share does."""
    between = one.with_name("between")
    one.rename(between)
    two.rename(one)
    between.rename(two)


def test_a_worker_without_the_share_leaves_pieces_to_others(
    submit, jobs, messages, deliver, create_worker, other, caplog
):
    job = submit().job
    wrong = create_worker(other_storage=other)
    for _ in range(5):
        wrong.work(messages.waiting.pop())
        assert messages.waiting == [job.id]
    with caplog.at_level("INFO"):
        deliver()
    with jobs.open_result(job.id) as (file, _result):
        assert file.read() == result_of(b"abcdef")
    assert {record.attempt for record in caplog.records if record.msg == "Piece done"} == {1}
    assert caplog.text.count(GONE) == 1


def test_a_worker_goes_on_once_the_share_is_mounted(
    submit, jobs, messages, deliver, create_worker, other, folder, caplog
):
    job = submit().job
    other.folder.mkdir()
    worker = create_worker(other_storage=other)
    worker.work(messages.waiting.pop())
    worker.check_storage()
    assert jobs.get(job.id).state is JobState.QUEUED
    swap(folder, other.folder)
    with caplog.at_level("INFO"):
        deliver(worker)
    swap(folder, other.folder)
    assert jobs.get(job.id).state is JobState.SUCCEEDED
    assert [caplog.text.count(line) for line in (GONE, BACK)] == [1, 1]


def test_a_share_that_goes_away_under_a_piece_costs_no_attempt(
    submit, jobs, messages, deliver, create_worker, folder, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("jobs.cluster.storage.PATIENCE_S", 0.01)
    (tmp_path / "empty").mkdir()
    job = submit().job

    def network(lr):
        if not (tmp_path / "empty").exists():
            return repeat(lr)
        folder.rename(tmp_path / "away")
        (tmp_path / "empty").rename(folder)
        return repeat(lr)

    worker = create_worker(network)
    worker.work(messages.waiting.pop())
    assert list(folder.iterdir()) == []
    assert jobs.get(job.id).state is JobState.QUEUED
    folder.rmdir()
    (tmp_path / "away").rename(folder)
    with caplog.at_level("INFO"):
        deliver(worker)
    with jobs.open_result(job.id) as (file, _result):
        assert file.read() == result_of(b"abcdef")
    assert {record.attempt for record in caplog.records if record.msg == "Piece done"} == {1}


def test_a_source_that_is_lost_on_the_right_storage_fails_its_job(submit, jobs, storage, deliver):
    job = submit().job
    storage.delete(job.id)
    deliver()
    assert jobs.get(job.id).error.startswith("Segment 1 must come to an end. Begun 3 times")


def test_a_server_without_the_share_accepts_no_job(submit, ledger, messages, other, storage):
    job = submit().job
    wrong = ClusterJobs(ledger, other, messages, letters_context())
    with pytest.raises(EngineUnavailable, match="Received: no such file"):
        submit_to(wrong)
    assert wrong.stats().jobs[JobState.QUEUED] == 1
    wrong.cancel(job.id)
    assert wrong.get(job.id).state is JobState.CANCELLED
    other.folder.mkdir(exist_ok=True)
    swap(storage.folder, other.folder)
    assert submit_to(wrong).is_new


def test_a_server_whose_storage_does_not_answer_refuses_jobs(storage, server, submit, monkeypatch):
    server.look()

    def identity():
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(storage, "identity", identity)
    with pytest.raises(EngineUnavailable, match="must answer"):
        submit()


def test_files_on_another_storage_are_not_forgotten(
    submit, jobs, deliver, ledger, messages, other, storage, redis_client
):
    job = submit().job
    deliver()
    jobs.cancel(job.id)
    StorageWatch(ledger, other).look()
    Sweeper(ledger, other, messages).sweep()
    assert ledger.collect_expired() == [job.id]
    redis_client.delete("enhancer:turn:sweep")
    Sweeper(ledger, storage, messages).sweep()
    assert [path.name for path in storage.folder.iterdir()] == [IDENTITY_NAME]


def test_servers_that_start_at_once_agree_on_one_storage(ledger, folder, tmp_path, redis_client):
    def start(path):
        return StorageWatch(ledger, Storage(str(path)), declares=True).look()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(start, [folder] * 8)) == [None] * 8
    redis_client.delete("enhancer:storage")
    paths = [tmp_path / str(index) for index in range(4)]
    with ThreadPoolExecutor(4) as pool:
        faults = list(pool.map(start, paths))
    assert sorted(isinstance(fault, WrongStorage) for fault in faults) == [False, True, True, True]


def test_a_server_identifies_the_storage_of_a_running_installation(
    submit, jobs, storage, ledger, redis_client, server, deliver, folder
):
    job = submit().job
    redis_client.delete("enhancer:storage")
    (folder / IDENTITY_NAME).unlink()
    storage.expected = None
    assert StorageWatch(ledger, storage).look() is None  # a worker, which is replaced first
    assert storage.identity() is None
    assert server.look() is None
    assert ledger.storage_identity() == storage.identity()
    deliver()
    assert jobs.get(job.id).state is JobState.SUCCEEDED


def test_if_redis_is_emptied_only_a_server_with_the_storage_declares_it_again(
    ledger, storage, other, server, redis_client
):
    server.look()
    wrong = StorageWatch(ledger, other, declares=True)
    assert isinstance(wrong.look(), WrongStorage)
    redis_client.flushdb()
    assert isinstance(wrong.look(), WrongStorage)
    assert ledger.storage_identity() is None
    assert server.look() is None
    assert ledger.storage_identity() == storage.identity()


def test_a_storage_that_was_emptied_on_purpose_can_be_adopted(ledger, storage, server, submit):
    server.look()
    (storage.folder / IDENTITY_NAME).unlink()
    assert isinstance(server.look(), WrongStorage)
    identity = adopt_storage(ledger, storage)
    assert server.look() is None
    assert storage.identity() == ledger.storage_identity() == identity
    assert adopt_storage(ledger, storage) == identity
    submit()


def test_a_storage_that_is_full_at_the_first_start_refuses_jobs_with_its_reason(
    submit, storage, ledger, monkeypatch
):
    def identify():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage, "identify", identify)
    with pytest.raises(OutOfSpace):
        submit()
    assert ledger.storage_identity() is None
