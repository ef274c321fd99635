import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import InvalidDetail, TooMuchMemory, UnreadableImage
from core.options import OutputOptions
from jobs.embedded import runner
from jobs.embedded.files import SOURCE, JobFiles
from jobs.errors import (
    JobUnfinished,
    KeyReused,
    OutOfSpace,
    ResultGone,
    TooManyJobs,
    UnknownJob,
)
from jobs.job import JobState
from tests.jobs.conftest import EXPIRY_S
from tests.support.media_files import expected
from tests.support.stand_ins import make_card, repeat
from tests.support.waiting import wait_until

LEVELS = bytes(range(1, 11))  # four segments
PATIENCE_S = 10


def result_of(jobs, job_id):
    with jobs.open_result(job_id) as (file, result):
        return file.read(), result


class Gate:
    """Lets frames through one by one."""

    def __init__(self, network, opened_from=0):
        self._entered = threading.Semaphore(0)
        self._through = threading.Semaphore(opened_from)
        network.before = self

    def __call__(self):
        self._entered.release()
        assert self._through.acquire(timeout=PATIENCE_S)

    def wait(self, frames=1):
        """Until so many more frames have come to it."""
        for _ in range(frames):
            assert self._entered.acquire(timeout=PATIENCE_S)

    def open(self, frames=1000):
        self._through.release(frames)


def test_a_job_is_done_and_its_result_kept(jobs, submit, finish, clock):
    job, is_new = submit(LEVELS)
    assert is_new
    assert (job.kind, job.name, job.frames, job.created) == ("video", "clip.mov", 10, 1000.0)
    done = finish(job.id)
    assert (done.state, done.frames_done, done.error) == (JobState.SUCCEEDED, 10, None)
    assert done.version > job.version
    content, result = result_of(jobs, job.id)
    assert content == expected(LEVELS, repeat)
    assert result == done.result
    assert (result.name, result.mimetype) == ("clip_x4.bin", "application/octet-stream")
    assert (result.size, result.expires) == (len(content), clock.now + EXPIRY_S)


def test_only_the_result_stays(room, submit, finish):
    job = submit(LEVELS).job
    finish(job.id)
    folder = room.folder / job.id
    wait_until(lambda: {path.name for path in folder.iterdir()} == {"lock", "result"})


def test_jobs_are_done_in_their_order(jobs, submit, network):
    gate = Gate(network)
    first = submit(b"\1\2\3").job
    gate.wait()
    second, third = submit(b"\4").job, submit(b"\5").job
    assert jobs.get(first.id).state is JobState.RUNNING
    assert jobs.get(first.id).position is None
    assert [jobs.get(job.id).position for job in (second, third)] == [0, 1]
    gate.open()
    wait_until(lambda: jobs.get(third.id).state.is_final)
    assert network.seen == [1, 2, 3, 4, 5]


def test_what_cannot_be_worked_on_is_refused_at_once(jobs, room, submit):
    with pytest.raises(UnreadableImage, match="a bad one"):
        submit(b"bad")
    with pytest.raises(InvalidDetail):
        submit(LEVELS, detail=0.5)
    assert not [path for path in room.folder.iterdir() if path.is_dir()]
    assert jobs.figures().jobs[JobState.QUEUED] == 0


def test_frames_that_never_fit_into_memory_are_refused_at_once(submit, workshop):
    workshop.admission.budget = 1000
    with pytest.raises(TooMuchMemory):
        submit(LEVELS)


def test_a_key_stands_for_one_job_as_long_as_that_is_there(jobs, submit, finish):
    first = submit(LEVELS, key="a").job
    again, is_new = submit(LEVELS, "other.mov", key="a")
    assert (again.id, again.name, is_new) == (first.id, "clip.mov", False)
    assert submit(LEVELS, key="a", caller="you").is_new
    assert submit(LEVELS).is_new
    for changed in ({"content": b"\1"}, {"content": LEVELS, "quality": 3}):
        with pytest.raises(KeyReused):
            submit(**changed, key="a")
    finish(first.id)
    assert not submit(LEVELS, key="a").is_new
    jobs.cancel(first.id)
    assert submit(LEVELS, key="a").is_new


