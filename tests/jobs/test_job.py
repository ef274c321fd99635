import pickle

import pytest

from core.media.medium import OutputOptions
from jobs.errors import KeyReused, OutOfSpace, UnknownJob
from jobs.job import Job, JobState, clean_name, new_id, text_from_wish, wish_from_text


def job(**changes):
    values = {
        "id": "x",
        "version": 1,
        "state": JobState.RUNNING,
        "kind": "video",
        "name": "a.mov",
        "wish": OutputOptions(),
        "frames": 10,
        "frames_done": 4,
        "created": 0.0,
    }
    return Job(**values | changes)


def test_ids_are_long_and_differ():
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert min(len(job_id) for job_id in ids) >= 32


def test_time_left_follows_from_the_rate():
    assert job(rate=2.0).left_s == 3.0
    assert job().left_s is None
    assert job(rate=2.0, state=JobState.QUEUED).left_s is None


def test_a_wish_survives_as_text():
    wish = OutputOptions(
        format="gif", quality=3, detail=0.25, is_coherent=False, keeps_profile=True
    )
    assert wish_from_text(text_from_wish(wish)) == wish
    assert wish_from_text('{"quality": 5}') == OutputOptions(quality=5)


def test_a_long_name_is_cut_and_keeps_its_suffix():
    name = clean_name("x" * 500 + ".mov")
    assert len(name) <= 150
    assert name.endswith("x.mov")


@pytest.mark.parametrize("error", [UnknownJob(), KeyReused(), OutOfSpace("x", retry_after_s=3)])
def test_errors_survive_a_pickle(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
