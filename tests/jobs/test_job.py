import pickle

import pytest

from core.options import OutputOptions
from jobs.errors import KeyReused, OutOfSpace, UnknownJob
from jobs.job import Job, JobState, clean_name, new_id, options_from_json, options_to_json


def job(**changes):
    values = {
        "id": "x",
        "version": 1,
        "state": JobState.RUNNING,
        "kind": "video",
        "name": "a.mov",
        "options": OutputOptions(),
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


def test_options_survive_as_json():
    options = OutputOptions(
        format="gif", quality=3, detail=0.25, is_coherent=False, keeps_profile=True
    )
    assert options_from_json(options_to_json(options)) == options
    assert options_from_json('{"quality": 5}') == OutputOptions(quality=5)


def test_a_long_name_is_cut_and_keeps_its_suffix():
    name = clean_name("x" * 500 + ".mov")
    assert len(name) <= 150
    assert name.endswith("x.mov")


@pytest.mark.parametrize("error", [UnknownJob(), KeyReused(), OutOfSpace("x", retry_after_s=3)])
def test_errors_survive_a_pickle(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_options_that_an_older_version_has_stored_are_read():
    stored = (
        '{"codec": "hevc", "detail": 0.5, "format": "mkv", "has_note": false, '
        '"is_coherent": false, "is_dithered": false, "keeps_metadata": true, '
        '"keeps_profile": true, "palette": "global", "quality": 7}'
    )
    options = OutputOptions("mkv", "hevc", 7, 0.5, False, "global", False, False, True, True)
    assert options_from_json(stored) == options
    assert options_to_json(options) == stored


def test_the_strength_of_a_clip_is_stored_with_its_options():
    options = OutputOptions(restore="auto", strength=0.62)
    assert options_from_json(options_to_json(options)) == options
