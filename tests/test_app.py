import subprocess
import sys

import pytest

from app import create_app
from config import ROOT, Settings


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
        client = create_app(Settings(cors=cors), upscaler).test_client()
        headers = client.get("/model/metadata", headers={"Origin": "http://there"}).headers
        assert headers.get("Access-Control-Allow-Origin") == expected
        if cors:
            assert "X-Request-Id" in headers["Access-Control-Expose-Headers"]


def test_the_server_does_not_start_with_a_wrong_setting():
    done = run_app(ENHANCER_PORT="http")
    assert done.returncode == 1
    assert done.stderr == "app.py: ENHANCER_PORT must be a whole number. Received: 'http'\n"


def test_the_server_does_not_start_with_a_changed_graph(tmp_path):
    card = Settings().card
    tmp_path.joinpath(card.name).write_bytes(card.read_bytes())
    tmp_path.joinpath("srresnet.pb").write_bytes(b"changed")
    done = run_app(ENHANCER_CARD=str(tmp_path / card.name))
    assert done.returncode == 1
    assert "sha256" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["tensorflow", "keras"])
def test_the_application_without_a_graph_needs_no_network_library(module):
    code = f"import app, upscale, sys; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
