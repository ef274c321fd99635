"""What every engine does, tested with the embedded and with the cluster engine."""

import io
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from core.errors import InvalidDetail, TooMuchMemory, UnreadableImage
from core.options import OutputOptions
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import JobLedger, LedgerLimits
from jobs.cluster.maintenance import Sweeper
from jobs.cluster.storage import Storage
from jobs.cluster.worker import ClusterWorker, WorkerTimings
from jobs.embedded import runner
from jobs.embedded.engine import EmbeddedJobs, EmbeddedLimits
from jobs.engine import EngineStats, copy_upload
from jobs.errors import (
    JobUnfinished,
    KeyReused,
    OutOfSpace,
    ResultGone,
    TooManyJobs,
    UnknownJob,
)
from jobs.job import JobState
from tests.jobs.conftest import DISK_BYTES, EXPIRY_S, MAX_WAITING, TIMEOUT_S, Gate
from tests.support.folders import files_in
from tests.support.media_files import expected
from tests.support.redis_server import needs_redis
from tests.support.stand_ins import repeat
from tests.support.waiting import wait_until

LEVELS = bytes(range(1, 11))  # four segments


class EmbeddedHarness:
    """Embedded engines on one folder, as several server processes have them."""

    def __init__(self, folder, context):
        self.folder, self._context = folder, context
        self._engines = []

    def create_engine(self):
        limits = EmbeddedLimits(self.folder, DISK_BYTES, MAX_WAITING)
        self._engines.append(EmbeddedJobs(limits, self._context))
        return self._engines[-1]

    def sweep(self):
        """Delete unneeded files: engines do so at once."""

    def close(self):
        for engine in self._engines:
            engine.close()


class LocalMessages:
    """Messages to the worker in this process."""

    queue = "enhancer"

    def __init__(self):
        self.waiting = queue.Queue()

    def send(self, job_id):
        self.waiting.put(job_id)


class ClusterHarness:
    """Cluster engines with one Redis and one storage, and a worker in a thread."""

    def __init__(self, folder, context, client, scratch):
        self.folder, self._context = folder, context
        limits = LedgerLimits(MAX_WAITING, DISK_BYTES, EXPIRY_S)
        self._ledger, self._storage = JobLedger(client, limits), Storage(str(folder))
        self._messages = LocalMessages()
        self._worker = ClusterWorker(
            self._ledger,
            self._storage,
            self._messages,
            context,
            WorkerTimings(frame_s=30, stop_s=0, pause_s=0),
            scratch,
        )
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self._engines = []

    def create_engine(self):
        self._engines.append(
            ClusterJobs(self._ledger, self._storage, self._messages, self._context)
        )
        return self._engines[-1]

    def sweep(self):
        """Delete the files of forgotten jobs."""
        Sweeper(self._ledger, self._storage, self._messages).sweep()

    def close(self):
        for engine in self._engines:
            engine.close()
        self._worker.stop()
        self._messages.send(None)
        self._thread.join()

    def _work(self):
        while (job_id := self._messages.waiting.get()) is not None:
            self._worker.work(job_id)


@pytest.fixture(params=["embedded", pytest.param("cluster", marks=needs_redis)])
def backend(request, tmp_path, context, network, monkeypatch):
    if request.param == "embedded":
        monkeypatch.setattr(runner, "RETRY_S", 0.0)
        backend = EmbeddedHarness(tmp_path / "jobs", context)
    else:
        client = request.getfixturevalue("redis_client")
        client.flushdb()
        (tmp_path / "scratch").mkdir()
        backend = ClusterHarness(tmp_path / "jobs", context, client, tmp_path / "scratch")
    yield backend
    if isinstance(network.before, Gate):
        network.before.open()
    backend.close()


@pytest.fixture
def jobs(backend):
    return backend.create_engine()


def read_result(jobs, job_id):
    with jobs.open_result(job_id) as (file, result):
        return file.read(), result


def jobs_with_files(backend):
    names = [path.relative_to(backend.folder).parts for path in files_in(backend.folder)]
    return {parts[0] for parts in names if len(parts) > 1}


# Submitting


def test_a_new_job_is_described(submit, network):
    gate = Gate(network)
    job, is_new = submit(LEVELS, "../films/holi\nday.mov")
    assert is_new
    assert (job.kind, job.name, job.frames) == ("video", "holiday.mov", 10)
    assert (job.error, job.damage, job.result, job.expires) == (None, None, None, None)
    gate.open()


