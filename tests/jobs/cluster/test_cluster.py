"""A cluster whose workers, storage and Redis are real processes, some of which fail."""

import io
import signal
import time

import pytest

from core.media.convert import upscale_medium
from core.options import OutputOptions
from jobs.job import JobState
from tests.support.clip_files import scenes, write_clip
from tests.support.folders import files_in
from tests.support.letters import result_of
from tests.support.machines import running_cluster
from tests.support.redis_server import needs_redis
from tests.support.s3_server import BUCKET, s3_server
from tests.support.stand_in_worker import letters_context
from tests.support.waiting import wait_until

pytestmark = needs_redis

MODEL_ID = letters_context().model_id(OutputOptions())
TEXT = b"the quick brown fox jumps over"


@pytest.fixture
def cluster(tmp_path):
    with running_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A cluster whose two workers survive all tests."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.start_workers("a", "b")
        yield cluster


def submit(cluster, text=TEXT, **options):
    upload = io.BytesIO(text)
    return cluster.jobs.submit(upload, "a.txt", OutputOptions(**options), key=None, caller="").job


def wait_for_frames(cluster, job, frames):
    wait_until(lambda: cluster.jobs.get(job.id).frames_done >= frames, 40)


def stored_files(cluster, job):
    return files_in(cluster.folder / "storage" / job.id)


def test_two_workers_share_a_job(pair):
    before = [worker.pieces_done for worker in pair.workers]
    job = submit(pair)
    seen = list(pair.jobs.watch(job.id))
    done = seen[-1]
    assert (done.state, done.frames_done, done.result.name) == (
        JobState.SUCCEEDED,
        len(TEXT),
        "a_x4.txt",
    )
    assert pair.result(job) == result_of(TEXT)
    pieces = [worker.pieces_done - b for worker, b in zip(pair.workers, before, strict=True)]
    assert min(pieces) >= 2
    assert sum(pieces) == 8 + 1
    wait_until(lambda: len(stored_files(pair, job)) == 1)


def test_workers_tell_prometheus_what_they_have_done(pair):
    def total(sample, **labels):
        return sum(worker.counted(sample, **labels) for worker in pair.workers)

    before = {state: total("jobs_ended_total", state=state) for state in JobState if state.is_final}
    frames, tiles = total("job_frames_total"), total("tiles_total")
    jobs = [submit(pair, text) for text in (b"abc", b"defg")]
    for job in jobs:
        assert pair.wait_for(job).state is JobState.SUCCEEDED
    wait_until(lambda: total("jobs_ended_total", state="succeeded") == before["succeeded"] + 2)
    assert total("job_frames_total") == frames + 7
    assert total("tiles_total") >= tiles + 7
    assert total("jobs_ended_total", state="failed") == before["failed"]
    assert total("resident_memory_bytes") > 0


def test_a_killed_worker_is_replaced(cluster):
    first, second = cluster.start_workers("a", "b")
    job = submit(cluster)
    wait_until(lambda: first.pieces_done and first.is_computing)
    first.kill()
    assert cluster.wait_for(job).state is JobState.SUCCEEDED
    assert cluster.result(job) == result_of(TEXT)
    reported = first.pieces_done + second.pieces_done
    assert reported in (8, 8 + 1)  # it may die after a piece and before the log line


def test_a_video_survives_the_death_of_a_worker(cluster, tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, scenes(100, 16, 16))
    context = letters_context()
    medium = context.open(path, OutputOptions())
    assert len(medium.segments()) == 2
    upscale_medium(medium, context.upscaler.upscale, tmp_path / "undisturbed", lambda _: None)
    (first,) = cluster.start_workers("a", frame_s=0.05)
    with path.open("rb") as upload:
        job = cluster.jobs.submit(upload, "clip.mp4", OutputOptions(), key=None, caller="").job
    wait_for_frames(cluster, job, 10)
    first.kill()
    assert len(cluster.sources(job)) == 1
    (second,) = cluster.start_workers("b", frame_s=0)
    assert cluster.wait_for(job).state is JobState.SUCCEEDED
    assert cluster.result(job) == (tmp_path / "undisturbed").read_bytes()
    assert first.pieces_done == 0
    wait_until(lambda: second.pieces_done == 2 + 1)
    wait_until(lambda: not cluster.sources(job))  # nor that of the first worker


@pytest.mark.thorough
def test_a_worker_without_the_share_fails_no_job(cluster, tmp_path):
    (wrong,) = cluster.start_workers("a", storage_url=str(tmp_path / "not_mounted"))
    job = submit(cluster)
    wait_until(lambda: "The storage cannot be used" in wrong.log)
    cluster.start_workers("b", frame_s=0)
    assert cluster.wait_for(job).state is JobState.SUCCEEDED
    assert cluster.result(job) == result_of(TEXT)
    assert "Piece" not in wrong.log


