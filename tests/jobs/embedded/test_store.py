from contextlib import closing

import pytest

from core.options import OutputOptions
from jobs.embedded.store import JobStore
from jobs.errors import KeyReused, TooManyJobs
from jobs.job import Job, JobResult, JobState, NewJob

RESULT = JobResult("a_x4.mp4", "video/mp4", 700, "d" * 64, expires=60.0)


@pytest.fixture
def store(tmp_path):
    with closing(JobStore(tmp_path)) as store:
        yield store


@pytest.fixture
def add(store):
    def add(job_id, *, key=None, digest="f", max_waiting=3):
        job = Job(job_id, 1, JobState.QUEUED, "video", "a.mov", OutputOptions(), 10, 0, 5.0)
        new = NewJob(job, "me", key, digest, 100, 2, "model")
        return store.add(new, max_waiting=max_waiting)

    return add


def test_another_process_sees_a_stored_job(store, add, tmp_path):
    add("a")
    with closing(JobStore(tmp_path)) as other:
        assert other.get("a") == store.get("a")
        assert other.get("a").frames == 10
        assert other.get("b") is None


def test_the_position_counts_all_jobs_that_run(store, add):
    for job_id in "abc":
        add(job_id)
    store.claim("b", 6.0, "model")  # "a" has to be tried again later
    assert [store.get(job_id).position for job_id in "abc"] == [1, None, 2]


def test_a_key_returns_its_job_or_is_refused(add):
    assert add("a", key="k") is None
    assert add("b", key="k").id == "a"
    with pytest.raises(KeyReused):
        add("b", key="k", digest="g")


def test_a_key_of_an_expired_job_is_free(store, add):
    add("a", key="k")  # at 5 s
    store.cancel("a", 4.0, 5.0)
    assert add("b", key="k", digest="g") is None
    assert store.get("a") is None


def test_only_a_job_that_has_ended_is_deleted(store, add):
    add("a")
    store.delete("a")
    store.claim("a", 6.0, "model")
    store.delete("a")
    assert store.state("a") is JobState.RUNNING
    store.fail("a", 7.0, "wrong", 60.0)
    store.delete("a")
    assert store.state("a") is None


def test_a_full_queue_refuses_a_job(store, add):
    add("a")
    with pytest.raises(TooManyJobs):
        add("b", max_waiting=1)
    assert store.counts()[JobState.QUEUED] == 1


def test_a_claim_counts_attempts_and_tells_the_former_model(store, add):
    add("a")
    first, second = store.claim("a", 6.0, "other"), store.claim("a", 7.0, "other")
    assert (first.attempts, first.model_id) == (1, "model")
    assert (second.attempts, second.model_id) == (2, "other")
    assert (second.job.state, second.job.started) == (JobState.RUNNING, 6.0)


@pytest.mark.parametrize(("counts", "attempts"), [(True, 2), (False, 1)])
def test_a_job_that_was_put_back_is_due_later(store, add, counts, attempts):
    add("a")
    store.claim("a", 6.0, "model")
    store.requeue("a", 8.0, counts=counts)
    assert store.get("a").state is JobState.QUEUED
    assert (store.due(7.9), store.due(8.0)) == ([], ["a"])
    assert store.claim("a", 8.0, "model").attempts == attempts


def test_a_finished_segment_resets_the_attempts(store, add):
    add("a")
    store.claim("a", 6.0, "model")
    store.reset_attempts("a")
    assert store.claim("a", 7.0, "model").attempts == 1


def test_a_running_job_is_due_because_its_process_may_be_dead(store, add):
    add("a")
    store.claim("a", 6.0, "model")
    assert store.due(6.0) == ["a"]


def test_a_job_that_succeeded_has_its_result(store, add):
    add("a")
    store.claim("a", 6.0, "model")
    store.set_progress("a", 3, 1.5)
    assert (store.get("a").frames_done, store.get("a").rate) == (3, 1.5)
    assert store.succeed("a", 9.0, RESULT)
    done = store.get("a")
    assert (done.state, done.frames_done, done.result) == (JobState.SUCCEEDED, 10, RESULT)
    assert (store.expired(59.0), store.expired(60.0)) == ([], ["a"])


def test_a_cancelled_job_cannot_succeed_or_fail(store, add):
    add("a")
    store.claim("a", 6.0, "model")
    assert store.cancel("a", 7.0, 60.0)
    assert not store.succeed("a", 8.0, RESULT)
    assert not store.fail("a", 8.0, "wrong", 60.0)
    assert not store.cancel("a", 8.0, 60.0)
    assert store.state("a") is JobState.CANCELLED
    assert store.claim("a", 9.0, "model") is None
