import time

import pytest

from jobs.cluster.client import connect
from jobs.cluster.ledger import (
    ClaimState,
    JobLedger,
    LedgerLimits,
    LedgerUnavailable,
    NewLedgerJob,
)
from jobs.errors import KeyReused, OutOfSpace, TooManyJobs, UnknownJob
from jobs.job import OPTIONS_FIELD, JobResult, JobState
from tests.support.redis_server import needs_redis
from tests.support.waiting import wait_until

pytestmark = needs_redis

FIELDS = {"kind": "video", "name": "a.mov", OPTIONS_FIELD: "{}", "frames": "10", "model": "m"}
RESULT = JobResult("a_x4.mp4", "video/mp4", 700, "d" * 64, expires=0)
LEASE_S = 60.0


@pytest.fixture
def create_ledger(redis_client):
    redis_client.flushdb()

    def create_ledger(*, waiting=3, disk_bytes=1000, expiry_s=60.0, lease_s=LEASE_S):
        return JobLedger(redis_client, LedgerLimits(waiting, disk_bytes, expiry_s), lease_s=lease_s)

    return create_ledger


@pytest.fixture
def ledger(create_ledger):
    return create_ledger()


@pytest.fixture
def hasty(create_ledger):
    """A ledger of the same jobs with leases that end at once, so that no test has to wait."""
    return create_ledger(lease_s=0)


def entry(job_id="j", *, key="", fingerprint="f", size=100, pieces=2):
    return NewLedgerJob(job_id, key, fingerprint, size, pieces, FIELDS)


def claim(ledger, job_id="j", holder="me", model="m"):
    return ledger.claim(job_id, holder, model)


def finish(ledger, piece, name="part", size=10, frames=5):
    return ledger.finish(piece, name, size, frames)


def test_a_new_job_waits(ledger):
    assert ledger.create(entry()) is None
    ledger.create(entry("k"))
    job = ledger.get("k")
    assert (job.state, job.version, job.frames, job.frames_done) == (JobState.QUEUED, 1, 10, 0)
    assert (job.kind, job.name, job.position, job.rate) == ("video", "a.mov", 1, None)
    assert abs(job.created - time.time()) < 5
    assert ledger.counts()[JobState.QUEUED] == 2


def test_an_unknown_job_is_reported(ledger):
    with pytest.raises(UnknownJob):
        ledger.get("nobody")


def test_creating_a_job_twice_creates_it_once(ledger, redis_client):
    ledger.create(entry())
    ledger.create(entry())
    assert redis_client.llen("enhancer:work") == 2
    assert ledger.disk_bytes() == 100


def test_a_key_gives_the_same_job_while_that_is_stored(ledger):
    ledger.create(entry(key="k"))
    assert ledger.create(entry("other", key="k")) == "j"
    assert ledger.find("k", "f") == "j"
    with pytest.raises(KeyReused):
        ledger.create(entry("other", key="k", fingerprint="g"))
    with pytest.raises(KeyReused):
        ledger.find("k", "g")
    ledger.fail("j", "wrong")
    ledger.cancel("j", 0)
    assert ledger.find("k", "f") is None
    assert ledger.create(entry("other", key="k", fingerprint="g")) is None


def test_the_number_of_queued_jobs_is_limited(create_ledger):
    ledger = create_ledger(waiting=1)
    ledger.create(entry())
    with pytest.raises(TooManyJobs, match="At most 1 jobs may wait"):
        ledger.create(entry("k"))
    claim(ledger)
    assert ledger.create(entry("k")) is None


def test_the_size_of_all_files_is_limited(create_ledger):
    ledger = create_ledger(disk_bytes=250)
    ledger.create(entry())
    with pytest.raises(OutOfSpace, match="Received: 160 bytes more than the 100 bytes"):
        ledger.create(entry("k", size=160))
    assert ledger.create(entry("k", size=150)) is None