@pytest.mark.thorough
def test_a_worker_killed_while_it_joins_is_replaced(cluster):
    workers = cluster.start_workers("a", "b", frame_s=0.01)
    job = submit(cluster, TEXT + b"~")
    wait_until(lambda: any("Joining" in worker.log for worker in workers))
    next(worker for worker in workers if "Joining" in worker.log).kill()
    assert cluster.wait_for(job).state is JobState.SUCCEEDED
    assert cluster.result(job) == result_of(TEXT + b"~")


@pytest.mark.thorough
def test_a_worker_that_was_suspended_does_no_harm(cluster):
    first, second = cluster.start_workers("a", "b")
    job = submit(cluster)
    wait_until(lambda: first.pieces_done and first.is_computing)
    first.send(signal.SIGSTOP)
    assert cluster.wait_for(job).state is JobState.SUCCEEDED
    first.send(signal.SIGCONT)
    wait_until(lambda: "Piece given up" in first.log)
    assert cluster.result(job) == result_of(TEXT)
    again = submit(cluster, TEXT[:20])
    cluster.wait_for(again)
    assert cluster.result(again) == result_of(TEXT[:20])
    wait_until(lambda: len(stored_files(cluster, job)) == len(stored_files(cluster, again)) == 1)


def test_jobs_survive_a_restart_of_redis(pair):
    job = submit(pair)
    wait_for_frames(pair, job, 6)
    pair.redis.kill()
    time.sleep(0.5)
    pair.redis.start()
    assert pair.wait_for(job).state is JobState.SUCCEEDED
    assert pair.result(job) == result_of(TEXT)


def test_a_cancelled_job_takes_no_more_time_and_space(pair):
    job = submit(pair)
    wait_for_frames(pair, job, 1)
    pair.jobs.cancel(job.id)
    wait_until(lambda: all(not worker.is_computing for worker in pair.workers), 2)
    assert pair.jobs.get(job.id).state is JobState.CANCELLED
    wait_until(lambda: not stored_files(pair, job) and not pair.sources(job))
    other = submit(pair, b"ab")
    assert pair.wait_for(other).state is JobState.SUCCEEDED
    assert pair.jobs.get(job.id).state is JobState.CANCELLED


def test_a_file_that_is_wrong_in_the_middle_fails_with_its_error(pair):
    job = submit(pair, b"abcdefg?")
    failed = pair.wait_for(job)
    assert (failed.state, failed.error) == (
        JobState.FAILED,
        "Letter must be none of '?'. Received: '?'",
    )
    wait_until(lambda: not stored_files(pair, job))


@pytest.mark.thorough
def test_a_file_that_kills_workers_fails_and_others_go_on(cluster):
    workers = cluster.start_workers("a", "b", "c", "d", frame_s=0.05)
    deadly = submit(cluster, b"ab!d")
    job = submit(cluster)
    failed = cluster.wait_for(deadly)
    assert failed.state is JobState.FAILED
    assert failed.error.startswith("Segment 1 must come to an end. Begun 3 times,")
    assert cluster.wait_for(job).state is JobState.SUCCEEDED
    assert cluster.result(job) == result_of(TEXT)
    assert sum(worker.process.poll() is None for worker in workers) == 1


def test_a_stopped_worker_finishes_its_piece(cluster):
    (worker,) = cluster.start_workers("a", frame_s=0.2)
    job = submit(cluster, TEXT[:8])
    wait_for_frames(cluster, job, 1)
    worker.send(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    assert worker.pieces_done == 1
    assert cluster.jobs.get(job.id).frames_done == 4
    assert not worker.alive_file.exists()
    cluster.start_workers("b")
    assert cluster.wait_for(job).state is JobState.SUCCEEDED


def test_a_worker_without_time_to_finish_gives_up_its_piece(cluster):
    (worker,) = cluster.start_workers("a", frame_s=0.5, stop_s=0)
    job = submit(cluster, TEXT[:8])
    wait_for_frames(cluster, job, 1)
    worker.send(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    waiting = cluster.jobs.get(job.id)
    assert (waiting.state, waiting.frames_done, waiting.position) == (JobState.QUEUED, 0, 0)
    assert cluster.ledger.claim(job.id, "next", MODEL_ID).attempt == 1


def test_jobs_take_turns(cluster):
    long, short = submit(cluster, 4 * TEXT), submit(cluster, TEXT[:4])
    assert cluster.jobs.get(short.id).position == 1
    cluster.start_workers("a", frame_s=0.05)
    cluster.wait_for(short)
    assert cluster.jobs.get(long.id).state is JobState.RUNNING
    cluster.jobs.cancel(long.id)


@pytest.mark.thorough
def test_files_can_be_in_s3(tmp_path, monkeypatch):
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with running_cluster(tmp_path, f"s3://{BUCKET}/jobs") as cluster:
            first, _second = cluster.start_workers("a", "b")
            job = submit(cluster)
            wait_until(lambda: first.is_computing)
            first.kill()
            assert cluster.wait_for(job).state is JobState.SUCCEEDED
            assert cluster.result(job) == result_of(TEXT)
            with cluster.jobs.open_result(job.id) as (file, _result):
                file.seek(-3, 2)
                assert file.read() == TEXT[-1:] * 3