def test_a_job_is_computed_and_its_result_kept(jobs, submit, finish):
    job = submit(LEVELS).job
    done = finish(job.id)
    assert (done.state, done.frames_done, done.error) == (JobState.SUCCEEDED, 10, None)
    assert done.version > job.version
    assert done.created <= done.started <= done.finished
    content, result = read_result(jobs, job.id)
    assert content == expected(LEVELS, repeat)
    assert result == done.result
    assert (result.name, result.mimetype) == ("clip_x4.bin", "application/octet-stream")
    assert result.size == len(content)
    assert result.expires == done.expires == pytest.approx(done.finished + EXPIRY_S, abs=1)


def test_a_result_can_be_read_from_the_middle(jobs, submit, finish):
    job = submit(b"\1\2").job
    finish(job.id)
    with jobs.open_result(job.id) as (file, result):
        file.seek(result.size // 2)
        assert file.read(1) == b"\2"
        file.seek(0)
        assert file.read(1) == b"\1"


def test_only_the_result_of_a_finished_job_is_kept(backend, submit, finish):
    job = submit(LEVELS).job
    size = finish(job.id).result.size

    def sizes():
        paths = [path for path in files_in(backend.folder / job.id) if path.name != "lock"]
        with suppress(FileNotFoundError):  # deleted meanwhile
            return [path.stat().st_size for path in paths]

    wait_until(lambda: sizes() == [size])
    assert sizes() == [size]


def test_jobs_are_computed_in_their_order(jobs, submit, finish, network):
    gate = Gate(network)
    first = submit(b"\1\2\3").job
    gate.wait()
    second, third = submit(b"\4").job, submit(b"\5").job
    assert (jobs.get(first.id).state, jobs.get(first.id).position) == (JobState.RUNNING, None)
    assert [jobs.get(job.id).position for job in (second, third)] == [1, 2]
    gate.open()
    finish(third.id)
    assert network.seen == [1, 2, 3, 4, 5]


def test_the_options_go_with_the_job(jobs, submit, finish, opened):
    values = {"format": "mp4", "quality": 7, "is_coherent": False, "width": 20, "height": 20}
    job = submit(LEVELS, **values).job
    finish(job.id)
    options = OutputOptions(**values)
    assert opened == [options] * 2
    assert jobs.get(job.id).options == options


def test_engines_with_one_backend_have_the_same_jobs(backend, jobs, submit, finish):
    job = submit(LEVELS, engine=backend.create_engine()).job
    assert finish(job.id).state is JobState.SUCCEEDED
    assert read_result(jobs, job.id)[0] == expected(LEVELS, repeat)


# Refusing


@pytest.mark.parametrize(
    ("content", "options", "error"),
    [(b"bad", {}, UnreadableImage), (LEVELS, {"detail": 0.5}, InvalidDetail)],
)
def test_a_file_that_cannot_be_processed_is_refused_at_once(
    backend, jobs, submit, content, options, error
):
    with pytest.raises(error):
        submit(content, **options)
    assert jobs_with_files(backend) == set()
    assert jobs.stats().jobs == dict.fromkeys(JobState, 0)


def test_frames_that_never_fit_into_memory_are_refused_at_once(backend, submit, context):
    context.admission.budget = 1000
    with pytest.raises(TooMuchMemory):
        submit(LEVELS)
    assert jobs_with_files(backend) == set()


def test_a_full_queue_refuses_jobs(backend, submit, network):
    gate = Gate(network)
    accepted = {submit(b"\1").job.id}
    gate.wait()
    accepted |= {submit(b"\2").job.id for _ in range(MAX_WAITING)}
    with pytest.raises(TooManyJobs, match="At most 5 jobs may wait") as refused:
        submit(b"\2")
    assert refused.value.retry_after_s > 0
    assert jobs_with_files(backend) == accepted
    gate.open()


def test_a_file_larger_than_the_disk_budget_is_refused(backend, jobs, submit):
    with pytest.raises(OutOfSpace, match="must (take|have) at most 10") as refused:
        submit(bytes(DISK_BYTES + 1))
    assert refused.value.retry_after_s > 0
    assert jobs_with_files(backend) == set()
    assert jobs.stats().disk_bytes < 1_000_000


def test_no_more_of_an_upload_is_copied_than_allowed(tmp_path):
    with pytest.raises(OutOfSpace, match="at most 10 bytes. Received: more"):
        copy_upload(io.BytesIO(bytes(11)), tmp_path / "copy", max_bytes=10)
    assert copy_upload(io.BytesIO(bytes(10)), tmp_path / "copy", max_bytes=10).size == 10


# Idempotency keys


def test_a_key_stands_for_one_job_while_that_is_stored(backend, submit, finish):
    first = submit(LEVELS, key="a").job
    again, is_new = submit(LEVELS, "other.mov", key="a")
    assert (again.id, again.name, is_new) == (first.id, "clip.mov", False)
    assert jobs_with_files(backend) == {first.id}
    finish(first.id)
    assert not submit(LEVELS, key="a").is_new


def test_keys_of_other_callers_are_independent(submit):
    submit(LEVELS, key="a")
    assert submit(LEVELS, key="a", caller="you").is_new
    assert submit(LEVELS).is_new


@pytest.mark.parametrize(
    "changed",
    [{"content": b"\1"}, {"content": LEVELS, "quality": 3}, {"content": LEVELS, "scale": 2.0}],
)
def test_a_key_with_another_file_or_other_options_is_refused(submit, changed):
    submit(LEVELS, key="a")
    with pytest.raises(KeyReused):
        submit(**changed, key="a")


def test_concurrent_requests_with_one_key_make_one_job(backend, submit):
    engines = [backend.create_engine(), backend.create_engine()]
    with ThreadPoolExecutor(8) as pool:
        submissions = list(
            pool.map(lambda n: submit(LEVELS, key="a", engine=engines[n % 2]), range(8))
        )
    ids = {submission.job.id for submission in submissions}
    assert len(ids) == 1
    assert sum(submission.is_new for submission in submissions) == 1
    assert jobs_with_files(backend) == ids


# Failing


def test_a_temporary_fault_is_retried(jobs, submit, finish, network):
    faults = [ZeroDivisionError("once"), ZeroDivisionError("twice")]

    def fail():
        if faults:
            raise faults.pop()

    network.before = fail
    job = submit(LEVELS).job
    assert finish(job.id).state is JobState.SUCCEEDED
    assert read_result(jobs, job.id)[0] == expected(LEVELS, repeat)


def test_a_lasting_fault_fails_the_job_without_its_detail(submit, finish, network):
    def fail():
        raise ZeroDivisionError("a secret")

    network.before = fail
    done = finish(submit(LEVELS).job.id)
    assert done.state is JobState.FAILED
    assert "secret" not in done.error
    assert done.expires == pytest.approx(done.finished + EXPIRY_S, abs=1)


def test_a_damaged_frame_fails_the_job_with_its_error(backend, submit, finish, network):
    def fail():
        raise UnreadableImage("Frame 7 is damaged.")

    network.before = fail
    done = finish(submit(LEVELS).job.id)
    assert (done.state, done.error) == (JobState.FAILED, "Frame 7 is damaged.")
    wait_until(lambda: jobs_with_files(backend) == set())
    assert jobs_with_files(backend) == set()


# Results that do not exist


def test_an_unknown_job_is_reported(jobs):
    for ask in (jobs.get, jobs.watch):
        with pytest.raises(UnknownJob):
            ask("none")
    with pytest.raises(UnknownJob), jobs.open_result("none"):
        pass


def test_an_unfinished_job_has_no_result(jobs, submit, network):
    gate = Gate(network)
    running, queued = submit(LEVELS).job, submit(LEVELS).job
    gate.wait()
    with pytest.raises(JobUnfinished, match="one that is running"), jobs.open_result(running.id):
        pass
    with pytest.raises(JobUnfinished, match="one that is queued"), jobs.open_result(queued.id):
        pass
    gate.open()


def test_a_cancelled_job_has_no_result(jobs, submit, network):
    gate = Gate(network)
    job = submit(LEVELS).job
    jobs.cancel(job.id)
    gate.open()
    with pytest.raises(ResultGone, match="It was cancelled"), jobs.open_result(job.id):
        pass


def test_a_failed_job_has_no_result(jobs, submit, finish, network):
    def fail():
        raise UnreadableImage("Frame 7 is damaged.")

    network.before = fail
    job = finish(submit(LEVELS).job.id)
    with pytest.raises(ResultGone, match="It was failed"), jobs.open_result(job.id):
        pass


# Cancelling


def test_a_queued_job_is_cancelled_at_once(backend, jobs, submit, finish, network):
    gate = Gate(network)
    ended = []
    jobs.on_final = ended.append
    running, queued = submit(LEVELS).job, submit(b"\x50").job
    gate.wait()
    jobs.cancel(queued.id)
    assert ended == [JobState.CANCELLED]
    assert jobs.get(queued.id).state is JobState.CANCELLED
    assert queued.id not in jobs_with_files(backend)
    gate.open()
    finish(running.id)
    assert 0x50 not in network.seen


def test_a_running_job_is_cancelled_within_a_frame(backend, jobs, submit, finish, network):
    gate = Gate(network)
    job = submit(bytes(90)).job
    gate.wait()
    jobs.cancel(job.id)
    assert jobs.get(job.id).state is JobState.CANCELLED
    gate.open(1)
    wait_until(lambda: jobs_with_files(backend) == set())
    gate.open()
    other = submit(b"\x50").job
    assert finish(other.id).state is JobState.SUCCEEDED
    assert network.seen.count(0) <= 2  # the frame under way, and one that waited at the gate
    wait_until(lambda: jobs_with_files(backend) == {other.id})
    assert jobs.get(job.id).state is JobState.CANCELLED


@pytest.fixture(params=["succeeded", "failed", "cancelled"])
def ended(request, jobs, submit, finish, network):
    """Return a job that has ended, by each way; its idempotency key is "a"."""

    def fail():
        raise UnreadableImage("Frame 7 is damaged.")

    gate = Gate(network)
    job = submit(LEVELS, key="a").job
    gate.wait()
    if request.param == "failed":
        network.before = fail
    if request.param == "cancelled":
        jobs.cancel(job.id)
    gate.open()
    assert finish(job.id).state == request.param
    return job


def test_an_ended_job_is_deleted_with_its_key(backend, jobs, submit, ended):
    jobs.cancel(ended.id)
    for ask in (jobs.get, jobs.watch):
        with pytest.raises(UnknownJob):
            ask(ended.id)
    jobs.cancel(ended.id)
    assert jobs.stats().jobs == dict.fromkeys(JobState, 0)
    backend.sweep()
    wait_until(lambda: jobs_with_files(backend) == set())
    assert submit(b"\1", "other.mov", key="a").is_new


def test_an_ended_job_keeps_its_key_until_it_is_deleted(submit, ended):
    again, is_new = submit(LEVELS, key="a")
    assert (again.id, again.state, is_new) == (ended.id, again.state, False)
    assert again.state.is_final
    with pytest.raises(KeyReused):
        submit(b"\1", key="a")


def test_a_running_job_can_be_cancelled_and_deleted_before_its_frame_is_done(
    backend, jobs, submit, finish, network
):
    gate = Gate(network)
    job = submit(b"\1", key="a").job
    gate.wait()
    jobs.cancel(job.id)
    jobs.cancel(job.id)
    with pytest.raises(UnknownJob):
        jobs.get(job.id)
    other = submit(b"\1", key="a")
    assert other.is_new
    gate.open()
    finish(other.job.id)
    wait_until(lambda: jobs_with_files(backend) == {other.job.id})
    with pytest.raises(UnknownJob):
        jobs.get(job.id)


def test_two_deletions_at_once_end_a_job_once(backend, jobs, submit, network):
    gate = Gate(network)
    engines = [jobs, backend.create_engine()]
    ended = []
    for engine in engines:
        engine.on_final = ended.append
    job = submit(LEVELS).job
    gate.wait()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: engines[n % 2].cancel(job.id), range(8)))
    with pytest.raises(UnknownJob):
        jobs.get(job.id)
    assert ended == [JobState.CANCELLED]
    gate.open()


