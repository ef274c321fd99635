import os
import runpy
import subprocess
import sys

import pytest

from app import create_app, from_environment, serve
from config import ROOT, Settings
from core.card import faithful_path, graph_path, read_card


def run_app(**environ):
    return subprocess.run(
        [sys.executable, ROOT / "app.py"],
        env={"PATH": ""} | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_cors_is_closed_unless_it_is_enabled(upscaler):
    for cors, expected in ((False, None), (True, "*")):
        client = create_app(Settings(cors=cors, decoders=0), upscaler).test_client()
        headers = client.get("/model/metadata", headers={"Origin": "http://there"}).headers
        assert headers.get("Access-Control-Allow-Origin") == expected
        if cors:
            assert "X-Request-Id" in headers["Access-Control-Expose-Headers"]


def test_the_server_does_not_start_with_a_wrong_setting():
    done = run_app(ENHANCER_PORT="http")
    assert done.returncode == 1
    assert done.stderr == "app.py: ENHANCER_PORT must be a whole number. Received: 'http'\n"


@pytest.mark.parametrize("changed", ["srgan.pb", "srresnet.pb"])
def test_the_server_does_not_start_with_a_changed_graph(tmp_path, changed):
    card = Settings().card
    for path in (card, faithful_path(card, read_card(card))):
        tmp_path.joinpath(path.name).write_bytes(path.read_bytes())
        graph = graph_path(path, read_card(path))
        tmp_path.joinpath(graph.name).write_bytes(graph.read_bytes())
    tmp_path.joinpath(changed).write_bytes(b"changed")
    done = run_app(ENHANCER_CARD=str(tmp_path / card.name))
    assert done.returncode == 1
    assert f"{changed} must have the sha256" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_the_right_settings_and_graph_the_program_becomes_the_server(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: started.append(arguments))
    serve()
    assert started == [
        [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
    ]


def test_a_server_process_takes_settings_and_graph_from_the_environment(monkeypatch):
    monkeypatch.setenv("ENHANCER_MAX_SIDE", "77")
    metadata = from_environment().test_client().get("/model/metadata").json
    assert metadata["limits"]["max_side"] == 77
    assert metadata["weights"]["sha256"] == read_card(Settings().card).sha256


def test_the_server_is_configured_by_the_same_settings(monkeypatch):
    monkeypatch.setenv("ENHANCER_PORT", "8080")
    monkeypatch.setenv("ENHANCER_REQUEST_THREADS", "3")
    configuration = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert configuration["bind"] == "0.0.0.0:8080"
    assert configuration["threads"] == 3
    assert configuration["preload_app"] is False


@pytest.mark.parametrize("module", ["tensorflow", "keras"])
def test_the_application_without_a_graph_needs_no_network_library(module):
    code = f"import app, upscale, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
