import io

import pytest

from core.media.medium import SEGMENT, WARM_UP
from core.runtime.work_rate import WorkRate
from tests.support.clip_files import scenes, write_clip
from tests.support.media_files import archive, pictures
from tests.support.picture_files import encoded
from tests.support.stand_ins import noise


@pytest.fixture
def estimate(client, encode):
    def estimate(lr, **fields):
        data = {"image": (io.BytesIO(encode(lr)), "a.png")} | fields
        return client.post("/model/estimate", data=data)

    return estimate


def test_an_estimate_is_what_the_result_becomes(estimate, client, encode, upscaler):
    lr = noise(21, 34)
    estimated = estimate(lr, scale="2.5").json
    assert upscaler.scheduler.tiles_waiting == 0
    assert estimated["input"] == {"width": 34, "height": 21}
    assert estimated["output"] == {"width": 85, "height": 53}
    assert (estimated["scale"], estimated["passes"]) == (2.5, 1)
    assert estimated["deadline_seconds"] == 30
    data = {"image": (io.BytesIO(encode(lr)), "a.png"), "scale": "2.5"}
    headers = client.post("/model/predict", data=data).headers
    assert headers["X-Output-Size"] == "85x53"
    assert headers["X-Tiles"] == str(estimated["tiles"])


def test_time_and_memory_grow_with_the_size(estimate, upscaler):
    upscaler.rate = WorkRate(lambda: 1000.0)
    small, large = (estimate(noise(14, 20), scale=scale).json for scale in ("4", "8"))
    assert small["seconds"] > 0.1
    for name in ("seconds", "tiles"):
        assert large[name] > small[name]
    assert large["memory_bytes"] >= small["memory_bytes"]  # decoding may take the most


def test_nothing_is_computed_at_the_same_size(estimate):
    estimated = estimate(noise(21, 34), scale="1", restore="0").json
    assert (estimated["passes"], estimated["tiles"], estimated["seconds"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"scale": "17"}, 400, "with up to 9 decimals. Received: '17'"),
        ({"scale": "2", "width": "40"}, 400, "Received: scale=2, width=40"),
        ({"width": "20"}, 400, "width=20, a factor of 0.58"),
        ({"scale": "8"}, 413, "at most 32000 pixels. Received: a picture that would become"),
        ({"format": "tiff"}, 400, "Received: 'tiff'"),
    ],
)
def test_what_cannot_be_computed_is_refused_as_it_would_be(estimate, fields, status, message):
    response = estimate(noise(21, 34), **fields)
    assert response.status_code == status
    assert message in response.json["message"]


def test_a_picture_that_needs_too_much_memory_is_refused(estimate, app):
    app.extensions["enhancer"].admission.budget = 1000
    response = estimate(noise(4, 4))
    assert response.status_code == 413
    assert "MB of memory" in response.json["message"]


@pytest.fixture
def estimate_job(client):
    def estimate_job(content, **fields):
        return client.post("/model/estimate", data={"file": (io.BytesIO(content), "a")} | fields)

    return estimate_job


@pytest.fixture
def video(tmp_path):
    """A clip of two segments."""
    return write_clip(tmp_path / "clip.mp4", scenes(SEGMENT + 4)).read_bytes()


def test_the_estimate_of_a_video_is_that_of_all_its_frames(estimate, estimate_job, app, video):
    app.extensions["enhancer"].admission.budget = 10**9
    app.extensions["enhancer"].upscaler.rate = WorkRate(lambda: 1000.0)
    frame = estimate(noise(32, 48), scale="1.1").json
    estimated = estimate_job(video, scale="1.1").json
    assert (estimated["kind"], estimated["frames"]) == ("video", SEGMENT + 4)
    assert estimated["input"] == {"width": 48, "height": 32}
    assert estimated["output"] == {"width": 52, "height": 34}
    computed = SEGMENT + 4 + WARM_UP
    assert estimated["tiles"] == computed * frame["tiles"]
    assert estimated["seconds"] == pytest.approx(computed * frame["seconds"], rel=0.1)
    assert (estimated["jobs_before"], estimated["deadline_seconds"]) == (0, None)
    alone = estimate_job(video, scale="1.1", coherence="off").json
    assert alone["tiles"] == (SEGMENT + 4) * frame["tiles"]


