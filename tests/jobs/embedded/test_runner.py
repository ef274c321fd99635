import io
import threading
from dataclasses import replace

import pytest

from core.errors import ModelUnavailable
from core.model.card import read_linked_cards
from core.model.registry import ModelRegistry, ServedModel
from core.model.upscaler import Upscaler
from jobs.embedded import runner
from jobs.embedded.files import SOURCE, JobFiles
from jobs.embedded.runner import JobRunner, ProgressWriter
from jobs.embedded.store import JobStore
from jobs.errors import OutOfSpace
from jobs.job import JobState
from tests.jobs.conftest import EXPIRY_S, TIMEOUT_S, Gate
from tests.support.media_files import expected
from tests.support.stand_ins import (
    LINKED_CARDS,
    lighten,
    make_card,
    make_restorer,
    repeat,
    save_linked_cards,
)
from tests.support.waiting import wait_until

LEVELS = bytes(range(1, 11))  # four segments


@pytest.fixture
def cleaner(limits, context, clock):
    """A runner of the same folder that computes nothing, as another process has it."""
    files = JobFiles(limits.folder, limits.disk_bytes)
    files.create()
    store = JobStore(limits.folder)
    yield JobRunner(store, files, context, clock=clock)
    store.close()


def test_a_job_is_resumed_after_its_last_finished_segment(create, submit, network, finish):
    first, gate = create(), Gate(network, opened_for=7)
    job = submit(LEVELS, engine=first).job
    gate.wait(8)  # seven are done, two segments
    first.stop()
    gate.open(1)
    first.close()
    second = create()
    computed = len(network.seen)
    gate.open()
    second.start()
    assert finish(job.id, second).state is JobState.SUCCEEDED
    assert network.seen[computed:] == list(LEVELS[6:])
    with second.open_result(job.id) as (file, _):
        assert file.read() == expected(LEVELS, repeat)


@pytest.fixture
def stop_midway(create, submit, network, context):
    """Begin a job of LEVELS, stop its engine after two segments, and return the id."""

    def stop_midway(context=context, **options):
        engine, gate = create(context=context), Gate(network, opened_for=7)
        job = submit(LEVELS, engine=engine, **options).job
        gate.wait(8)
        engine.stop()
        gate.open()
        engine.close()
        return job.id

    return stop_midway


def test_segments_of_another_network_are_not_used(create, stop_midway, network, finish, context):
    job_id = stop_midway()
    context.upscaler.card = make_card(version="9.9.9")
    computed = len(network.seen)
    second = create()
    second.start()
    finish(job_id, second)
    assert network.seen[computed:] == list(LEVELS)


@pytest.mark.parametrize("changed", LINKED_CARDS)
def test_segments_are_not_used_if_one_of_the_graphs_has_changed(
    create, stop_midway, network, finish, context, tmp_path, changed
):
    def context_with(changed=None):
        cards = read_linked_cards(save_linked_cards(tmp_path, changed))
        upscaler = Upscaler(make_card(), network, window=16, cards=cards)
        return replace(context, models=ModelRegistry(ServedModel(upscaler)))

    job_id = stop_midway(context=context_with())
    second = create(context=context_with(changed))
    computed = len(network.seen)
    second.start()
    finish(job_id, second)
    assert network.seen[computed:] == list(LEVELS)


@pytest.mark.parametrize("then", [None, make_card(name="other", version="2", sha256="2" * 64)])
def test_a_job_resumed_without_its_model_fails_and_with_another_begins_again(
    create, stop_midway, network, finish, context, caplog, then
):
    def context_with(card):
        others = [] if card is None else [ServedModel(Upscaler(card, network, window=16))]
        return replace(context, models=ModelRegistry(context.models.default, others))

    before = make_card(name="other", version="1", sha256="1" * 64)
    job_id = stop_midway(context=context_with(before), model="other")
    second = create(context=context_with(then))
    computed = len(network.seen)
    second.start()
    done = finish(job_id, second)
    if then is None:
        expected_error = "`model` must be one of stand-in. Received: 'other'"
        assert (done.state, done.error) == (JobState.FAILED, expected_error)
        assert network.seen[computed:] == []
    else:
        assert done.state is JobState.SUCCEEDED
        assert network.seen[computed:] == list(LEVELS)
        assert before.sha256 in caplog.text
        assert then.sha256 in caplog.text


def test_a_job_whose_model_cannot_be_loaded_for_a_while_is_tried_again(
    submit, finish, network, monkeypatch
):
    monkeypatch.setattr(runner, "RETRY_S", 0.0)
    faults = [ModelUnavailable("No memory.", retry_after_s=1)]

    def fail_once():
        if faults:
            raise faults.pop()

    network.before = fail_once
    assert finish(submit(LEVELS).job.id).state is JobState.SUCCEEDED
    assert network.seen == list(LEVELS)