def test_a_job_that_is_deleted_while_it_ends_is_gone(backend, jobs, submit, network):
    for _ in range(10):
        begun = threading.Event()
        network.before = begun.set
        job = submit(b"\1").job
        assert begun.wait(TIMEOUT_S)
        jobs.cancel(job.id)  # cancels it, or deletes it if its result is stored already
        jobs.cancel(job.id)
        with pytest.raises(UnknownJob):
            jobs.get(job.id)
    assert jobs.stats().jobs == dict.fromkeys(JobState, 0)
    backend.sweep()
    wait_until(lambda: jobs_with_files(backend) == set())


def test_an_open_result_stays_complete_when_its_job_is_forgotten(jobs, submit, finish):
    job = submit(LEVELS).job
    finish(job.id)
    with jobs.open_result(job.id) as (file, _):
        jobs.cancel(job.id)
        assert file.read() == expected(LEVELS, repeat)


# Watching


def test_a_watcher_sees_all_states_in_order(jobs, submit, network):
    gate = Gate(network)
    job = submit(LEVELS).job
    gate.wait()
    snapshots = jobs.watch(job.id)
    assert next(snapshots).state is JobState.RUNNING
    gate.open()
    rest = list(snapshots)
    assert rest[-1].state is JobState.SUCCEEDED
    versions = [snapshot.version for snapshot in rest]
    assert versions == sorted(versions)


