"""The service with jobs that workers on other machines compute."""

import io

import pytest

from app import create_app
from config import Settings
from jobs.cluster.engine import ClusterJobs
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stand_ins import noise


@pytest.fixture
def create_client(upscaler, tmp_path):
    apps = []

    def create_client(queue_url):
        settings = Settings(
            queue_url=queue_url,
            storage_url=str(tmp_path / "storage"),
            max_pixels=2000,
            memory_mb=16,
            decoders=0,
        )
        apps.append(create_app(settings, upscaler))
        return apps[-1].test_client()

    yield create_client
    for app in apps:
        app.extensions["enhancer"].jobs.engine.close()


@pytest.fixture
def redis_server(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@needs_redis
def test_a_job_is_accepted_for_workers(create_client, redis_server, encode, tmp_path):
    client = create_client(redis_server.url)
    assert isinstance(client.application.extensions["enhancer"].jobs.engine, ClusterJobs)
    file = (io.BytesIO(encode(noise(12, 20))), "a.png")
    answer = client.post("/model/jobs", data={"file": file})
    assert (answer.status_code, answer.json["state"]) == (202, "queued")
    (stored,) = (tmp_path / "storage").glob("*/source")
    assert client.get(answer.headers["Location"]).json["id"] == stored.parent.name
    assert client.delete(answer.headers["Location"]).status_code == 204
    assert client.get(answer.headers["Location"]).json["state"] == "cancelled"
    assert not stored.exists()


def test_jobs_wait_for_redis_and_pictures_do_not(create_client, encode):
    client = create_client("redis://127.0.0.1:1/0")
    answer = client.get("/model/jobs/nobody")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/metrics").status_code == 200
    picture = (io.BytesIO(encode(noise(12, 20))), "a.png")
    assert client.post("/model/predict", data={"image": picture}).status_code == 200