def test_a_full_disk_fails_the_job_after_several_attempts(
    jobs, submit, finish, network, monkeypatch
):
    monkeypatch.setattr(runner, "RETRY_S", 0.0)
    attempts = []

    def check_space(_self, _more_bytes):
        attempts.append(1)
        raise OutOfSpace("It is full.", retry_after_s=1)

    through = threading.Event()
    network.before = lambda: through.wait(TIMEOUT_S)
    job = submit(b"\1\2\3\4").job
    wait_until(lambda: jobs.get(job.id).state is JobState.RUNNING)
    monkeypatch.setattr(JobFiles, "check_space", check_space)
    through.set()
    done = finish(job.id)
    assert (done.state, done.error) == (JobState.FAILED, "It is full.")
    assert len(attempts) >= runner.MAX_ATTEMPTS - 1


def test_a_lasting_fault_is_reported_as_one_of_the_service(submit, finish, network, monkeypatch):
    monkeypatch.setattr(runner, "RETRY_S", 0.0)

    def fail():
        raise ZeroDivisionError("a secret")

    network.before = fail
    done = finish(submit(LEVELS).job.id)
    assert done.error == "A fault of the service; it is in the log."


def test_a_job_that_ends_the_server_several_times_fails(create, submit, finish, limits, network):
    gate = Gate(network)
    crashed = create()
    job = submit(LEVELS, engine=crashed).job
    gate.wait()
    other_process = JobStore(limits.folder)
    for _ in range(runner.MAX_ATTEMPTS):  # each of them began the job and crashed
        other_process.claim(job.id, 0.0, "model")
    other_process.close()
    crashed.stop()
    gate.open()
    crashed.close()  # which takes its own attempt back
    again = create()
    again.start()
    done = finish(job.id, again)
    assert (done.state, "ended several times" in done.error) == (JobState.FAILED, True)


def test_a_job_whose_files_were_deleted_by_others_fails(limits, submit, finish, network):
    gate = Gate(network)
    running, lost = submit(LEVELS).job, submit(LEVELS).job
    gate.wait()
    for path in (limits.folder / lost.id).iterdir():
        path.unlink()
    (limits.folder / lost.id).rmdir()
    gate.open()
    assert finish(running.id).state is JobState.SUCCEEDED
    assert "It was deleted" in finish(lost.id).error


def test_files_that_crashes_left_behind_are_deleted(create, limits, submit, finish):
    crashed = create()
    job = submit(LEVELS, engine=crashed).job
    finish(job.id, crashed)
    crashed.close()
    half = limits.folder / "half-received"
    half.mkdir()
    (half / "lock").touch()
    (half / f".{SOURCE}").write_bytes(b"x")
    half_removed = limits.folder / ".half-removed"
    half_removed.mkdir()
    part = limits.folder / job.id / "part-00000"
    part.write_bytes(b"x")
    create().start()
    wait_until(lambda: not any(path.exists() for path in (half, half_removed, part)))
    assert (limits.folder / job.id / "result").exists()


def test_a_job_that_is_being_received_is_not_deleted(cleaner, limits):
    files = JobFiles(limits.folder, limits.disk_bytes)
    lock, _ = files.receive("new", io.BytesIO(b"x"))
    cleaner.clean_up()
    assert files.source("new").exists()
    lock.release()
    cleaner.clean_up()
    assert not files.source("new").exists()


def test_an_expired_job_is_deleted(jobs, submit, finish, clock, cleaner, limits):
    job = submit(LEVELS).job
    finish(job.id)
    clock.now += EXPIRY_S
    wait_until(lambda: cleaner.clean_up() or not (limits.folder / job.id).exists())
    assert sum(jobs.stats().jobs.values()) == 0


def test_progress_is_written_seldom_and_with_its_rate():
    class Store:
        written = []

        def set_progress(self, *record):
            self.written.append(record)

    times = iter((0.0, 0.4, 1.0, 3.0))
    store = Store()
    progress = ProgressWriter("j", store, clock=lambda: next(times))
    for frames in (0, 1, 2, 12):
        progress.write(frames)
    assert store.written == [("j", 0, None), ("j", 2, 2.0), ("j", 12, 4.0)]


def test_a_resumed_job_restores_its_frames_as_strongly_as_before(
    create, submit, network, finish, context, monkeypatch
):
    context.upscaler.restorer = make_restorer(lighten)
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda _lr: 0.5)
    first, gate = create(), Gate(network, opened_for=4)
    job = submit(LEVELS, engine=first).job
    assert job.options.strength == 0.5
    gate.wait(5)
    first.stop()
    gate.open(1)
    first.close()
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda _lr: 1.0)
    second = create()
    gate.open()
    second.start()
    assert finish(job.id, second).state is JobState.SUCCEEDED
    with second.open_result(job.id) as (file, _):
        assert file.read() == expected([level + 50 for level in LEVELS], repeat)


def test_a_repeated_key_gives_the_same_job_of_the_same_strength(create, submit, context):
    context.upscaler.restorer = make_restorer(lighten)
    engine = create()
    first, again = (submit(LEVELS, engine=engine, key="a") for _ in range(2))
    assert (first.is_new, again.is_new) == (True, False)
    assert first.job.id == again.job.id
