"""Jobs in the production server with a stand-in network: crashes, stops and many clients."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from api.server.worker import is_event_request
from tests.api.server.test_worker import address_of, metric, predict, workers_of
from tests.support.media_files import pictures
from tests.support.stand_in_app import TILE_S, stand_in_service
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until

COUNT = 12  # pictures of a job, each of which is a segment
TIMEOUT_S = 30
SLOW = {TILE_S: "0.2"}


@pytest.fixture(scope="module")
def archive():
    return pictures(COUNT)


@pytest.fixture(scope="module")
def undisturbed(archive):
    """The result of an undisturbed job."""
    with stand_in_service(**{TILE_S: "0"}) as (url, _):
        return result(url, finish(url, create(url, archive)))


def create(url, content, name="photos.zip", **headers):
    """Create a job. Return its path."""
    files = {"file": (name, content)}
    answer = requests.post(f"{url}/model/jobs", files=files, headers=headers, timeout=TIMEOUT_S)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def get_job(url, path):
    return requests.get(url + path, timeout=TIMEOUT_S).json()


def finish(url, path):
    """Wait until a job has succeeded. Return its path."""
    wait_until(lambda: get_job(url, path)["state"] not in ("queued", "running"), 60)
    assert get_job(url, path)["state"] == "succeeded"
    return path


def result(url, path):
    return requests.get(f"{url}{path}/result", timeout=TIMEOUT_S).content


def kill_group(process):
    """Kill the server and all its processes, as if the machine had crashed."""
    pids = [process.pid, *workers_of(process)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.wait(10)


def parts_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*/part-*")}


def test_a_killed_server_continues_its_jobs_after_a_restart(tmp_path, archive, undisturbed):
    environ = {"ENHANCER_JOBS_FOLDER": str(tmp_path), **SLOW}
    with pytest.raises(ChildProcessError), stand_in_service(**environ) as (url, process):
        path = create(url, archive)
        waiting = create(url, archive)
        wait_until(lambda: len(parts_of(tmp_path)) >= 4)
        kill_group(process)
    finished = parts_of(tmp_path)
    assert 4 <= len(finished) < COUNT
    environ[TILE_S] = "0.05"
    with stand_in_service(**environ) as (url, _):
        assert get_job(url, path)["state"] == "running"
        wait_until(lambda: len(parts_of(tmp_path)) > len(finished))
        assert finished.items() <= parts_of(tmp_path).items()  # none of them was made again
        for one in (path, waiting):
            assert result(url, finish(url, one)) == undisturbed


def test_a_stopped_server_does_not_wait_for_its_jobs_and_continues_them_later(
    tmp_path, archive, undisturbed
):
    environ = {"ENHANCER_JOBS_FOLDER": str(tmp_path), **SLOW}
    with stand_in_service(**environ) as (url, process):
        path = create(url, archive)
        wait_until(lambda: get_job(url, path)["frames_done"] >= 2)
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
    assert 2 <= len(parts_of(tmp_path)) < COUNT
    environ[TILE_S] = "0"
    with stand_in_service(**environ) as (url, _):
        assert result(url, finish(url, path)) == undisturbed


@pytest.mark.thorough
def test_several_processes_share_the_jobs(archive, undisturbed):
    with stand_in_service(ENHANCER_WORKERS="2", **{TILE_S: "0.02"}) as (url, process):
        paths = [create(url, archive) for _ in range(4)]
        os.kill(workers_of(process)[0], signal.SIGKILL)
        for path in paths:
            assert result(url, finish(url, path)) == undisturbed
        wait_until(lambda: metric(url, 'jobs{state="succeeded"}') == 4)
        assert metric(url, 'jobs{state="running"}') == 0


@pytest.mark.thorough
def test_two_servers_on_a_folder_compute_each_picture_once(tmp_path, archive, undisturbed):
    environ = {"ENHANCER_JOBS_FOLDER": str(tmp_path), **{TILE_S: "0.02"}}
    with stand_in_service(**environ) as (url, _), stand_in_service(**environ) as (other, _):
        paths = [create(url, archive) for _ in range(4)]
        for path in paths:
            assert result(other, finish(other, path)) == undisturbed
        computed = [metric(server, "job_frames_total") for server in (url, other)]
        assert sum(computed) == 4 * COUNT
        assert min(computed) > 0


def test_two_simultaneous_requests_with_one_key_create_one_job(archive):
    with stand_in_service(ENHANCER_WORKERS="2") as (url, _), ThreadPoolExecutor(6) as pool:
        headers = {"Idempotency-Key": "once"}
        paths = list(pool.map(lambda _: create(url, archive, **headers), range(6)))
    assert len(set(paths)) == 1


def test_a_job_continues_when_its_client_disconnects(archive, undisturbed):
    with stand_in_service(**{TILE_S: "0.05"}) as (url, _):
        path = create(url, archive)
        with requests.get(f"{url}{path}/events", stream=True, timeout=TIMEOUT_S) as events:
            next(events.iter_lines())
        assert result(url, finish(url, path)) == undisturbed


def test_a_picture_is_not_kept_waiting_by_a_job(encode):
    with stand_in_service(**SLOW) as (url, _):
        picture = encode(noise(40, 50))
        path = create(url, pictures(10 * COUNT))  # enough for half a minute
        wait_until(lambda: get_job(url, path)["state"] == "running")
        for _ in range(3):
            assert predict(url, picture).status_code == 200
        assert get_job(url, path)["state"] == "running"


def watch(url, path, stop, on_line=lambda: None):
    """Read a stream until it ends or the event is set. Return its last line.

    `on_line` is called after each line.
    """
    last = b""
    with requests.get(f"{url}{path}/events", stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code != 200:
            return answer.status_code
        for line in answer.iter_lines():
            last = line
            on_line()
            if stop.is_set():
                break
    return last


def test_event_streams_take_no_thread_from_pictures_and_have_a_limit(archive, encode):
    environ = {"ENHANCER_REQUEST_THREADS": "2", "ENHANCER_JOB_WATCHERS": "3", TILE_S: "0.3"}
    stop, begun = threading.Event(), [threading.Event() for _ in range(3)]
    with stand_in_service(**environ) as (url, _), ThreadPoolExecutor(5) as pool:
        path = create(url, archive)
        watching = [pool.submit(watch, url, path, stop, each.set) for each in begun]
        wait_until(lambda: get_job(url, path)["state"] == "running")
        assert all(each.wait(TIMEOUT_S) for each in begun)
        assert watch(url, path, stop) == 503
        assert predict(url, encode(noise(40, 50))).status_code == 200
        assert not any(watcher.done() for watcher in watching)
        stop.set()
        requests.delete(url + path, timeout=TIMEOUT_S)
        for watcher in watching:
            watcher.result(TIMEOUT_S)
        wait_until(lambda: watch(url, path, threading.Event()) == b"")


def test_event_streams_end_when_the_server_is_stopped(archive):
    with stand_in_service(**SLOW) as (url, process), ThreadPoolExecutor(1) as pool:
        path = create(url, archive)
        watcher = pool.submit(watch, url, path, threading.Event())
        wait_until(lambda: get_job(url, path)["state"] == "running")
        process.terminate()
        watcher.result(TIMEOUT_S)
        assert process.wait(TIMEOUT_S) == 0


def test_a_large_upload_may_take_longer_if_it_keeps_its_rate():
    environ = {"ENHANCER_READ_TIMEOUT_S": "0.5", TILE_S: "0"}
    with stand_in_service(**environ) as (url, _):
        files = {"file": ("a.zip", os.urandom(600_000))}
        prepared = requests.Request("POST", f"{url}/model/jobs", files=files).prepare()
        for path, status in (("/model/jobs", b"400"), ("/model/predict", b"408")):
            head = "".join(f"{name}: {value}\r\n" for name, value in prepared.headers.items())
            with socket.create_connection(address_of(url), timeout=TIMEOUT_S) as connection:
                connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\n{head}\r\n".encode())
                assert status in answer_to_slow(connection, prepared.body)


def answer_to_slow(connection, body, portions=12, pause_s=0.1):
    """Send a body in portions. Return the first line of the response, which may come early."""
    size = len(body) // portions + 1
    for start in range(0, len(body), size):
        try:
            connection.sendall(body[start : start + size])
        except OSError:
            break
        time.sleep(pause_s)
    return connection.recv(100)


@pytest.mark.parametrize(
    ("head", "is_watching"),
    [
        (b"GET /model/jobs/abc/events HTTP/1.1\r\n", True),
        (b"GET /model/jobs/abc/events?x=1 HTTP/1.1\r\n", True),
        (b"GET /a/prefix/model/jobs/abc/events HTTP/1.1\r\n", True),
        (b"GET /?/model/jobs/abc/events HTTP/1.1\r\n", False),
        (b"GET /model/jobs/abc/eventsx HTTP/1.1\r\n", False),
        (b"GET /model/jobs/abc HTTP/1.1\r\n", False),
        (b"POST /model/jobs/abc/events HTTP/1.1\r\n", False),
    ],
)
def test_a_request_for_events_is_recognised_by_its_first_line(head, is_watching):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(head)
        assert is_event_request(ours) is is_watching
