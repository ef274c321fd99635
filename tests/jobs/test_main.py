import os
import socket
import time

import pytest

from app import work
from core.files import lock_file
from jobs.__main__ import MAX_AGE_S, main
from jobs.cluster.storage import Storage
from tests.support.redis_server import needs_redis


def test_a_worker_without_a_queue_says_what_is_missing(tmp_path):
    with pytest.raises(SystemExit, match="ENHANCER_QUEUE_URL must be set for a worker"):
        work(tmp_path / "alive")


def test_a_worker_with_an_unknown_kind_of_storage_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ENHANCER_QUEUE_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("ENHANCER_STORAGE_URL", "nowhere://at/all")
    with pytest.raises(SystemExit, match="ENHANCER_STORAGE_URL must be a writable folder or s3://"):
        work(tmp_path / "alive")


def test_a_worker_whose_port_of_metrics_is_taken_says_so(tmp_path, monkeypatch):
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("ENHANCER_WORKER_METRICS_PORT", str(port))
        with pytest.raises(SystemExit, match=f"METRICS_PORT must be a free port.*: {port}"):
            work(tmp_path / "alive")


def test_a_worker_is_healthy_if_its_file_was_touched_recently(tmp_path):
    alive_file = tmp_path / "alive"
    command = ["health", "--sign", str(alive_file)]
    assert main(command) == 1
    alive_file.touch()
    assert main(command) == 0
    for away_s in (-MAX_AGE_S - 1, MAX_AGE_S + 10):  # the clock may have been set back
        then = time.time() + away_s
        os.utime(alive_file, (then, then))
        assert main(command) == 1


def test_a_second_worker_with_the_same_sign_is_refused(tmp_path):
    command = ["worker", "--sign", str(tmp_path / "alive")]
    lock = lock_file(tmp_path / "alive.lock")
    with pytest.raises(SystemExit, match="a file of its own .*alive, which a running worker has"):
        main(command)
    os.close(lock)  # as the end of that worker does
    with pytest.raises(SystemExit, match="ENHANCER_QUEUE_URL must be set for a worker"):
        main(command)


def test_a_sign_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="in a writable folder. Received: .*none/alive, which"):
        main(["worker", "--sign", str(tmp_path / "none" / "alive")])


@needs_redis
def test_the_storage_of_this_machine_can_be_made_that_of_the_cluster(
    redis_client, tmp_path, monkeypatch, capsys
):
    port = redis_client.connection_pool.connection_kwargs["port"]
    monkeypatch.setenv("ENHANCER_QUEUE_URL", f"redis://127.0.0.1:{port}/0")
    monkeypatch.setenv("ENHANCER_STORAGE_URL", str(tmp_path))
    redis_client.set("enhancer:storage", "another one")
    assert main(["adopt"]) == 0
    identity = Storage(str(tmp_path)).identity()
    assert redis_client.get("enhancer:storage") == identity
    assert identity in capsys.readouterr().out


def test_a_storage_cannot_be_adopted_without_redis(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="ENHANCER_QUEUE_URL must be set"):
        main(["adopt"])
    monkeypatch.setenv("ENHANCER_QUEUE_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("ENHANCER_STORAGE_URL", str(tmp_path))
    with pytest.raises(SystemExit, match="Redis and the storage must answer. Received: Error 111"):
        main(["adopt"])