def test_pieces_are_claimed_in_order_and_then_joined(ledger, redis_client):
    ledger.create(entry())
    first, second = claim(ledger), claim(ledger, holder="you")
    assert (first.piece, first.attempt, first.needs_message) == (0, 1, True)
    assert (second.piece, second.attempt, second.needs_message) == (1, 1, False)
    assert claim(ledger) is None
    assert finish(ledger, second, "b") == (True, False)
    assert finish(ledger, first, "a") == (True, True)
    joining = claim(ledger)
    assert (joining.piece, ledger.parts("j")) == (2, ["a", "b"])
    assert redis_client.llen("enhancer:work") == 1
    assert ledger.succeed("j", RESULT, "result") is True
    job = ledger.get("j")
    assert (job.state, job.frames_done) == (JobState.SUCCEEDED, 10)
    assert job.result.expires == job.expires
    assert job.expires == pytest.approx(job.finished + 60)
    assert (redis_client.llen("enhancer:work"), ledger.disk_bytes(), ledger.active_jobs()) == (
        0,
        700,
        [],
    )


def test_a_lease_that_is_not_renewed_ends(ledger, hasty):
    ledger.create(entry())
    first = claim(hasty)
    again = claim(ledger, holder="you")
    assert (again.piece, again.attempt) == (0, 2)
    assert ledger.report(first, 3) is ClaimState.LOST
    assert ledger.report(again, 1) is ClaimState.OURS
    assert ledger.get("j").frames_done == 1


def test_a_lease_that_is_renewed_goes_on(ledger, hasty):
    ledger.create(entry(pieces=1))
    held = claim(hasty)
    for frames in (1, None, 2):
        time.sleep(0.5)  # a rate is measured over a second at least
        assert ledger.report(held, frames) is ClaimState.OURS
    assert claim(ledger) is None
    assert ledger.get("j").frames_done == 2
    assert ledger.get("j").rate > 0


def test_the_first_file_of_a_segment_counts(ledger, hasty):
    ledger.create(entry(pieces=1))
    slow = claim(hasty)
    quick = claim(ledger, holder="you")
    assert finish(ledger, slow, "slow") == (True, True)
    assert ledger.report(quick) is ClaimState.LOST
    assert finish(ledger, quick, "quick") == (False, False)
    assert ledger.parts("j") == ["slow"]


def test_the_first_result_counts(ledger):
    ledger.create(entry(pieces=1))
    assert ledger.succeed("j", RESULT, "first")
    assert not ledger.succeed("j", RESULT, "second")
    assert ledger.fields("j")["result_file"] == "first"


def test_a_piece_that_was_given_up_can_be_claimed_at_once(ledger):
    ledger.create(entry())
    held = claim(ledger)
    ledger.report(held, 4)
    assert ledger.release(held, is_counted=False) is False  # a message is under way already
    waiting = ledger.get("j")
    assert (waiting.state, waiting.frames_done, waiting.position) == (JobState.QUEUED, 0, 0)
    again = claim(ledger, holder="you")
    assert (again.piece, again.attempt) == (0, 1)
    ledger.release(again, is_counted=True)
    assert claim(ledger).attempt == 2


def test_a_worker_that_lost_its_piece_cannot_give_it_up(ledger, hasty):
    ledger.create(entry(pieces=1))
    lost = claim(hasty)
    claim(ledger, holder="you")
    assert ledger.release(lost, is_counted=False) is False
    assert claim(ledger, holder="she") is None


def test_another_network_begins_again_when_no_worker_uses_the_first(ledger):
    ledger.create(entry())
    finish(ledger, claim(ledger))
    held = claim(ledger)
    assert claim(ledger, model="other") is None
    ledger.release(held, is_counted=False)
    begun = claim(ledger, model="other")
    assert (begun.piece, begun.attempt) == (0, 1)
    assert (ledger.parts("j"), ledger.get("j").frames_done) == ([], 0)


def test_messages_are_sent_when_none_is_under_way(ledger):
    ledger.create(entry())
    assert ledger.needs_message("j", is_idle=False)
    assert not ledger.needs_message("j", is_idle=False)
    assert ledger.needs_message("j", is_idle=True)
    claim(ledger), claim(ledger)
    assert not ledger.needs_message("j", is_idle=True)