def test_a_key_that_comes_many_times_at_once_makes_one_job(create, submit):
    engines = [create(), create()]
    with ThreadPoolExecutor(8) as pool:
        submissions = list(
            pool.map(lambda n: submit(LEVELS, key="a", engine=engines[n % 2]), range(8))
        )
    assert len({submission.job.id for submission in submissions}) == 1
    assert sum(submission.is_new for submission in submissions) == 1


def test_no_more_jobs_wait_than_may(submit, network):
    gate = Gate(network)
    running = submit(b"\1")
    gate.wait()
    assert running.is_new
    for _ in range(5):
        submit(b"\2")
    with pytest.raises(TooManyJobs, match="At most 5 jobs") as refused:
        submit(b"\2")
    assert refused.value.retry_after_s > 0
    gate.open()


def test_a_file_that_does_not_fit_is_refused(jobs, submit, room):
    with pytest.raises(OutOfSpace, match="at most 10 MB. Received: 11000000 bytes more"):
        submit(bytes(11_000_000))
    assert jobs.figures().disk_bytes < 1_000_000
    assert not [path for path in room.folder.iterdir() if path.is_dir()]


def test_what_jobs_take_of_the_disk_is_measured(jobs, submit, finish):
    before = jobs.figures().disk_bytes
    size = finish(submit(LEVELS).job.id).result.size
    assert before == 0
    assert size <= jobs.figures().disk_bytes < size + 1_000_000
    assert jobs.figures().disk_budget_bytes == 10_000_000


def test_a_full_disk_is_waited_for_and_then_told(jobs, submit, finish, monkeypatch):
    attempts = []

    def check_room(_self, _more_bytes):
        attempts.append(1)
        raise OutOfSpace("It is full.", retry_after_s=1)

    job = submit(b"\1").job
    monkeypatch.setattr(runner, "RETRY_S", 0.0)
    finish(job.id)
    monkeypatch.setattr(JobFiles, "check_room", lambda *_: None)
    gate = threading.Event()
    jobs._workshop.upscaler._network.before = lambda: gate.wait(PATIENCE_S)
    job = submit(b"\1\2\3\4").job
    wait_until(lambda: jobs.get(job.id).state is JobState.RUNNING)
    monkeypatch.setattr(JobFiles, "check_room", check_room)
    gate.set()
    done = finish(job.id)
    assert (done.state, done.error) == (JobState.FAILED, "It is full.")
    assert len(attempts) >= runner.MOST_ATTEMPTS - 1


def test_a_fault_is_tried_again(jobs, submit, finish, network, monkeypatch):
    monkeypatch.setattr(runner, "RETRY_S", 0.0)
    faults = [ZeroDivisionError("once"), ZeroDivisionError("twice")]

    def fail():
        if faults:
            raise faults.pop()

    network.before = fail
    job = submit(LEVELS).job
    assert finish(job.id).state is JobState.SUCCEEDED
    assert result_of(jobs, job.id)[0] == expected(LEVELS, repeat)


def test_a_fault_that_stays_is_told_without_its_detail(submit, finish, network, monkeypatch):
    monkeypatch.setattr(runner, "RETRY_S", 0.0)

    def fail():
        raise ZeroDivisionError("a secret")

    network.before = fail
    done = finish(submit(LEVELS).job.id)
    assert (done.state, done.error) == (
        JobState.FAILED,
        "A fault of the service; it is in the log.",
    )


def test_what_is_wrong_with_a_frame_is_told(submit, finish, network):
    def fail():
        raise UnreadableImage("Frame 7 is damaged.")

    network.before = fail
    done = finish(submit(LEVELS).job.id)
    assert (done.state, done.error) == (JobState.FAILED, "Frame 7 is damaged.")
    assert done.expires is not None


def test_there_is_no_result_before_the_end_nor_of_a_failure(jobs, submit, network):
    gate = Gate(network)
    job = submit(LEVELS).job
    with pytest.raises(JobUnfinished), jobs.open_result(job.id):
        pass
    jobs.cancel(job.id)
    gate.open()
    with pytest.raises(ResultGone, match="It was cancelled"), jobs.open_result(job.id):
        pass
    for ask in (jobs.get, jobs.watch):
        with pytest.raises(UnknownJob):
            ask("none")
    with pytest.raises(UnknownJob), jobs.open_result("none"):
        pass


