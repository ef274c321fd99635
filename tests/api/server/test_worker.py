"""The production server with a stand-in network: load, slow clients, stops and crashes."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from api.server.worker import (
    is_held_by,
    is_probe,
    is_progress_request,
    reject_new_connections,
)
from core.files import create_locked_folder
from tests.support.stand_in_app import LOAD_S, TILE_S, stand_in_service
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until

CLIENTS = 16
TIMEOUT_S = 30


@pytest.fixture
def picture(encode):
    return encode(noise(40, 50))


def multipart(url, picture):
    request = requests.Request("POST", f"{url}/model/predict", files={"image": picture})
    return request.prepare()


def predict(url, picture, headers=None):
    files = {"image": picture}
    return requests.post(f"{url}/model/predict", files=files, headers=headers, timeout=TIMEOUT_S)


def address_of(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port


def status_of(url, path):
    """Return the status of a probe; None if no server answers."""
    try:
        return requests.get(f"{url}{path}", timeout=5).status_code
    except requests.ConnectionError:
        return None


def metric(url, name):
    """Return a metric of the service; None if it is missing."""
    try:
        text = requests.get(f"{url}/metrics", timeout=5).text
    except requests.ConnectionError:
        return None
    found = re.search(rf"^enhancer_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return found and float(found[1])


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def ask_until_refused(url, prepared, keeps_alive, answers):
    """Send requests one by one until refused. Every connection must bring a response.

    Status and size of each response are appended to `answers`.
    """
    connection = http.client.HTTPConnection(*address_of(url), timeout=TIMEOUT_S)
    while True:
        if connection.sock is None:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
        connection.request("POST", "/model/predict", prepared.body, dict(prepared.headers))
        answer = connection.getresponse()
        answers.append((answer.status, len(answer.read())))
        if not keeps_alive:
            connection.close()


@pytest.mark.parametrize(
    ("workers", "keeps_alive"),
    [
        pytest.param("1", False, marks=pytest.mark.thorough),
        pytest.param("1", True, marks=pytest.mark.thorough),
        ("2", False),
    ],
)
def test_a_stopping_server_answers_every_accepted_connection(picture, workers, keeps_alive):
    with stand_in_service(ENHANCER_WORKERS=workers) as (url, process):
        expected = len(predict(url, picture).content)
        prepared, answers = multipart(url, picture), []
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [
                pool.submit(ask_until_refused, url, prepared, keeps_alive, answers)
                for _ in range(CLIENTS)
            ]
            wait_until(lambda: len(answers) > CLIENTS, 60)
            process.terminate()
            for client in clients:
                client.result(60)
        assert process.wait(60) == 0
    assert len(answers) > CLIENTS
    assert set(answers) == {(200, expected)}


def test_a_stopping_server_refuses_connections_while_it_finishes(picture):
    with stand_in_service(**{TILE_S: "2"}) as (url, process), ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(predict, url, picture)
        wait_until(lambda: metric(url, "memory_admitted_bytes"))
        process.terminate()
        wait_until(lambda: status_of(url, "/health/live") is None)
        assert not under_way.done()
        assert under_way.result().status_code == 200


def test_a_draining_server_is_not_ready_but_accepts_requests(picture):
    with stand_in_service(ENHANCER_DRAIN_S="2") as (url, process):
        assert status_of(url, "/health/ready") == 200
        process.terminate()
        wait_until(lambda: status_of(url, "/health/ready") == 503)
        assert status_of(url, "/health/live") == 200
        answer = predict(url, picture)
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        wait_until(lambda: status_of(url, "/health/live") is None)
        assert process.wait(10) == 0


def test_a_killed_worker_is_replaced_and_not_ready_before_it_has_loaded(picture):
    with stand_in_service(**{LOAD_S: "2"}) as (url, process):
        (killed,) = workers_of(process)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: status_of(url, "/health/ready") == 503)
        assert status_of(url, "/health/live") == 200
        assert predict(url, picture).status_code == 200  # it has waited
        assert status_of(url, "/health/ready") == 200
        assert workers_of(process) != [killed]


def test_probes_are_answered_when_all_threads_are_busy(picture):
    environ = {TILE_S: "1.5", "ENHANCER_REQUEST_THREADS": "2"}
    with stand_in_service(**environ) as (url, _), ThreadPoolExecutor(3) as pool:
        busy = [pool.submit(predict, url, picture) for _ in range(3)]
        wait_until(lambda: metric(url, "memory_admitted_bytes") > 0)
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert status_of(url, path) == 200
        assert not any(request.done() for request in busy)
        assert {request.result().status_code for request in busy} == {200}


def test_progress_is_answered_when_all_threads_are_busy(picture):
    environ = {TILE_S: "0.7", "ENHANCER_REQUEST_THREADS": "2"}
    with stand_in_service(**environ) as (url, _), ThreadPoolExecutor(3) as pool:
        address = f"{url}/model/progress/mine"
        mine = pool.submit(predict, url, picture, {"X-Request-Id": "mine"})
        wait_until(lambda: requests.get(address, timeout=TIMEOUT_S).status_code == 200)
        others = [pool.submit(predict, url, picture) for _ in range(2)]
        assert requests.get(address, timeout=TIMEOUT_S).json()["tiles_done"] == 0
        assert not mine.done()
        assert {request.result().status_code for request in (mine, *others)} == {200}
        assert requests.get(address, timeout=TIMEOUT_S).status_code == 404


def test_the_metrics_of_several_workers_are_added_up(picture):
    with stand_in_service(ENHANCER_WORKERS="2", ENHANCER_MEMORY_MB="50") as (url, process):
        for _ in range(6):
            assert predict(url, picture).status_code == 200
        wait_until(lambda: metric(url, "memory_budget_bytes") == 100e6)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        wait_until(lambda: metric(url, "memory_budget_bytes") == 100e6)
        # Those of the killed one are not forgotten.
        wait_until(lambda: metric(url, "tiles_total") == 6)
        folder = metrics_folder(process)
        assert folder.exists()
    assert not folder.exists()


def test_metrics_of_a_killed_server_are_swept_and_those_of_others_are_not():
    memory = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
    (dead, lock), (alive, other_lock) = (
        create_locked_folder(memory, "enhancer-shared-metrics-") for _ in range(2)
    )
    os.close(lock)  # as the end of a process does
    try:
        with stand_in_service():
            assert (dead.exists(), alive.exists()) == (False, True)
    finally:
        shutil.rmtree(alive)
        os.close(other_lock)


def metrics_folder(process):
    """Return the folder in which the workers count: they map its files."""
    found = []

    def has_been_found():
        for pid in workers_of(process):
            maps = Path(f"/proc/{pid}/maps").read_text()
            found.extend(re.findall(r"(/\S*enhancer-shared-metrics-[^/]+)/", maps))
        return found

    wait_until(has_been_found)
    return Path(found[0])


@pytest.fixture(scope="module")
def quick_server():
    """A server with short timeouts."""
    environ = {"ENHANCER_READ_TIMEOUT_S": "0.5", "ENHANCER_WRITE_TIMEOUT_S": "0.5"}
    with stand_in_service(**environ, **{TILE_S: "0"}) as (url, _):
        yield url


def trickle(url, content, pause_s=0.1):
    """Send bytes one by one until there is a response, before the last. Return it."""
    with socket.create_connection(address_of(url), timeout=TIMEOUT_S) as connection:
        for start in range(len(content)):
            connection.sendall(content[start : start + 1])
            connection.settimeout(pause_s)
            try:
                first = connection.recv(10_000)
                break
            except TimeoutError:
                continue
        connection.settimeout(TIMEOUT_S)
        return first + b"".join(iter(lambda: connection.recv(10_000), b""))


def test_slow_headers_time_out(quick_server):
    answer = trickle(quick_server, b"GET /model/metadata HTTP/1.1\r\n" + b"X: y\r\n" * 50)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_slow_body_times_out(quick_server, picture):
    prepared = multipart(quick_server, picture)
    head = "".join(f"{name}: {value}\r\n" for name, value in prepared.headers.items())
    with socket.create_connection(address_of(quick_server), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"POST /model/predict HTTP/1.1\r\nHost: a\r\n" + head.encode() + b"\r\n")
        connection.sendall(prepared.body[:300])
        answer = b"".join(iter(lambda: connection.recv(10_000), b""))
    assert answer.startswith(b"HTTP/1.1 408 REQUEST TIMEOUT\r\n")
    assert b"Connection: close\r\n" in answer
    assert b'"Request must arrive within 0.5 s. It did not."' in answer


def test_memory_is_freed_if_the_client_does_not_read(quick_server, encode):
    prepared = multipart(quick_server, encode(noise(1000, 1500)))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(TIMEOUT_S)
        connection.connect(address_of(quick_server))
        head = "".join(f"{name}: {value}\r\n" for name, value in prepared.headers.items())
        connection.sendall(b"POST /model/predict HTTP/1.1\r\nHost: a\r\n" + head.encode() + b"\r\n")
        connection.sendall(prepared.body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        wait_until(lambda: metric(quick_server, "memory_admitted_bytes") > 0)
        wait_until(lambda: metric(quick_server, "memory_admitted_bytes") == 0, 30)
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(b".")
                connection.recv(1_000_000)


def test_short_timeouts_do_not_affect_quick_clients(quick_server, picture):
    with requests.Session() as session:
        for _ in range(3):
            files = {"image": picture}
            answer = session.post(f"{quick_server}/model/predict", files=files, timeout=TIMEOUT_S)
            assert answer.status_code == 200
            time.sleep(0.6)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nSCRIPT_NAME: /a\r\n\r\n", b"200"),
    ],
)
def test_malformed_heads_are_answered_and_do_not_time_out(quick_server, head, status):
    with socket.create_connection(address_of(quick_server), timeout=TIMEOUT_S) as connection:
        connection.sendall(head)
        assert connection.recv(10_000).split()[1] == status


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_a_complete_probe_is_recognised(path):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not is_probe(ours)
        theirs.sendall(f"GET {path} HTTP/1.1\r\n".encode())
        assert not is_probe(ours)  # the rest may be long in coming
        theirs.sendall(b"Host: a\r\n\r\n")
        assert is_probe(ours)


@pytest.mark.parametrize("head", ["POST /health/live", "GET /health/lives", "GET /model/metadata"])
def test_other_requests_are_not_probes(head):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(f"{head} HTTP/1.1\r\n\r\n".encode())
        assert not is_probe(ours)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("GET /model/progress/abc", True),
        ("GET /model/progress/abc?now", True),
        ("GET /prefix/model/progress/abc", True),
        ("GET /model/progress", False),
        ("GET /model/progress/abc/def", False),
        ("POST /model/progress/abc", False),
    ],
)
def test_a_progress_request_is_recognised_by_its_first_line(head, expected):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(f"{head} HTTP/1.1\r\n\r\n".encode())
        assert is_progress_request(ours) is expected


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_new_connections_are_dropped_and_others_go_on(listener):
    with socket.create_connection(listener.getsockname()) as caller:
        reject_new_connections(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.2)
        accepted, _ = listener.accept()
        with accepted:
            caller.sendall(b"hello")
            assert accepted.recv(10) == b"hello"


def test_the_holder_of_a_socket_is_known(listener):
    with socket.socket() as other:
        assert is_held_by(os.getpid(), listener)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with child:
            assert not is_held_by(child.pid, listener)
            assert not is_held_by(child.pid, other)
            child.communicate(b"\n")


def test_an_unknown_process_counts_as_a_holder(listener):
    assert is_held_by(2**30, listener)
