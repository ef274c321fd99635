import re
import shutil

import pytest

from api import VERSION
from config import ROOT
from tests.support.podman import (
    BASE,
    CONFINED,
    attempt,
    build,
    inspect,
    podman,
    running,
)
from tests.support.podman import wait_until_ready as wait

pytestmark = pytest.mark.container

MAX_CACHE_BYTES = 1_550_000_000
"""Of the image, over its base. TensorFlow has 1.0 GB of them."""

UNWANTED = ("pip", "keras", "clang", "pytest", "training", "benchmarks", "tests")
"""Modules that nothing in a running service imports."""

SAMPLES = ROOT / "samples" / "test_examples" / "low_resolution"


def test_the_image_is_as_small_as_it_is_said_to_be(image, base):
    base_bytes = inspect("image", f"{BASE}:{base}")["Size"]
    assert inspect("image", image)["Size"] - base_bytes < MAX_CACHE_BYTES


def test_the_image_says_what_it_is_and_runs_as_nobody(image):
    known = inspect("image", image)
    config = known["Config"]
    label = "org.opencontainers.image."
    assert config["Labels"][f"{label}version"] == VERSION
    assert config["Labels"][f"{label}licenses"] == "Apache-2.0"
    assert {"title", "description", "revision"} <= {
        name.removeprefix(label) for name in config["Labels"]
    }
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", config["User"])
    assert "health/ready" in " ".join(known["Healthcheck"]["Test"])
    assert not any("cert" in line.lower() for line in config["Env"])


@pytest.mark.parametrize("module", UNWANTED)
def test_what_a_service_never_loads_is_not_there(container, module):
    found = attempt("exec", container.name, "python", "-c", f"import {module}")
    assert "ModuleNotFoundError" in found.stderr


def test_neither_compilers_nor_headers_are_there(container):
    paths = podman(
        "exec", container.name, "find", "/usr/bin", "/opt", "-regex", r".*/\(g?cc\|c\+\+\|.*\.h\)"
    )
    assert [path for path in paths.splitlines() if "/numpy/" not in path] == []


def test_python_files_come_compiled(container):
    script = "import app, core.model.graph, api; print(app.__cached__, core.model.graph.__cached__)"
    cached = podman("exec", container.name, "python", "-c", script).split()
    for path in cached:
        podman("exec", container.name, "test", "-f", path)


@pytest.mark.usefixtures("image")  # whose packages are there then
def test_a_damaged_model_stops_the_build(base, tmp_path):
    folder = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".*", "runs", "tests", "training", "docs")
    shutil.copytree(ROOT, folder, ignore=ignored)
    shutil.copy(ROOT / ".dockerignore", folder)
    graph = folder / "assets" / "srgan.pb"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    done = build(folder, "localhost/damaged", base, tmp_path)
    assert done.returncode != 0
    assert "srgan.pb: FAILED" in done.stdout + done.stderr


def test_a_wrong_setting_stops_the_start_and_is_named(image):
    done = attempt("run", "--rm", "--env=ENHANCER_PORT=http", image, timeout_s=120)
    assert done.returncode == 1
    assert "ENHANCER_PORT must be a whole number" in done.stderr


def test_the_command_line_is_in_the_image(image):
    with running(image, *CONFINED, f"--volume={SAMPLES}:/pictures:ro") as container:
        wait(container)
        command = ["upscale.py", "/pictures/food.png", "/tmp/food.png"]
        podman("exec", container.name, "python", *command)
        podman("exec", container.name, "test", "-s", "/tmp/food.png")
