"""The engine and a worker in one process, without messages in between."""

import io
import time

import pytest

from core.errors import InvalidDetail, TooMuchMemory, UnreadableImage
from core.options import OutputOptions
from jobs.cluster.broker import Sweeper
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import JobLedger, LedgerLimits, connect
from jobs.cluster.storage import Storage
from jobs.cluster.worker import ClusterWorker, WorkerTimings
from jobs.errors import (
    EngineUnavailable,
    JobUnfinished,
    KeyReused,
    OutOfSpace,
    ResultGone,
    TooManyJobs,
    UnknownJob,
)
from jobs.job import JobState
from tests.support.letters import result_of
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stand_in_worker import letters_workshop
from tests.support.stand_ins import repeat

pytestmark = needs_redis


class Messages:
    """Those that were sent and not yet taken."""

    queue = "enhancer"

    def __init__(self):
        self.waiting = []

    def send(self, job_id):
        self.waiting.append(job_id)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    with connect(server.url) as client:
        yield client
    server.kill()


@pytest.fixture
def messages():
    return Messages()


@pytest.fixture
def ledger(client):
    client.flushdb()
    return JobLedger(client, LedgerLimits(waiting=3, disk_bytes=1000, keep_s=60), lease_s=0.3)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def jobs(ledger, storage, messages):
    return ClusterJobs(ledger, storage, messages, letters_workshop())


@pytest.fixture
def create_worker(ledger, storage, messages, tmp_path):
    def create_worker(network=repeat, times=WorkerTimings(frame_s=30, stop_s=10)):  # noqa: B008
        (tmp_path / "scratch").mkdir(exist_ok=True)
        workshop = letters_workshop(network)
        return ClusterWorker(ledger, storage, messages, workshop, times, tmp_path / "scratch")

    return create_worker


@pytest.fixture
def submit(jobs):
    def submit(text=b"abcdef", name="a.txt", *, key=None, caller="me", **wish):
        return jobs.submit(io.BytesIO(text), name, OutputOptions(**wish), key=key, caller=caller)

    return submit


@pytest.fixture
def work_off(messages, create_worker):
    """Have a worker take all messages."""

    def work_off(worker=None):
        worker = worker or create_worker()
        while messages.waiting:
            worker.work(messages.waiting.pop(0))

    return work_off