def test_a_watcher_sees_its_position_change(jobs, submit, finish, network):
    gate = Gate(network)
    first = submit(b"\1").job
    gate.wait()
    second, third = submit(b"\2").job, submit(b"\3").job
    assert [jobs.get(job.id).position for job in (first, second, third)] == [None, 1, 2]
    snapshots = jobs.watch(third.id)
    assert next(snapshots).position == 2
    jobs.cancel(second.id)
    assert next(snapshots).position == 1
    assert jobs.get(second.id).position is None
    gate.open()
    assert finish(third.id).position is None


def test_a_watcher_that_knows_the_version_waits_for_the_next(jobs, submit, network):
    jobs.keep_alive_s = 0.0
    gate = Gate(network)
    job = submit(LEVELS).job
    gate.wait()
    wait_until(lambda: jobs.get(job.id).state is JobState.RUNNING)
    snapshots = jobs.watch(job.id, after=jobs.get(job.id).version)
    assert next(snapshots) is None
    gate.open()
    *_, last = (snapshot for snapshot in snapshots if snapshot is not None)
    assert last.state is JobState.SUCCEEDED


def test_a_watcher_is_always_sent_the_final_state(jobs, submit, finish):
    done = finish(submit(b"\1").job.id)
    seen = [job.state for job in jobs.watch(done.id, after=done.version)]
    assert seen == [JobState.SUCCEEDED]


