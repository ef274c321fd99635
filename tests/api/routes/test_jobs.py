import io
import json
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from service.build import jobs_folder
from tests.support.animations import control, gif, image
from tests.support.clip_files import shown
from tests.support.media_files import archive, pictures
from tests.support.picture_files import encoded
from tests.support.stand_ins import blur_then_repeat, make_card, noise, repeat
from tests.support.waiting import wait_until

LR = noise(21, 34)
PNG = encoded(LR)


@pytest.fixture
def post_job(client):
    """Post a file as a job."""

    def post_job(content=PNG, filename="cat.png", headers=None, **fields):
        data = {"file": (io.BytesIO(content), filename)} | fields
        return client.post("/model/jobs", data=data, headers=headers)

    return post_job


@pytest.fixture
def engine(app):
    return app.extensions["enhancer"].jobs.engine


@pytest.fixture
def ended(client):
    """Wait for a job to end. Return it as JSON."""

    def ended(response):
        assert response.status_code == 202, response.json
        url = response.headers["Location"]
        wait_until(lambda: client.get(url).json["state"] not in ("queued", "running"))
        return client.get(url).json

    return ended


@pytest.fixture
def held(app):
    """The network waits until this event is set."""
    through = threading.Event()
    upscaler = app.extensions["enhancer"].upscaler
    network = upscaler._network
    upscaler._network = lambda lr: through.wait(10) and network(lr)
    yield through
    through.set()


def read_png(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_job_is_accepted_and_done(client, post_job, ended):
    accepted = post_job()
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == f"/model/jobs/{accepted.json['id']}"
    assert accepted.headers["Cache-Control"] == "no-store"
    assert accepted.json["state"] == "queued"
    job = ended(accepted)
    assert (job["state"], job["kind"], job["name"]) == ("succeeded", "pictures", "cat.png")
    assert (job["frames_done"], job["frames_total"], job["error"]) == (1, 1, None)
    assert job["created"].endswith("Z")
    result = client.get(job["links"]["result"])
    assert result.status_code == 200
    assert result.content_type == "image/png"
    assert result.headers["Content-Disposition"] == "attachment; filename=cat_x4.png"
    assert int(result.headers["Content-Length"]) == len(result.data) == job["result"]["bytes"]
    np.testing.assert_array_equal(read_png(result.data), blur_then_repeat(LR))


def test_a_job_matches_the_openapi_document(client, post_job, ended):
    definitions = client.get("/swagger.json").json["definitions"]
    accepted = post_job()
    for job in (accepted.json, ended(accepted)):
        assert set(job) == set(definitions["Job"]["required"])
        assert set(job["links"]) == set(definitions["JobLinks"]["required"])
    job = ended(accepted)
    assert set(job["result"]) == set(definitions["JobResult"]["required"])


def test_an_archive_of_pictures_is_a_job(client, post_job, ended):
    job = ended(post_job(pictures(3), "holiday.zip", format="webp", quality="80"))
    assert (job["frames_total"], job["result"]["name"]) == (3, "holiday_x4.zip")
    result = client.get(job["links"]["result"])
    assert result.content_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(result.data)) as made:
        assert made.namelist() == [f"photos/{n:03d}.webp" for n in range(3)]


def test_an_archive_without_a_whole_picture_fails(post_job, ended):
    job = ended(post_job(archive({"a.png": PNG[:-30], "b.txt": b"x"}), "a.zip"))
    assert (job["state"], job["result"]) == ("failed", None)
    assert "at least one picture or clip. Received: 2 other or damaged files" in job["error"]


def test_a_job_gives_the_size_that_is_asked_for(client, post_job, ended):
    job = ended(post_job(scale="1.5", restore="0"))
    assert job["result"]["name"] == "cat_x1.5.png"
    result = read_png(client.get(job["links"]["result"]).data)
    data = {"image": (io.BytesIO(PNG), "cat.png"), "scale": "1.5", "restore": "0"}
    np.testing.assert_array_equal(result, read_png(client.post("/model/predict", data=data).data))


GIF = gif(
    *(part for level in (0, 1) for part in (control(5), image([[level] * 9] * 7))), size=(7, 9)
)


