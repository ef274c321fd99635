"""The server of a trial: what it tells, what it refuses, and what survives."""

import http.client
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from benchmarks.server import free_port
from config import ROOT
from tests.support.trials import CHOSEN, preparation, write_pictures
from tests.support.waiting import wait_until
from training import CommandFailed
from training.opinion.answers import read_answers
from training.opinion.server import CODE_HEADER, create_app
from training.opinion.trial import ANCHORS, ANSWERS_FILE, KEY_FILE, picture_path, read_trial

ANSWER = {"value": 3, "duration_ms": 1500, "pixel_ratio": 1.25}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    write_pictures(folder)
    preparation(folder).run()
    return folder / "trial"


@pytest.fixture
def folder(prepared, tmp_path):
    """The trial without any answer."""
    return shutil.copytree(prepared, tmp_path / "trial")


@pytest.fixture
def trial(folder):
    return read_trial(folder)


@pytest.fixture
def app(folder):
    app = create_app(folder)
    yield app
    app.extensions["answers"].close()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def enrol(client):
    def enrol():
        answer = client.post("/api/raters", json=CHOSEN)
        assert answer.status_code == 201
        return {CODE_HEADER: answer.json["code"]}

    return enrol


def test_raters_see_their_own_pictures_only_when_due(folder, trial, client, enrol):
    first, second = enrol(), enrol()
    for headers, order in ((first, trial.orders[0]), (second, trial.orders[1])):
        for question in (0, 1):
            shown = client.get(f"/api/questions/{question}/0", headers=headers)
            assert shown.data == picture_path(folder, order[question][0]).read_bytes()
        assert client.get("/api/questions/2/0", headers=headers).status_code == 404
    assert client.get("/api/questions/0/1", headers=first).status_code == 404
    assert client.get("/api/questions/0/0").status_code == 401
    assert client.put("/api/answers/0", json=ANSWER, headers=first).json == {"question": 1}
    assert client.get("/api/questions/0/0", headers=first).status_code == 404
    assert client.get("/api/questions/2/0", headers=first).status_code == 200
    code = first[CODE_HEADER].lower()
    same = {CODE_HEADER: f"{code[:5]}-{code[5:]}"}
    assert client.get("/api/rater", headers=same).json == {"question": 1}
    assert client.get("/api/rater", headers=second).json == {"question": 0}


def test_answers_tell_nothing_about_outputs(folder, client, enrol):
    (folder / KEY_FILE).unlink()  # the server does without it
    headers = enrol()
    answers = [
        client.get(path, headers=headers)
        for path in ("/", "/main.js", "/page.css", "/api/trial", "/api/questions/0/0")
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert not {"ETag", "Last-Modified", "Set-Cookie", "Content-Disposition"} & {
            *answer.headers.keys()
        }
    design = client.get("/api/trial").json
    assert design["questions"] == 22
    assert not any(word in json.dumps(design) for word in (*ANCHORS, "Tiny", "orders"))
    for path in ("/key.json", "/trial.json", "/answers.sqlite", "/../key.json", "/pictures/a.png"):
        assert client.get(path).status_code == 404


def test_an_answer_counts_once_in_two_tabs(client, enrol):
    headers = enrol()
    put = lambda question, value: client.put(  # noqa: E731
        f"/api/answers/{question}", json=ANSWER | {"value": value}, headers=headers
    )
    assert put(0, 4).json == {"question": 1}
    assert put(0, 4).json == {"question": 1}
    assert put(0, 5).status_code == 409
    assert put(2, 5).status_code == 409
    assert client.get("/api/rater", headers=headers).json == {"question": 1}


def test_two_raters_answer_at_once(folder, app, trial, enrol):
    everybody = [enrol(), enrol()]

    def answer_all(headers):
        client = app.test_client()
        for question in range(trial.question_count):
            client.put(f"/api/answers/{question}", json=ANSWER, headers=headers)

    threads = [threading.Thread(target=answer_all, args=(headers,)) for headers in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, answers = read_answers(folder / "answers.sqlite")
    assert len(answers) == 2 * trial.question_count
    assert app.test_client().get("/api/rater", headers=everybody[0]).json == {
        "question": trial.question_count
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 6}, "value must be one of 1, 2, 3, 4, 5. Received: 6."),
        ({"value": "3"}, "value must be one of 1, 2, 3, 4, 5. Received: '3'."),
        ({"value": True}, "value must be one of 1, 2, 3, 4, 5. Received: True."),
        ({"value": [1]}, "Received: [1]."),
        ({"value": None}, "Received: None."),
        ({"duration_ms": -1}, "duration_ms must be a whole number from 0 to 86400000."),
        ({"duration_ms": 1.5}, "Received: 1.5."),
        ({"pixel_ratio": 0}, "pixel_ratio must be a number from 0.1 to 20.0. Received: 0."),
        ({"pixel_ratio": math.nan}, "Received: nan."),
    ],
)
def test_a_malformed_answer_is_refused(client, enrol, change, message):
    headers = enrol()
    refused = client.put("/api/answers/0", json=ANSWER | change, headers=headers)
    assert refused.status_code == 400
    assert message in refused.json["message"]
    assert client.get("/api/rater", headers=headers).json == {"question": 0}