def test_each_picture_of_an_archive_counts_with_its_size(estimate, estimate_job):
    large, small = noise(21, 34), noise(30, 20)
    files = {"a.png": encoded(large), "b.png": encoded(small), "c.txt": b"none"}
    estimated = estimate_job(archive(files), scale="2").json
    assert (estimated["kind"], estimated["frames"]) == ("pictures", 2)
    assert estimated["input"] == {"width": 34, "height": 30}
    assert estimated["output"] == {"width": 68, "height": 42}
    assert estimated["tiles"] == sum(estimate(lr, scale="2").json["tiles"] for lr in (large, small))


def test_a_clip_in_an_archive_counts_as_a_clip(estimate_job, app, video):
    app.extensions["enhancer"].admission.budget = 10**9
    picture = encoded(noise(21, 34))
    both = estimate_job(archive({"a.png": picture, "b.mp4": video}), scale="1.1").json
    apart = [estimate_job(content, scale="1.1").json for content in (picture, video)]
    assert (both["kind"], both["frames"]) == ("pictures", 1 + SEGMENT + 4)
    for name in ("tiles", "frames"):
        assert both[name] == sum(estimated[name] for estimated in apart)
    assert both["memory_bytes"] == max(estimated["memory_bytes"] for estimated in apart)


def test_an_estimate_stores_nothing_and_states_the_jobs_before_it(
    client, estimate_job, app, monkeypatch
):
    engine = app.extensions["enhancer"].jobs.engine
    monkeypatch.setattr("jobs.embedded.runner.JobRunner.run_next", lambda _runner: False)
    client.post("/model/jobs", data={"file": (io.BytesIO(pictures(1)), "a.zip")})
    before = engine.stats()
    for _ in range(2):
        assert estimate_job(pictures(2)).json["jobs_before"] == 1
    assert engine.stats() == before


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b"no clip", {}),
        (b"", {}),
        (encoded(noise(4, 6)), {"scale": "17"}),
        (encoded(noise(4, 6)), {"detail": "2"}),
        (encoded(noise(4, 6)), {"format": "mp4"}),
        (encoded(noise(4, 6)), {"unknown": "1"}),
        (encoded(noise(21, 34)), {"scale": "8"}),
        (pictures(2), {"width": "10"}),
    ],
)
def test_what_jobs_refuse_is_refused_alike(client, estimate_job, content, fields):
    data = {"file": (io.BytesIO(content), "a")} | fields
    expected = client.post("/model/jobs", data=data)
    assert expected.status_code in (400, 413, 415)
    estimated = estimate_job(content, **fields)
    assert (estimated.status_code, estimated.json) == (expected.status_code, expected.json)


def test_a_request_has_one_file(client, encode):
    data = {name: (io.BytesIO(encode(noise(4, 6))), "a.png") for name in ("image", "file")}
    response = client.post("/model/estimate", data=data)
    assert response.status_code == 400
    assert response.json["message"].endswith("Received: both.")


def test_a_picture_may_have_no_more_bytes_than_predict_accepts(client):
    content = bytes(100_000)
    expected = client.post("/model/predict", data={"image": (io.BytesIO(content), "a.png")})
    estimated = client.post("/model/estimate", data={"image": (io.BytesIO(content), "a.png")})
    assert estimated.status_code == expected.status_code == 413
    assert estimated.json["message"].startswith("Request must have at most 100000 bytes.")
    as_job = client.post("/model/estimate", data={"file": (io.BytesIO(content), "a.png")})
    assert as_job.json["message"].startswith("Image must")