@pytest.mark.parametrize(
    ("fields", "name", "size"),
    [
        ({}, "cat_x4.gif", (36, 28)),
        ({"scale": "1"}, "cat_x1.gif", (9, 7)),
        ({"scale": "3"}, "cat_x3.gif", (27, 21)),
        ({"width": "20", "height": "20", "fit": "cover"}, "cat_20w_20h.gif", (20, 20)),
        ({"scale": "3", "format": "mp4"}, "cat_x3.mp4", (26, 20)),
    ],
)
def test_the_frames_of_a_clip_get_the_size_that_is_asked_for(
    upscaler, tmp_path, fields, name, size
):
    app, client = create_client(upscaler, tmp_path, memory_mb=100)
    data = {"file": (io.BytesIO(GIF), "cat.gif")} | fields
    link = client.post("/model/jobs", data=data).headers["Location"]
    wait_until(lambda: client.get(link).json["state"] == "succeeded")
    job = client.get(link).json
    assert (job["frames_done"], job["result"]["name"]) == (2, name)
    result = tmp_path / name
    result.write_bytes(client.get(f"{link}/result").data)
    app.extensions["enhancer"].jobs.engine.close()
    if name.endswith(".mp4"):
        assert {pixels.shape[1::-1] for _, pixels in shown(result)} == {size}
    else:
        with Image.open(result) as animation:
            assert (animation.n_frames, animation.size) == (2, size)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"scale": "2", "width": "20"}, 400, "Received: scale=2, width=20"),
        ({"width": "8"}, 400, "from 1 to 16 times that of the picture, 9 x 7 pixels"),
        ({"scale": "16", "fit": "cover"}, 400, "`fit` must be contain unless both"),
        ({"scale": "4", "format": "mp4", "codec": "hevc"}, 415, "at least 64 pixels"),
    ],
)
def test_an_impossible_size_of_a_clip_is_refused(post_job, fields, status, message):
    response = post_job(GIF, "cat.gif", **fields)
    assert (response.status_code, message in response.json["message"]) == (status, True)


def test_frames_over_the_limit_of_the_result_are_refused(upscaler, tmp_path):
    settings = {"max_pixels": 2000, "max_output_pixels": 600}
    _, client = create_client(upscaler, tmp_path, **settings)
    response = client.post("/model/jobs", data={"file": (io.BytesIO(GIF), "cat.gif")})
    assert response.status_code == 413
    assert "would become 36 x 28 = 1008 pixels" in response.json["message"]


def test_file_names_with_any_letters_are_kept(client, post_job, ended):
    job = ended(post_job(filename="../Kätzchen 猫.png"))
    assert job["name"] == "Kätzchen 猫.png"
    disposition = client.get(job["links"]["result"]).headers["Content-Disposition"]
    assert disposition == (
        'attachment; filename="Katzchen _x4.png"; '
        "filename*=UTF-8''K%C3%A4tzchen%20%E7%8C%AB_x4.png"
    )


def test_predict_responds_with_a_job_if_the_client_prefers_it(client, ended):
    def post(**headers):
        data = {"image": (io.BytesIO(PNG), "cat.png"), "format": "jpg"}
        return client.post("/model/predict", data=data, headers=headers)

    accepted = post(Prefer="wait=5, Respond-Async")
    assert accepted.headers["Preference-Applied"] == "respond-async"
    job = ended(accepted)
    result = client.get(job["links"]["result"])
    assert result.data == post().data
    assert result.content_type == "image/jpeg"
    assert post(Prefer="return=minimal").status_code == 200


