import time

import pytest

from jobs.cluster.ledger import (
    ClaimState,
    JobLedger,
    LedgerLimits,
    LedgerUnavailable,
    NewLedgerJob,
    connect,
)
from jobs.errors import KeyReused, OutOfSpace, TooManyJobs, UnknownJob
from jobs.job import JobResult, JobState
from tests.support.redis_server import RedisServer, needs_redis

pytestmark = needs_redis

FIELDS = {"kind": "video", "name": "a.mov", "wish": "{}", "frames": "10", "model": "m"}
RESULT = JobResult("a_x4.mp4", "video/mp4", 700, "d" * 64, expires=0)
LEASE_S = 60.0


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    with connect(server.url) as client:
        yield client
    server.kill()


@pytest.fixture
def create_ledger(client):
    client.flushdb()

    def create_ledger(*, waiting=3, disk_bytes=1000, keep_s=60.0, lease_s=LEASE_S):
        return JobLedger(client, LedgerLimits(waiting, disk_bytes, keep_s), lease_s=lease_s)

    return create_ledger


@pytest.fixture
def ledger(create_ledger):
    return create_ledger()


@pytest.fixture
def hasty(create_ledger):
    """Of the same jobs: what is claimed through it is lost at once, without any waiting."""
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


def test_an_unknown_job_is_said_to_be(ledger):
    with pytest.raises(UnknownJob):
        ledger.get("nobody")
    assert ledger.version("nobody") is None


def test_entering_twice_is_entering_once(ledger, client):
    ledger.create(entry())
    ledger.create(entry())
    assert client.llen("enhancer:work") == 2
    assert ledger.disk_bytes() == 100


def test_the_same_key_gives_the_same_job_while_it_is_there(ledger):
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


def test_no_more_wait_than_may(create_ledger):
    ledger = create_ledger(waiting=1)
    ledger.create(entry())
    with pytest.raises(TooManyJobs, match="At most 1 jobs may wait"):
        ledger.create(entry("k"))
    claim(ledger)
    assert ledger.create(entry("k")) is None


def test_no_more_bytes_than_may(create_ledger):
    ledger = create_ledger(disk_bytes=250)
    ledger.create(entry())
    with pytest.raises(OutOfSpace, match="at most 250 bytes. Received: one .* take 260"):
        ledger.create(entry("k", size=160))
    assert ledger.create(entry("k", size=150)) is None


def test_pieces_are_taken_in_order_and_then_joined(ledger, client):
    ledger.create(entry())
    first, second = claim(ledger), claim(ledger, holder="you")
    assert (first.piece, first.attempt, first.needs_message) == (0, 1, True)
    assert (second.piece, second.attempt, second.needs_message) == (1, 1, False)
    assert claim(ledger) is None
    assert finish(ledger, second, "b") == (True, False)
    assert finish(ledger, first, "a") == (True, True)
    joining = claim(ledger)
    assert (joining.piece, ledger.parts("j")) == (2, ["a", "b"])
    assert client.llen("enhancer:work") == 1
    assert ledger.succeed("j", RESULT, "result") is True
    job = ledger.get("j")
    assert (job.state, job.frames_done) == (JobState.SUCCEEDED, 10)
    assert job.result.expires == job.expires
    assert job.expires == pytest.approx(job.finished + 60)
    assert (client.llen("enhancer:work"), ledger.disk_bytes(), ledger.active()) == (0, 700, [])


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


def test_a_piece_that_is_let_go_can_be_taken_at_once(ledger):
    ledger.create(entry())
    held = claim(ledger)
    ledger.report(held, 4)
    assert ledger.release(held, is_blameless=True) is False  # a message is under way already
    waiting = ledger.get("j")
    assert (waiting.state, waiting.frames_done, waiting.position) == (JobState.QUEUED, 0, 0)
    again = claim(ledger, holder="you")
    assert (again.piece, again.attempt) == (0, 1)
    ledger.release(again, is_blameless=False)
    assert claim(ledger).attempt == 2


def test_who_has_lost_a_piece_cannot_let_it_go(ledger, hasty):
    ledger.create(entry(pieces=1))
    lost = claim(hasty)
    claim(ledger, holder="you")
    assert ledger.release(lost, is_blameless=True) is False
    assert claim(ledger, holder="she") is None


def test_another_network_begins_again_when_nobody_works_with_the_first(ledger):
    ledger.create(entry())
    finish(ledger, claim(ledger))
    held = claim(ledger)
    assert claim(ledger, model="other") is None
    ledger.release(held, is_blameless=True)
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


def test_a_cancelled_job_is_over_for_who_works_on_it(ledger, client):
    ledger.create(entry())
    held = claim(ledger)
    assert ledger.cancel("j", 0) == "cancelled"
    assert ledger.report(held, 1) is ClaimState.OVER
    assert finish(ledger, held) == (False, False)
    assert not ledger.release(held, is_blameless=False)
    assert not ledger.fail("j", "wrong")
    assert ledger.get("j").state is JobState.CANCELLED
    assert (claim(ledger), client.llen("enhancer:work"), ledger.disk_bytes()) == (None, 0, 0)
    assert ledger.cancel("j", 0) == "nothing"


def test_what_is_forgotten_leaves_files_to_delete_and_nothing_else(ledger, client):
    ledger.create(entry(key="k"))
    ledger.fail("j", "wrong")
    assert ledger.get("j").error == "wrong"
    assert ledger.rubbish() == []
    assert ledger.cancel("j", 0) == "forgotten"
    assert ledger.rubbish() == ["j"]
    ledger.cleared("j")
    assert client.keys() == []


def test_a_job_expires(create_ledger, client):
    ledger = create_ledger(keep_s=0)
    ledger.create(entry())
    ledger.succeed("j", RESULT, "result")
    assert ledger.rubbish() == ["j"]
    ledger.cleared("j")
    assert client.keys() == []


def test_a_job_does_not_expire_before_its_time(ledger):
    ledger.create(entry())
    ledger.succeed("j", RESULT, "result")
    assert ledger.rubbish() == []


def test_files_stay_while_somebody_reads_them(ledger):
    ledger.create(entry())
    ledger.succeed("j", RESULT, "result")
    ledger.begin_reading("j", "reader", 60)
    ledger.cancel("j", 0)
    assert ledger.rubbish() == []
    ledger.end_reading("j", "reader")
    assert ledger.rubbish() == ["j"]


def test_files_of_a_job_that_was_never_entered_go(ledger):
    ledger.announce("j", 0)
    ledger.announce("k", 60)
    assert ledger.rubbish() == ["j"]


def test_files_of_a_job_that_was_entered_stay(ledger):
    ledger.announce("j", 0)
    ledger.create(entry())
    assert ledger.rubbish() == []


def test_turns_are_taken_by_one(ledger):
    assert ledger.acquire("sweep", 60)
    assert not ledger.acquire("sweep", 60)


def test_a_turn_that_is_over_can_be_taken_again(ledger):
    assert ledger.acquire("sweep", 0.05)
    time.sleep(0.1)
    assert ledger.acquire("sweep", 60)


def test_a_ledger_without_redis_says_so():
    ledger = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(1, 1, 1))
    with pytest.raises(LedgerUnavailable):
        ledger.get("j")