def test_malformed_requests_are_refused(client, enrol):
    headers = enrol()
    path = "/api/answers/0"
    assert client.put(path, json=[3], headers=headers).status_code == 400
    assert client.put(path, json={}, headers=headers).json["message"].endswith("Received: nothing.")
    as_json = {"content_type": "application/json", "headers": headers}
    assert client.put(path, data=b"[" * 4000, **as_json).status_code == 400
    assert client.put(path, data=b"\xff{", **as_json).status_code == 400
    assert client.put(path, data=b"{}" * 4000, **as_json).status_code == 413
    assert client.put(path, data={"value": 3}, headers=headers).status_code == 415
    assert client.put("/api/answers/22", json=ANSWER, headers=headers).status_code == 404
    assert client.put(path, json=ANSWER, headers={CODE_HEADER: "ABCDEFGHJK"}).status_code == 401
    for change, word in (({"consent": "yes"}, "true"), ({"light": "moon"}, "daylight")):
        refused = client.post("/api/raters", json=CHOSEN | change)
        assert refused.status_code == 400
        assert word in refused.json["message"]


def test_a_rater_who_withdraws_leaves_nothing(folder, client, enrol):
    everybody = [enrol() for _ in range(3)]
    full = client.post("/api/raters", json=CHOSEN)
    assert (full.status_code, full.json["message"]) == (
        409,
        "All 3 places of this trial are taken.",
    )
    for headers in everybody:
        client.put("/api/answers/0", json=ANSWER, headers=headers)
    assert client.delete("/api/rater", headers=everybody[1]).status_code == 204
    assert client.put("/api/answers/1", json=ANSWER, headers=everybody[1]).status_code == 401
    conditions, answers = read_answers(folder / "answers.sqlite")
    assert set(conditions) == {answer.rater for answer in answers} == {0, 2}
    enrol()
    assert set(read_answers(folder / "answers.sqlite")[0]) == {0, 1, 2}


def test_an_answer_that_cannot_be_written_is_refused_and_can_be_repeated(app, client, enrol):
    headers = enrol()
    connection = app.extensions["answers"]._connection
    connection.execute("pragma query_only = on")
    refused = client.put("/api/answers/0", json=ANSWER, headers=headers)
    assert refused.status_code == 503
    assert refused.json["message"].startswith("The answer could not be stored.")
    connection.execute("pragma query_only = off")
    assert client.put("/api/answers/0", json=ANSWER, headers=headers).json == {"question": 1}


def test_a_file_that_cannot_hold_answers_is_refused(folder):
    (folder / ANSWERS_FILE).write_bytes(b"no database" * 100)
    with pytest.raises(CommandFailed, match="must be a file of answers that can be written"):
        create_app(folder)


def ask(port, method, path, body=None, headers=None):
    sent = None if body is None else json.dumps(body)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(
            method, path, sent, {"Content-Type": "application/json"} | (headers or {})
        )
        return json.loads(connection.getresponse().read())


def is_serving(port):
    try:
        return ask(port, "GET", "/api/trial")
    except OSError:
        return None


def test_a_killed_server_loses_no_answer(folder, trial):
    port = free_port()
    command = [sys.executable, "-m", "training", "opinion", "serve", folder, "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    stored = []

    def answer_until_killed(headers):
        try:
            for question in range(trial.question_count):
                ask(port, "PUT", f"/api/answers/{question}", ANSWER, headers)
                stored.append(question)
        except (OSError, http.client.HTTPException, ValueError):
            return

    try:
        wait_until(lambda: is_serving(port), timeout_s=60)
        headers = {CODE_HEADER: ask(port, "POST", "/api/raters", CHOSEN)["code"]}
        thread = threading.Thread(target=answer_until_killed, args=(headers,))
        thread.start()
        wait_until(lambda: len(stored) > 3)
    finally:
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    thread.join()
    connection = sqlite3.connect(folder / "answers.sqlite")
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    app = create_app(folder)
    try:
        restored = app.test_client().get("/api/rater", headers=headers).json["question"]
    finally:
        app.extensions["answers"].close()
    assert 3 < len(stored) <= restored <= len(stored) + 1