def test_a_job_is_computed_and_fetched(jobs, submit, work_off, tmp_path):
    job, is_new = submit(name="../holiday.txt")
    assert is_new
    assert (job.state, job.kind, job.name) == (JobState.QUEUED, "video", "holiday.txt")
    work_off()
    done = jobs.get(job.id)
    assert (done.state, done.frames_done) == (JobState.SUCCEEDED, 6)
    with jobs.open_result(job.id) as (file, result):
        assert file.read() == result_of(b"abcdef")
        assert (result.name, result.size, result.mimetype) == ("holiday_x4.txt", 96, "text/plain")
        file.seek(16)
        assert file.read(1) == b"b"
    assert len([path for path in (tmp_path / "storage").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("text", "wish", "error"),
    [(b"", {}, UnreadableImage), (b"a", {"detail": 2.0}, InvalidDetail)],
)
def test_what_cannot_be_worked_on_is_refused(submit, jobs, text, wish, error):
    with pytest.raises(error):
        submit(text, **wish)
    assert sum(jobs.figures().jobs.values()) == 0


def test_frames_that_take_too_much_memory_are_refused(ledger, storage, messages):
    workshop = letters_workshop()
    workshop.admission.budget = 1
    jobs = ClusterJobs(ledger, storage, messages, workshop)
    with pytest.raises(TooMuchMemory):
        jobs.submit(io.BytesIO(b"a"), "a", OutputOptions(), key=None, caller="")


def test_a_file_larger_than_all_room_is_refused_on_the_way(submit):
    with pytest.raises(OutOfSpace, match="at most 1000 bytes. Received: more"):
        submit(b"a" * 1001)


def test_what_is_refused_leaves_no_files(submit, tmp_path):
    for _ in range(3):
        submit()
    with pytest.raises(TooManyJobs):
        submit()
    assert len(list((tmp_path / "storage").glob("*/source"))) == 3


def test_a_key_gives_the_same_job(submit, tmp_path):
    first = submit(key="k")
    again = submit(key="k")
    assert (again.job.id, again.is_new) == (first.job.id, False)
    assert submit(key="k", caller="you").job.id != first.job.id
    with pytest.raises(KeyReused):
        submit(b"other", key="k")
    with pytest.raises(KeyReused):
        submit(key="k", codec="x")
    assert len(list((tmp_path / "storage").glob("*/source"))) == 2


def test_the_same_request_at_the_same_time_makes_one_job(submit, jobs, ledger, monkeypatch):
    first = submit(key="k")
    monkeypatch.setattr(ledger, "find", lambda *_: None)  # the other one was not there yet
    assert submit(key="k").job.id == first.job.id
    assert jobs.figures().jobs[JobState.QUEUED] == 1


def test_there_is_no_result_before_the_end(jobs, submit):
    job = submit().job
    with pytest.raises(JobUnfinished, match="one that is queued"), jobs.open_result(job.id):
        pass


def test_there_is_no_result_of_what_was_cancelled(jobs, submit):
    ended = []
    jobs.on_final = ended.append
    job = submit().job
    jobs.cancel(job.id)
    jobs.cancel(job.id)
    assert ended == [JobState.CANCELLED]
    with pytest.raises(ResultGone, match="It was cancelled"), jobs.open_result(job.id):
        pass


def test_what_is_done_is_forgotten_when_it_is_cancelled(jobs, submit, work_off):
    job = submit().job
    work_off()
    jobs.cancel(job.id)
    with pytest.raises(UnknownJob):
        jobs.get(job.id)
    with pytest.raises(UnknownJob), jobs.open_result(job.id):
        pass
    jobs.cancel(job.id)


def test_a_result_that_is_read_stays(jobs, submit, work_off, ledger, storage, messages):
    job = submit().job
    work_off()
    sweeper = Sweeper(ledger, storage, messages)
    with jobs.open_result(job.id) as (file, _result):
        jobs.cancel(job.id)
        sweeper.sweep()
        assert file.read() == result_of(b"abcdef")
        assert ledger.rubbish() == []
    assert ledger.rubbish() == [job.id]


def test_a_watcher_sees_the_end(jobs, submit, work_off):
    job = submit().job
    watching = jobs.watch(job.id)
    assert next(watching).state is JobState.QUEUED
    work_off()
    assert [seen.state for seen in watching] == [JobState.SUCCEEDED]


def test_a_watcher_is_not_told_what_he_knows_but_the_end(jobs, submit, work_off, monkeypatch):
    monkeypatch.setattr("jobs.cluster.engine.TELL_EVERY_S", 0.0)
    monkeypatch.setattr("jobs.cluster.engine.LOOK_EVERY_S", 0.01)
    job = submit().job
    assert next(jobs.watch(job.id, job.version)) is None
    work_off()
    version = jobs.get(job.id).version
    assert [seen.version for seen in jobs.watch(job.id, version)] == [version]


def test_watching_ends_with_the_job_and_with_the_engine(jobs, submit):
    with pytest.raises(UnknownJob):
        jobs.watch("nobody")
    first, second = submit().job, submit().job
    watching = jobs.watch(second.id)
    next(watching)
    jobs.cancel(first.id)
    jobs.stop()
    assert list(watching) == []


def test_a_dead_workers_piece_is_offered_to_others(submit, ledger, storage, messages, work_off):
    job = submit().job
    messages.waiting.clear()
    ledger.claim(job.id, "dead", letters_workshop().model)
    sweeper = Sweeper(ledger, storage, messages)
    time.sleep(0.35)
    sweeper.sweep()
    assert messages.waiting == [job.id]
    work_off()
    assert ledger.get(job.id).state is JobState.SUCCEEDED


def test_a_fault_of_the_machine_is_tried_again_elsewhere(jobs, submit, work_off, create_worker):
    faults = [OSError("disk full"), OSError("disk full")]

    def network(lr):
        if faults:
            raise faults.pop()
        return repeat(lr)

    job = submit().job
    work_off(create_worker(network))
    with jobs.open_result(job.id) as (file, _result):
        assert file.read() == result_of(b"abcdef")


def test_a_fault_that_stays_fails_the_job(jobs, submit, work_off, create_worker):
    def network(_lr):
        raise MemoryError

    job = submit().job
    work_off(create_worker(network))
    failed = jobs.get(job.id)
    assert failed.state is JobState.FAILED
    assert failed.error.startswith("Segment 1 must come to an end. Begun 3 times")


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


def test_a_worker_that_is_stuck_shows_no_sign_of_life(submit, ledger, create_worker):
    job = submit().job

    def network(lr):
        time.sleep(0.4)
        worker.beat()
        assert worker.is_stuck
        assert ledger.claim(job.id, "other", letters_workshop().model).piece == 0
        return repeat(lr)

    worker = create_worker(network, WorkerTimings(frame_s=0.2, stop_s=10))
    worker.work(job.id)
    assert not worker.is_stuck


def test_a_worker_survives_that_the_ledger_does_not_answer(storage, messages, tmp_path):
    ledger = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(1, 1, 1))
    times = WorkerTimings(frame_s=1, stop_s=1)
    ClusterWorker(ledger, storage, messages, letters_workshop(), times, tmp_path).work("j")


def test_an_engine_that_does_not_answer_says_so(storage, messages):
    ledger = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(1, 1000, 1))
    jobs = ClusterJobs(ledger, storage, messages, letters_workshop())
    with pytest.raises(EngineUnavailable) as raised:
        jobs.get("j")
    assert raised.value.retry_after_s > 0
    with pytest.raises(EngineUnavailable):
        jobs.submit(io.BytesIO(b"a"), "a", OutputOptions(), key=None, caller="")
    assert jobs.figures().jobs == dict.fromkeys(JobState, 0)


def test_figures_tell_what_is_there(jobs, submit, work_off):
    job = submit().job
    submit()
    jobs.cancel(job.id)
    figures = jobs.figures()
    assert figures.jobs == dict.fromkeys(JobState, 0) | {JobState.QUEUED: 1, JobState.CANCELLED: 1}
    assert (figures.disk_bytes, figures.disk_budget_bytes) == (6, 1000)
    work_off()
    assert jobs.figures().disk_bytes == 96


def test_an_engine_that_was_started_sweeps(jobs, submit, messages):
    job = submit().job
    messages.waiting.clear()  # the message is lost
    jobs.start()
    deadline = time.monotonic() + 5
    while not messages.waiting and time.monotonic() < deadline:
        time.sleep(0.01)
    jobs.close()
    assert messages.waiting[0] == job.id