@pytest.mark.parametrize("quoted", ["", '"'])
def test_an_idempotency_key_creates_one_job(client, post_job, quoted):
    headers = {"Idempotency-Key": f"{quoted}a-key{quoted}"}
    first, second = post_job(headers=headers), post_job(headers=headers)
    assert first.json["id"] == second.json["id"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    other = post_job(headers=headers, format="webp")
    assert other.status_code == 422
    assert "same file and fields" in other.json["message"]
    client.delete(first.headers["Location"])


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "ä"])
def test_an_invalid_idempotency_key_is_refused(post_job, key):
    response = post_job(headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert "`Idempotency-Key` must be" in response.json["message"]


def test_a_cancelled_job_has_no_result(client, post_job, held):
    running, queued = post_job(), post_job()
    for response in (running, queued):
        url = response.headers["Location"]
        deleted = client.delete(url)
        assert (deleted.status_code, deleted.data) == (204, b"")
        assert client.get(url).json["state"] == "cancelled"
        result = client.get(f"{url}/result")
        assert (result.status_code, "cancelled" in result.json["message"]) == (410, True)
    held.set()


def test_a_cancelled_job_is_deleted_with_its_name_and_its_key(client, post_job, held):
    headers = {"Idempotency-Key": "a-key"}
    links = post_job(headers=headers).json["links"]
    client.delete(links["self"])
    again = post_job(headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.json["state"], again.json["name"]) == ("cancelled", "cat.png")
    for _ in range(2):
        assert client.delete(links["self"]).status_code == 204
        for link in links.values():
            response = client.get(link)
            assert response.status_code == 404
            assert "cat" not in response.text
    assert "Idempotent-Replayed" not in post_job(headers=headers).headers
    held.set()


def test_there_is_no_result_before_the_end(client, post_job, held):
    response = client.get(f"{post_job().headers['Location']}/result")
    assert response.status_code == 409
    assert "Job must have succeeded" in response.json["message"]
    held.set()


def test_a_finished_job_is_deleted(client, post_job, ended):
    job = ended(post_job())
    for _ in range(2):
        assert client.delete(job["links"]["self"]).status_code == 204
    for link in job["links"].values():
        response = client.get(link)
        assert response.status_code == 404
        assert "Job must be one that exists" in response.json["message"]


def test_a_range_of_a_result_can_be_requested(client, post_job, ended):
    link = ended(post_job())["links"]["result"]
    whole = client.get(link)
    assert whole.headers["Accept-Ranges"] == "bytes"
    size, etag = len(whole.data), whole.headers["ETag"]
    for asked, part in (("0-9", slice(0, 10)), ("10-", slice(10, None)), ("-7", slice(-7, None))):
        response = client.get(link, headers={"Range": f"bytes={asked}"})
        assert response.status_code == 206
        assert response.data == whole.data[part]
        assert int(response.headers["Content-Length"]) == len(response.data)
    assert response.headers["Content-Range"] == f"bytes {size - 7}-{size - 1}/{size}"
    resumed = client.get(link, headers={"Range": "bytes=5-", "If-Range": etag})
    assert (resumed.status_code, resumed.data) == (206, whole.data[5:])
    changed = client.get(link, headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (changed.status_code, changed.data) == (200, whole.data)
    assert client.get(link, headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=0-1", "bytes=x"])
def test_unsupported_ranges_give_the_whole_result(client, post_job, ended, asked):
    link = ended(post_job())["links"]["result"]
    response = client.get(link, headers={"Range": asked})
    assert (response.status_code, len(response.data)) == (200, len(client.get(link).data))


def test_a_range_outside_the_result_is_refused_with_its_length(client, post_job, ended):
    job = ended(post_job())
    response = client.get(job["links"]["result"], headers={"Range": "bytes=999999-"})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{job['result']['bytes']}"
    assert "bytes=999999-" in response.json["message"]


def test_head_of_a_result_gives_its_length(client, post_job, ended):
    job = ended(post_job())
    response = client.head(job["links"]["result"])
    assert (response.status_code, response.data) == (200, b"")
    assert int(response.headers["Content-Length"]) == job["result"]["bytes"]


def read_events(text):
    """Return the fields of the events in a stream."""
    blocks = [block for block in text.split("\n\n") if "data: " in block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_a_job_is_followed_to_its_end(client, post_job, ended):
    job = ended(post_job(pictures(2), "a.zip"))
    response = client.get(job["links"]["events"])
    assert response.content_type == "text/event-stream; charset=utf-8"
    assert response.text.startswith("retry: 2000\n\n")
    (event,) = read_events(response.text)
    assert event["event"] == "state"
    assert json.loads(event["data"]) == job


def test_states_and_progress_are_sent_as_they_change(client, post_job, held):
    job = post_job(pictures(2), "a.zip").json
    response = client.get(job["links"]["events"], buffered=False)
    parts = response.iter_encoded()
    next(parts)
    seen = [json.loads(read_events(next(parts).decode())[0]["data"])["state"]]
    held.set()
    events = read_events(b"".join(parts).decode())
    states = seen + [json.loads(event["data"])["state"] for event in events]
    assert set(states) <= {"queued", "running", "succeeded"}
    assert states[-1] == "succeeded"
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(ids)


def test_a_reconnecting_client_receives_new_events_only(client, post_job, ended):
    links = ended(post_job())["links"]
    (event,) = read_events(client.get(links["events"]).text)

    def again(last_id):
        return client.get(links["events"], headers={"Last-Event-ID": last_id})

    assert again(event["id"]).status_code == 204
    assert read_events(again("1").text) == [event]
    assert read_events(again("nonsense").text) == [event]


def test_the_number_of_event_streams_is_limited(app, client, post_job, ended):
    link = ended(post_job())["links"]["events"]
    watchers = app.extensions["enhancer.event_streams"]
    for _ in range(watchers._limit):
        watchers.enter()
    response = client.get(link)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "At most 64 callers may watch" in response.json["message"]
    watchers.leave()
    for _ in range(3):
        assert client.get(link, buffered=True).status_code == 200
        assert client.head(link).status_code == 200


def test_an_event_stream_outside_its_threads_ends_after_one_event(client, post_job, held):
    link = post_job().json["links"]["events"]
    response = client.get(link, environ_overrides={"enhancer.may_stream": False})
    (event,) = read_events(response.text)
    assert json.loads(event["data"])["state"] in ("queued", "running")
    held.set()


WRONG = [
    ({"format": "tiff"}, "`format` must be one of png, jpeg, webp, avif, gif, apng, mp4"),
    ({"format": "mp4"}, "`format` must be one of png, jpeg, webp, avif, for pictures"),
    ({"codec": "mpeg1"}, "`codec` must be one of h264"),
    ({"codec": "h264"}, "`codec` must be left out, for pictures"),
    ({"codec": "h264", "format": "gif"}, "`codec` must come with a `format` of mp4"),
    ({"palette": "global", "format": "webp"}, "`palette` must come with a `format` of gif"),
    ({"quality": "0"}, "`quality` must be a whole number"),
    ({"detail": "2"}, "`detail` must be a number from 0 to 1"),
    ({"coherence": "perhaps"}, "`coherence` must be one of on, off"),
    ({"dither": "off"}, "`dither` must be left out"),
    ({"scale": "2", "width": "50"}, "`scale` must come without `width` and `height`"),
    ({"colour": "red"}, "Fields must be among file, model, scale, width, height, fit, detail"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_an_invalid_field_is_refused_with_the_received_value(post_job, fields, message):
    response = post_job(**fields)
    assert response.status_code == 400
    assert message in response.json["message"]


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "must be a picture, a clip or an archive. Received: 0 bytes"),
        (b"just some text", 400, "Image must be a PNG"),
        (archive({"a.txt": b"x"}), 400, "Archive must hold at least one picture"),
        (archive({"../a.png": PNG}), 400, "names are paths within it"),
        (encoded(noise(50, 50)), 413, "at most 2000 pixels"),
    ],
)
def test_an_invalid_file_is_refused_with_the_received_content(post_job, content, status, message):
    response = post_job(content)
    assert response.status_code == status
    assert message in response.json["message"]


def test_a_request_without_a_file_is_refused_with_what_it_has(client):
    response = client.post("/model/jobs", data={"image": (io.BytesIO(PNG), "a.png")})
    assert response.status_code == 400
    assert "one file in the field `file`. Received: the fields ['image']" in response.text


def test_a_file_without_a_name_is_accepted(client, ended):
    assert ended(client.post("/model/jobs", data={"file": (io.BytesIO(PNG), "")}))["name"] == "file"


def create_client(upscaler, tmp_path, **settings):
    values = {"decoders": 0, "memory_mb": 16, "jobs_folder": str(tmp_path / "jobs")}
    app = create_app(Settings(**values | settings), upscaler)
    return app, app.test_client()


def test_uploads_for_jobs_have_their_own_limit(upscaler, tmp_path):
    settings = {"max_upload_bytes": 1000, "max_job_bytes": 20_000}
    app, client = create_client(upscaler, tmp_path, **settings)
    middle = {"data": {"file": (io.BytesIO(encoded(noise(50, 60))), "a.png")}}
    assert client.post("/model/jobs", **middle).status_code == 202
    for path, limit in (("/model/jobs", 20_000), ("/model/predict", 1000)):
        response = client.post(path, data={"file": (io.BytesIO(bytes(30_000)), "a.png")})
        assert response.status_code == 413
        assert f"at most {limit} bytes. Received: 30" in response.json["message"]
    app.extensions["enhancer"].jobs.engine.close()


def test_a_full_disk_is_a_507(upscaler, tmp_path):
    app, client = create_client(upscaler, tmp_path, jobs_disk_mb=1, max_pixels=10**6)
    file = FileStorage(io.BytesIO(bytes(2_000_000)), "a.png")
    boundary, body = encode_multipart({"file": file})
    content_type = f"multipart/form-data; boundary={boundary}"
    response = client.post("/model/jobs", data=body, content_type=content_type)
    assert response.status_code == 507
    assert int(response.headers["Retry-After"]) > 0
    assert "at most 1 MB" in response.json["message"]
    app.extensions["enhancer"].jobs.engine.close()


def test_jobs_can_be_turned_off(upscaler, tmp_path):
    app, client = create_client(upscaler, tmp_path, no_jobs=True)
    app.start()
    app.stop()
    for method, path in (("POST", ""), ("GET", "/x"), ("DELETE", "/x"), ("GET", "/x/events")):
        answer = client.open(f"/model/jobs{path}", method=method)
        assert answer.status_code == 404
        assert "are turned off on this server (DISABLE_JOBS)" in answer.json["message"]
    assert "turned off" not in client.get("/model/jobsy").json["message"]
    data = {"image": (io.BytesIO(PNG), "a.png")}
    answer = client.post("/model/predict", data=data, headers={"Prefer": "respond-async"})
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (200, False)
    assert "jobs" not in client.get("/model/metadata").json
    assert "/model/jobs" not in client.get("/swagger.json").json["paths"]
    assert not (tmp_path / "jobs").exists()


def test_jobs_need_a_key_where_keys_are_set(upscaler, tmp_path):
    _, client = create_client(upscaler, tmp_path, api_keys=("k" * 20,))
    for method, path in (("POST", ""), ("GET", "/x"), ("DELETE", "/x"), ("GET", "/x/events")):
        assert client.open(f"/model/jobs{path}", method=method).status_code == 401


def test_a_started_application_continues_the_jobs_on_disk(tmp_path):
    def create(network):
        upscaler = Upscaler(make_card(), network, window=16)
        return create_client(upscaler, tmp_path)

    through = threading.Event()
    first, client = create(lambda lr: through.wait(10) and repeat(lr))
    data = {"file": (io.BytesIO(PNG), "a.png")}
    link = client.post("/model/jobs", data=data).headers["Location"]
    first.stop()
    through.set()
    first.extensions["enhancer"].jobs.engine.close()
    second, client = create(repeat)
    second.start()
    wait_until(lambda: client.get(link).json["state"] == "succeeded")
    np.testing.assert_array_equal(read_png(client.get(f"{link}/result").data), repeat(LR))
    second.extensions["enhancer"].jobs.engine.close()


def test_the_jobs_folder_is_that_of_the_settings_or_of_the_port(tmp_path):
    assert jobs_folder(Settings(jobs_folder="/somewhere")) == jobs_folder(
        Settings(jobs_folder="/somewhere", port=1)
    )
    assert jobs_folder(Settings()).parent == tmp_path
    assert jobs_folder(Settings()) != jobs_folder(Settings(port=5001))


def test_the_limits_of_jobs_are_in_the_metadata(client):
    limits = client.get("/model/metadata").json["jobs"]
    assert limits["max_upload_bytes"] == 256 * 1024 * 1024
    assert (limits["max_seconds"], limits["max_frames"]) == (600, 20_000)
    assert "ZIP" in limits["formats"]
    assert limits["expiry_seconds"] == 86_400


def test_jobs_are_counted_in_the_metrics(client, post_job, ended):
    ended(post_job(pictures(3), "a.zip"))
    client.delete(post_job().headers["Location"])

    def figures():
        lines = client.get("/metrics").text.splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line.startswith("enhancer_job"))

    wait_until(lambda: figures().get('enhancer_jobs_ended_total{state="succeeded"}') == "1.0")
    metrics = figures()
    assert float(metrics["enhancer_job_frames_total"]) >= 3
    assert metrics['enhancer_jobs{state="queued"}'] == "0.0"
    assert float(metrics["enhancer_jobs_disk_bytes"]) > 0
    assert float(metrics["enhancer_jobs_disk_budget_bytes"]) == 4e9


def test_job_ids_are_not_logged(client, post_job, caplog):
    with caplog.at_level("INFO", "enhancer"):
        job_id = post_job().json["id"]
        client.get(f"/model/jobs/{job_id}", buffered=True)
    assert f"/model/jobs/{job_id[:6]}..." in caplog.text
    assert job_id not in caplog.text
