import errno
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.sock import close_sockets, create_sockets

from api.access import UnknownStorage
from app import create_app, from_environment, main
from benchmarks.server import free_port
from config import ROOT, Settings, describe_settings
from core.model.card import faithful_path, graph_path, read_card, restorer_path
from core.runtime.share import DEFAULT_SHARE, MOST_SHARE
from service.checks import check_folder
from tests.support.stand_ins import make_card, save_graph


def run_app(*arguments, cwd=None, **environ):
    return subprocess.run(
        [sys.executable, ROOT / "app.py", *arguments],
        env={"PATH": ""} | environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_cors_is_closed_unless_it_is_enabled(upscaler):
    for cors, expected in ((False, None), (True, "*")):
        client = create_app(Settings(cors=cors, decoders=0), upscaler).test_client()
        headers = client.get("/model/metadata", headers={"Origin": "http://there"}).headers
        assert headers.get("Access-Control-Allow-Origin") == expected
        if cors:
            assert "X-Request-Id" in headers["Access-Control-Expose-Headers"]


def test_the_share_of_jobs_is_that_of_the_settings(upscaler):
    assert Settings().jobs_share == DEFAULT_SHARE
    create_app(Settings(decoders=0, jobs_share=MOST_SHARE), upscaler)
    assert upscaler.scheduler.background.share == MOST_SHARE


def test_cors_can_be_open_to_some_origins(upscaler):
    origins = ("https://here.example", "http://localhost:3000")
    client = create_app(Settings(cors_origins=origins), upscaler).test_client()
    for origin in (*origins, "https://there.example", "https://here.example.evil.org"):
        headers = client.get("/model/metadata", headers={"Origin": origin}).headers
        expected = origin if origin in origins else None
        assert headers.get("Access-Control-Allow-Origin") == expected
        assert expected is None or headers["Vary"] == "Origin"


def test_a_page_that_may_call_may_send_its_key(upscaler):
    settings = Settings(cors_origins=("https://here.example",), api_keys=("k" * 20,))
    headers = {
        "Origin": "https://here.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    client = create_app(settings, upscaler).test_client()
    answer = client.options("/model/predict", headers=headers)
    assert answer.status_code == 200
    assert "x-api-key" in answer.headers["Access-Control-Allow-Headers"]


def test_the_server_does_not_start_with_a_wrong_setting():
    done = run_app(ENHANCER_PORT="http")
    assert done.returncode == 1
    assert done.stderr == "app.py: ENHANCER_PORT must be a whole number. Received: 'http'\n"


def test_the_server_does_not_start_where_requests_cannot_be_counted(monkeypatch):
    def refuse(_storage):
        raise UnknownStorage("no library")

    monkeypatch.setattr("service.checks.check_storage", refuse)
    with pytest.raises(SystemExit, match="app.py: ENHANCER_RATE_LIMIT_STORAGE must be .* no lib"):
        main([])


@pytest.mark.parametrize("changed", ["srgan.pb", "srresnet.pb", "restorer.pb"])
def test_the_server_does_not_start_with_a_changed_graph(monkeypatch, tmp_path, changed):
    card = Settings().card
    named = (find_path(card, read_card(card)) for find_path in (faithful_path, restorer_path))
    for path in (card, *named):
        tmp_path.joinpath(path.name).write_bytes(path.read_bytes())
        graph = graph_path(path, read_card(path))
        tmp_path.joinpath(graph.name).write_bytes(graph.read_bytes())
    tmp_path.joinpath(changed).write_bytes(b"changed")
    monkeypatch.setenv("ENHANCER_CARD", str(tmp_path / card.name))
    with pytest.raises(SystemExit, match=f"app.py: .*{changed} must have the sha256"):
        main([])


def test_settings_are_checked_and_told():
    done = run_app("--check", ENHANCER_PORT="8080", ENHANCER_API_KEYS="k" * 20)
    assert done.returncode == 0
    assert "ENHANCER_PORT=8080 (environment)" in done.stdout.splitlines()
    assert "ENHANCER_API_KEYS=(secret) (environment)" in done.stdout.splitlines()
    assert "ENHANCER_HOST=* (default)" in done.stdout.splitlines()
    assert done.stderr == ""


def test_a_check_of_wrong_settings_fails(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ENHANCER_CARD", str(tmp_path / "none.json"))
    with pytest.raises(SystemExit, match="app.py: .*none.json must be a model card"):
        main(["--check"])
    assert capsys.readouterr().out == ""


def test_an_unknown_argument_is_answered_with_the_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--chek"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: app.py")


def test_with_the_right_settings_and_graph_the_program_becomes_the_server(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: started.append(arguments))
    main([])
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
    assert configuration["bind"] in (["[::]:8080"], ["0.0.0.0:8080"], ["0.0.0.0:8080", "[::]:8080"])
    assert configuration["threads"] == 3
    assert configuration["preload_app"] is False


def test_by_default_the_server_listens_on_every_address(monkeypatch):
    port = free_port()
    monkeypatch.setenv("ENHANCER_PORT", str(port))
    config = Config()
    config.set("bind", runpy.run_path(str(ROOT / "gunicorn.conf.py"))["bind"])
    listeners = create_sockets(config, Logger(config))
    has_ipv6 = Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text()
    for host in ("127.0.0.1", "::1") if has_ipv6 else ("127.0.0.1",):
        with socket.create_connection((host, port), timeout=5) as client:
            assert client.getpeername()[:2] == (host, port)
    close_sockets(listeners)


def test_the_server_does_not_start_where_jobs_cannot_be(monkeypatch, tmp_path):
    folder = tmp_path / "a file"
    folder.touch()
    monkeypatch.setenv("ENHANCER_JOBS_FOLDER", str(folder))
    expected = "app.py: ENHANCER_JOBS_FOLDER must be a writable folder of this user"
    with pytest.raises(SystemExit, match=expected):
        main(["--check"])
    monkeypatch.setenv("DISABLE_JOBS", "true")
    main(["--check"])


def test_a_check_finds_all_mistakes_and_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "ENHANCER_PORT": "0",
        "ENHANCER_CARD": "none.json",
        "ENHANCER_MODELS": "none",
        "ENHANCER_HOST": "192.0.2.1",
        "ENHANCER_MEMORY_MB": "5",
        "ENHANCER_QUEUE_URL": "redis://localhost",
        "ENHANCER_STORAGE_URL": "/proc/none",
    }.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit) as refused:
        main(["--check"])
    starts = [line.partition(" must be ")[0] for line in str(refused.value).splitlines()]
    assert starts == [
        "app.py: ENHANCER_PORT",
        "none.json",
        "ENHANCER_MODELS",
        "ENHANCER_HOST",
        "ENHANCER_MEMORY_MB",
        "ENHANCER_STORAGE_URL",
    ]
    for name in ("PORT", "CARD", "MODELS", "HOST", "MEMORY_MB"):
        monkeypatch.delenv(f"ENHANCER_{name}")
    monkeypatch.setenv("ENHANCER_STORAGE_URL", "new/folder")
    main(["--check"])
    monkeypatch.delenv("ENHANCER_QUEUE_URL")
    monkeypatch.setenv("ENHANCER_JOBS_FOLDER", "new/folder")
    main(["--check"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_files_that_have_no_name_is_judged_by_its_rights(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("service.checks.os.open", refuse)
    check_folder(tmp_path / "new", changes_nothing=True)
    with pytest.raises(PermissionError):
        check_folder(Path("/proc/new"), changes_nothing=True)
    assert list(tmp_path.iterdir()) == []


def test_a_check_whose_output_cannot_be_written_says_so(monkeypatch):
    with Path("/dev/full").open("w") as target, pytest.raises(SystemExit, match="No space left"):
        monkeypatch.setattr(sys, "stdout", target)
        main(["--check"])


def test_a_check_survives_a_reader_that_ends_early():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as target:
        command = [sys.executable, ROOT / "app.py", "--check"]
        done = subprocess.run(command, stdout=target, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_server_starts_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").write_text("raise RuntimeError('the wrong module')")
    folders = [
        s.variable for s in describe_settings() if s.kind == "path" or "folder" in s.description
    ]
    assert "ENHANCER_MODELS" in folders
    code = f"import runpy; print(runpy.run_path({str(ROOT / 'gunicorn.conf.py')!r})['chdir'])"
    code += f"; import os; print(*(os.environ[name] for name in {folders}))"
    environ = {"PATH": "", "ENHANCER_QUEUE_URL": "redis://localhost"}
    environ |= {name: f"my_{name}" for name in folders}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(ROOT), *(str(tmp_path / f"my_{name}") for name in folders)]


def test_the_server_does_not_start_to_restore_without_a_restorer(monkeypatch, tmp_path):
    card = save_graph(tmp_path, make_card(name="alone"), b"graph")
    monkeypatch.setenv("ENHANCER_CARD", str(card))
    monkeypatch.setenv("ENHANCER_RESTORE", "0.5")
    with pytest.raises(SystemExit, match="app.py: ENHANCER_RESTORE must be 0 or auto"):
        main(["--check"])
    for restore in ("0", "auto"):
        monkeypatch.setenv("ENHANCER_RESTORE", restore)
        main(["--check"])