def test_messages_are_sent_when_a_lease_has_ended(ledger, hasty):
    ledger.create(entry())
    claim(ledger)
    held = claim(hasty)
    assert ledger.needs_message("j", is_idle=True)
    ledger.report(held)
    assert not ledger.needs_message("j", is_idle=True)


def test_a_cancelled_job_is_over_for_its_worker(ledger, redis_client):
    ledger.create(entry())
    held = claim(ledger)
    assert ledger.cancel("j", 0) == "cancelled"
    assert ledger.report(held, 1) is ClaimState.OVER
    assert finish(ledger, held) == (False, False)
    assert not ledger.release(held, is_counted=True)
    assert not ledger.fail("j", "wrong")
    assert ledger.get("j").state is JobState.CANCELLED
    assert (claim(ledger), redis_client.llen("enhancer:work"), ledger.disk_bytes()) == (None, 0, 0)
    assert ledger.cancel("j", 60) == "forgotten"
    assert ledger.cancel("j", 60) == "nothing"
    assert ledger.report(held, 1) is ClaimState.OVER
    assert finish(ledger, held) == (False, False)
    assert redis_client.keys() == ["enhancer:rubbish"]  # files that the worker may still store
    assert ledger.collect_expired() == []


def test_a_key_whose_job_is_deleted_at_this_moment_is_free(ledger, monkeypatch, redis_client):
    ledger.create(entry(key="k"))

    def get(_key):
        ledger.cancel("j", 0), ledger.cancel("j", 0)
        return "j"

    monkeypatch.setattr(redis_client, "get", get)
    assert ledger.find("k", "f") is None


def test_a_forgotten_job_leaves_only_files_to_delete(ledger, redis_client):
    ledger.create(entry(key="k"))
    ledger.fail("j", "wrong")
    assert ledger.get("j").error == "wrong"
    assert ledger.collect_expired() == []
    assert ledger.cancel("j", 0) == "forgotten"
    assert ledger.collect_expired() == ["j"]
    ledger.forget_files("j")
    assert redis_client.keys() == []


def test_a_job_expires(create_ledger, redis_client):
    ledger = create_ledger(expiry_s=0)
    ledger.create(entry())
    ledger.succeed("j", RESULT, "result")
    assert ledger.collect_expired() == ["j"]
    ledger.forget_files("j")
    assert redis_client.keys() == []


def test_a_job_does_not_expire_before_its_time(ledger):
    ledger.create(entry())
    ledger.succeed("j", RESULT, "result")
    assert ledger.collect_expired() == []


def test_files_stay_while_somebody_reads_them(ledger):
    ledger.create(entry())
    ledger.succeed("j", RESULT, "result")
    ledger.begin_reading("j", "reader", 60)
    ledger.cancel("j", 0)
    assert ledger.collect_expired() == []
    ledger.end_reading("j", "reader")
    assert ledger.collect_expired() == ["j"]


def test_files_of_a_job_that_was_never_created_are_deleted(ledger):
    ledger.expect_upload("j", 0)
    ledger.expect_upload("k", 60)
    assert ledger.collect_expired() == ["j"]


def test_files_of_a_job_that_was_created_stay(ledger):
    ledger.expect_upload("j", 0)
    ledger.create(entry())
    assert ledger.collect_expired() == []


def test_a_turn_is_taken_once(ledger):
    assert ledger.acquire_turn("sweep", 60)
    assert not ledger.acquire_turn("sweep", 60)


def test_an_old_turn_can_be_taken_again(ledger):
    assert ledger.acquire_turn("sweep", 0.05)
    wait_until(lambda: ledger.acquire_turn("sweep", 60))


def test_a_ledger_without_redis_is_unavailable():
    ledger = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(1, 1, 1))
    with pytest.raises(LedgerUnavailable):
        ledger.get("j")