def test_a_queued_job_is_cancelled_at_once(jobs, room, submit, network):
    gate = Gate(network)
    running, queued = submit(LEVELS).job, submit(b"\x50").job
    gate.wait()
    jobs.cancel(queued.id)
    jobs.cancel(queued.id)
    assert jobs.get(queued.id).state is JobState.CANCELLED
    assert not (room.folder / queued.id).exists()
    gate.open()
    wait_until(lambda: jobs.get(running.id).state.is_final)
    assert 0x50 not in network.seen


def test_a_running_job_is_cancelled_within_a_frame(jobs, room, submit, network):
    gate = Gate(network)
    job = submit(bytes(90)).job
    gate.wait()
    jobs.cancel(job.id)
    assert jobs.get(job.id).state is JobState.CANCELLED
    gate.open(1)
    wait_until(lambda: not (room.folder / job.id).exists())
    assert len(network.seen) <= 1
    gate.open()


def test_a_finished_job_is_forgotten_when_it_is_cancelled(jobs, room, submit, finish):
    job = submit(LEVELS).job
    finish(job.id)
    for _ in range(2):
        jobs.cancel(job.id)
        with pytest.raises(UnknownJob):
            jobs.get(job.id)
    wait_until(lambda: not (room.folder / job.id).exists())


def test_what_has_expired_is_gone_but_can_be_read_to_its_end(jobs, room, submit, finish, clock):
    job = submit(LEVELS).job
    finish(job.id)
    with jobs.open_result(job.id) as (file, _):
        clock.now += EXPIRY_S - 1
        jobs.get(job.id)
        clock.now += 1
        with pytest.raises(UnknownJob):
            jobs.get(job.id)
        wait_until(lambda: jobs._place().runner.tidy() or not (room.folder / job.id).exists())
        assert file.read() == expected(LEVELS, repeat)
    assert sum(jobs.figures().jobs.values()) == 0


def test_a_job_is_resumed_after_its_last_finished_segment(create, submit, network, finish):
    first, gate = create(), Gate(network, opened_from=7)
    job = submit(LEVELS, engine=first).job
    gate.wait(8)  # seven are done, two segments
    first.stop()
    gate.open(1)
    first.close()
    assert first.get(job.id).state is JobState.QUEUED
    second = create()
    begun = len(network.seen)
    gate.open()
    second.start()
    assert finish(job.id, second).state is JobState.SUCCEEDED
    assert network.seen[begun:] == list(LEVELS[6:])
    assert result_of(second, job.id)[0] == expected(LEVELS, repeat)


def test_segments_of_another_network_are_not_used(create, submit, network, finish, workshop):
    first, gate = create(), Gate(network, opened_from=7)
    job = submit(LEVELS, engine=first).job
    gate.wait(8)
    first.stop()
    gate.open()
    first.close()
    workshop.upscaler.card = make_card(version="9.9.9")
    begun = len(network.seen)
    second = create()
    second.start()
    finish(job.id, second)
    assert network.seen[begun:] == list(LEVELS)


def test_two_engines_on_a_folder_compute_every_frame_once(create, submit, network):
    engines = [create(), create()]
    ids = [submit(bytes([n] * 7), engine=engines[n % 2]).job.id for n in range(5)]
    wait_until(lambda: all(engines[0].get(job_id).state.is_final for job_id in ids))
    assert sorted(network.seen) == sorted(n for n in range(5) for _ in range(7))
    for n, job_id in enumerate(ids):
        assert result_of(engines[0], job_id)[0] == expected(bytes([n] * 7), repeat)


def test_what_ends_the_server_again_and_again_is_given_up(create, submit, finish, network):
    gate = Gate(network)
    crashed = create()
    job = submit(LEVELS, engine=crashed).job
    gate.wait()
    store = crashed._place().store
    store._update("attempts = ? where id = ?", (runner.MOST_ATTEMPTS, job.id))
    crashed.stop()
    store._update("attempts = attempts + 1 where id = ?", (job.id,))  # no time to take it back
    gate.open()
    crashed.close()
    again = create()
    again.start()
    done = finish(job.id, again)
    assert (done.state, "again and again" in done.error) == (JobState.FAILED, True)


def test_a_job_whose_files_were_deleted_by_others_fails(room, submit, finish, network):
    gate = Gate(network)
    running, lost = submit(LEVELS).job, submit(LEVELS).job
    gate.wait()
    for path in (room.folder / lost.id).iterdir():
        path.unlink()
    (room.folder / lost.id).rmdir()
    gate.open()
    assert finish(running.id).state is JobState.SUCCEEDED
    assert "It was deleted" in finish(lost.id).error


