"""What only the cluster engine does; see tests/jobs/test_engine_contract.py for the rest."""

import errno
import io
import threading

import pytest

from core.options import OutputOptions
from jobs.cluster.client import connect
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import MEMORY_SHARE, JobLedger, LedgerLimits
from jobs.cluster.storage import IDENTITY_NAME
from jobs.errors import EngineUnavailable, OutOfSpace, TooManyJobs
from jobs.job import JobState
from tests.support.folders import files_in
from tests.support.letters import result_of
from tests.support.redis_server import needs_redis
from tests.support.stand_in_worker import letters_context
from tests.support.waiting import wait_until

pytestmark = needs_redis


def test_a_message_is_sent_for_a_new_job(submit, messages):
    job = submit().job
    assert messages.waiting == [job.id]


def test_a_refused_job_leaves_no_files(submit, tmp_path):
    for _ in range(3):
        submit()
    with pytest.raises(TooManyJobs):
        submit()
    assert len(list((tmp_path / "storage").glob("*/source"))) == 3


def full(*_arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "place", ["jobs.cluster.engine.copy_upload", "jobs.cluster.storage.Storage.put"]
)
def test_a_full_disk_refuses_a_job_with_its_reason(submit, jobs, monkeypatch, place, tmp_path):
    with monkeypatch.context() as patched:
        patched.setattr(place, full)
        with pytest.raises(OutOfSpace, match="it is full"):
            submit()
    assert jobs.stats().jobs[JobState.QUEUED] == 0
    assert {path.name for path in files_in(tmp_path)} <= {IDENTITY_NAME}
    submit()


@pytest.fixture
def almost_full(redis_client):
    """Return a function that leaves Redis no memory for another job."""

    def fill():
        redis_client.setrange("other", 10_000_000, "x")  # without a buffer for the command
        used = redis_client.info("memory")["used_memory"]
        redis_client.config_set("maxmemory", int(used / (MEMORY_SHARE + 0.04)))

    yield fill
    redis_client.config_set("maxmemory", 0)
    redis_client.delete("other")


def test_where_redis_is_almost_full_only_accepted_jobs_go_on(
    submit, jobs, deliver, almost_full, redis_client
):
    accepted = submit().job
    almost_full()
    with pytest.raises(TooManyJobs, match="The queue of jobs must use at most .* bytes to take"):
        submit()
    deliver()
    with jobs.open_result(accepted.id) as (file, _result):
        assert file.read() == result_of(b"abcdef")
    redis_client.delete("other")
    submit()


def test_the_same_request_at_the_same_time_makes_one_job(
    submit, jobs, ledger, monkeypatch, tmp_path
):
    first = submit(key="k")
    monkeypatch.setattr(ledger, "find", lambda *_: None)  # as if the first were not there yet
    assert submit(key="k").job.id == first.job.id
    assert jobs.stats().jobs[JobState.QUEUED] == 1
    assert len(list((tmp_path / "storage").glob("*/source"))) == 1


def test_a_request_whose_job_is_deleted_at_this_moment_makes_another_job(
    submit, jobs, ledger, monkeypatch
):
    first, find = submit(key="k").job, ledger.find

    def find_and_delete(*key):
        found = find(*key)
        jobs.cancel(first.id), jobs.cancel(first.id)
        return found

    monkeypatch.setattr(ledger, "find", find_and_delete)
    job, is_new = submit(key="k")
    assert (is_new, job.state) == (True, JobState.QUEUED)
    assert job.id != first.id


def test_a_forgotten_result_is_deleted_when_nobody_reads_it(jobs, submit, deliver, ledger):
    job = submit().job
    deliver()
    with jobs.open_result(job.id) as (file, _result):
        jobs.cancel(job.id)
        assert ledger.collect_expired() == []
        assert file.read() == result_of(b"abcdef")
    assert ledger.collect_expired() == [job.id]


def test_an_engine_without_redis_is_unavailable(storage, messages):
    ledger = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(1, 1000, 1))
    jobs = ClusterJobs(ledger, storage, messages, letters_context())
    with pytest.raises(EngineUnavailable) as raised:
        jobs.get("j")
    assert raised.value.retry_after_s > 0
    with pytest.raises(EngineUnavailable):
        jobs.submit(io.BytesIO(b"a"), "a", OutputOptions(), key=None, caller="")
    assert jobs.stats().jobs == dict.fromkeys(JobState, 0)


def test_a_watcher_waits_while_redis_does_not_answer(jobs, submit, ledger, monkeypatch):
    job = submit().job
    jobs.keep_alive_s = 0.0
    snapshots = jobs.watch(job.id)
    silent = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(1, 1000, 1))
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "get", silent.get)
        assert next(snapshots) is None
    assert next(snapshots).state is JobState.QUEUED


def test_stats_count_the_bytes_of_all_files(jobs, submit, deliver):
    job = submit().job
    submit()
    jobs.cancel(job.id)
    assert (jobs.stats().disk_bytes, jobs.stats().disk_budget_bytes) == (6, 1000)
    deliver()
    assert jobs.stats().disk_bytes == 96


def test_figures_do_not_wait_for_a_redis_that_hangs(jobs, submit, ledger, monkeypatch):
    monkeypatch.setattr("jobs.cluster.engine.STATS_WAIT_S", 0.01)
    goes_on, hanging = threading.Event(), []
    counts = ledger.counts

    def hang():
        hanging.append(threading.current_thread())
        assert goes_on.wait(20)
        return counts()

    monkeypatch.setattr(ledger, "counts", hang)
    submit()
    assert [jobs.stats().jobs[JobState.QUEUED] for _ in range(3)] == [0, 0, 0]
    assert len(hanging) == 1  # the others do not ask again
    goes_on.set()
    hanging[0].join()
    assert jobs.stats().jobs[JobState.QUEUED] == 1


def test_an_engine_that_was_started_sends_lost_messages_again(jobs, submit, messages):
    job = submit().job
    messages.waiting.clear()  # the message is lost
    jobs.start()
    wait_until(lambda: messages.waiting)
    jobs.close()
    assert messages.waiting[0] == job.id