def test_watching_ends_when_the_job_disappears(jobs, submit, finish):
    done = finish(submit(b"\1").job.id)
    snapshots = jobs.watch(done.id)
    jobs.cancel(done.id)
    assert list(snapshots) == []


def test_watching_ends_when_the_engine_stops(jobs, submit, network):
    gate = Gate(network)
    snapshots = jobs.watch(submit(LEVELS).job.id)
    next(snapshots)
    jobs.stop()
    assert [job for job in snapshots if job is not None and job.state.is_final] == []
    gate.open()


# Sharing the service with pictures


def test_frames_wait_while_pictures_hold_the_memory(jobs, submit, finish, context):
    admission = context.admission
    admission.queue = 0  # full for pictures, but not for frames
    with admission.admit(admission.budget):
        job = submit(LEVELS).job
        wait_until(lambda: admission._queued)
        assert jobs.get(job.id).frames_done == 0
    assert finish(job.id).state is JobState.SUCCEEDED
    wait_until(lambda: admission.taken == 0)


# Figures


def test_stats_count_jobs_and_bytes(jobs, submit, finish, network):
    assert jobs.stats() == EngineStats(dict.fromkeys(JobState, 0), 0, DISK_BYTES)
    gate = Gate(network)
    running, queued, cancelled = (submit(LEVELS).job for _ in range(3))
    gate.wait()
    jobs.cancel(cancelled.id)
    states = {JobState.RUNNING: 1, JobState.QUEUED: 1, JobState.CANCELLED: 1}
    assert jobs.stats().jobs == dict.fromkeys(JobState, 0) | states
    gate.open()
    size = finish(queued.id).result.size + finish(running.id).result.size
    assert size <= jobs.stats().disk_bytes < size + 1_000_000
    assert jobs.stats().disk_budget_bytes == DISK_BYTES