def test_left_overs_of_crashes_are_swept(create, room, submit, finish):
    crashed = create()
    job = submit(LEVELS, engine=crashed).job
    finish(job.id, crashed)
    crashed.close()
    half = room.folder / "brought-in-by-halves"
    half.mkdir()
    (half / "lock").touch()
    (half / f".{SOURCE}").write_bytes(b"x")
    (room.folder / ".removed-by-halves").mkdir()
    (room.folder / job.id / "part-00000").write_bytes(b"x")
    engine = create()
    engine.start()
    wait_until(lambda: not half.exists() and not (room.folder / job.id / "part-00000").exists())
    wait_until(lambda: not (room.folder / ".removed-by-halves").exists())
    assert (room.folder / job.id / "result").exists()


def test_a_job_that_is_being_brought_in_is_not_swept(create, room):
    engine = create()
    engine.start()
    files = JobFiles(room.folder, room.budget_bytes)
    lock, _ = files.bring_in("new", io.BytesIO(b"x"))
    engine._place().runner.tidy()
    assert files.source("new").exists()
    lock.release()
    engine._place().runner.tidy()
    assert not files.source("new").exists()


def test_who_watches_sees_states_and_progress(jobs, submit, network):
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


def test_who_has_seen_a_version_waits_for_the_next(jobs, submit, finish, monkeypatch, network):
    monkeypatch.setattr("jobs.embedded.engine.KEEP_ALIVE_S", 0.0)
    gate = Gate(network)
    job = submit(LEVELS).job
    gate.wait()
    seen = jobs.get(job.id)
    snapshots = jobs.watch(job.id, after=seen.version)
    assert next(snapshots) is None
    gate.open()
    finish(job.id)
    assert next(snapshot for snapshot in snapshots if snapshot).state is JobState.SUCCEEDED


def test_watching_ends_with_the_job_and_with_the_server(jobs, submit, finish, network):
    done = finish(submit(b"\1").job.id)
    assert [job.state for job in jobs.watch(done.id, after=done.version)] == [JobState.SUCCEEDED]
    snapshots = jobs.watch(done.id)
    jobs.cancel(done.id)
    assert list(snapshots) == []
    gate = Gate(network)
    snapshots = jobs.watch(submit(LEVELS).job.id)
    next(snapshots)
    jobs.stop()
    assert [job for job in snapshots if job and job.state.is_final] == []
    gate.open()


def test_what_was_done_is_told(create, submit, finish):
    told, frames, engine = [], [], create()
    engine.on_final, engine.on_frames = told.append, frames.append
    finish(submit(LEVELS, engine=engine).job.id, engine)
    wait_until(lambda: told == [JobState.SUCCEEDED])
    assert sum(frames) == len(LEVELS)
    engine.stop()
    engine.cancel(submit(LEVELS, engine=engine).job.id)
    assert told == [JobState.SUCCEEDED, JobState.CANCELLED]


def test_frames_wait_for_pictures_that_wait_for_memory(jobs, submit, finish, workshop):
    admission = workshop.admission
    with admission.admit(admission.budget):
        job = submit(LEVELS).job
        wait_until(lambda: admission.waiting == 1)
        assert jobs.get(job.id).frames_done == 0
    assert finish(job.id).state is JobState.SUCCEEDED
    assert admission.taken == 0


def test_a_job_waits_where_the_line_of_pictures_is_full(submit, finish, workshop):
    workshop.admission.queue = 0
    with workshop.admission.admit(workshop.admission.budget):
        job = submit(b"\1").job
        threading.Event().wait(0.5)
    assert finish(job.id).state is JobState.SUCCEEDED


def test_the_wish_goes_with_the_job(jobs, submit, workshop):
    opened = []

    def open_medium(path, limits, wish):
        opened.append((limits, wish))
        return workshop.open_medium(path, limits, wish)

    jobs._workshop = replace(workshop, open_medium=open_medium)
    job = submit(LEVELS, format="mp4", quality=7, is_coherent=False).job
    wait_until(lambda: jobs.get(job.id).state.is_final)
    wish = OutputOptions(format="mp4", quality=7, is_coherent=False)
    assert opened == [(workshop.limits, wish)] * 2
    assert jobs.get(job.id).options == wish
