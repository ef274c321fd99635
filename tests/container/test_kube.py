"""The Kubernetes file as pods of this machine, and the Compose file as containers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.server import free_port
from config import ROOT
from tests.container.test_service import run_curl_line, soft_picture
from tests.support.podman import Container, attempt, inspect, podman
from tests.support.podman import wait_until_ready as wait
from tests.support.stand_ins import noise

pytestmark = pytest.mark.container

NAME = "max-image-resolution-enhancer"
MANIFEST = str(ROOT / f"{NAME}.yaml")
POD = f"{NAME}-pod-0"
CONTAINER = f"{POD}-{NAME}"


@pytest.fixture(scope="module")
def pod(image):
    podman("tag", image, f"{NAME}:latest")
    podman("play", "kube", MANIFEST)
    try:
        networks = inspect("container", infra_container())["NetworkSettings"]["Networks"]
        address = next(iter(networks.values()))["IPAddress"]
        container = Container(CONTAINER, f"http://{address}:5000")
        wait(container)
        yield container
    finally:
        attempt("play", "kube", "--down", MANIFEST)


def infra_container():
    """The container that has the pod's address."""
    return podman("pod", "inspect", POD, "--format", "{{.InfraContainerID}}")


def test_the_pod_answers_the_readme(pod, tmp_path):
    assert run_curl_line(pod.url, tmp_path).startswith(b"\x89PNG")


def test_the_pod_takes_four_megapixels(pod, encode, post_to):
    answer = post_to(pod.url, encode(soft_picture(2000, 2000)))
    assert (answer.status_code, answer.headers["X-Output-Size"]) == (200, "8000x8000")


def test_the_pod_refuses_what_is_too_large(pod, encode, post_to):
    assert post_to(pod.url, encode(soft_picture(2001, 2000))).status_code == 413


def test_the_pod_has_the_limits_and_no_privilege(pod):
    status = podman("exec", pod.name, "cat", "/proc/1/status")
    assert "Uid:\t10001\t10001\t10001\t10001" in status
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    limits = inspect("container", pod.name)["HostConfig"]
    assert limits["Memory"] == 3 * 1024**3
    assert limits["ReadonlyRootfs"] is True


def test_the_pod_stops_within_its_grace_period(pod, encode, post_to):
    assert post_to(pod.url, encode(noise(12, 20))).status_code == 200
    podman("stop", "--time=90", pod.name)
    assert inspect("container", pod.name)["State"]["ExitCode"] == 0


@pytest.fixture
def composed(image):
    """The Compose file, started."""
    program = shutil.which("podman-compose", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("podman-compose is not installed: pip install podman-compose")
    podman("tag", image, f"{NAME}:latest")
    port = free_port()
    environ = os.environ | {"ENHANCER_PUBLISHED_PORT": str(port)}

    def compose(*arguments):
        command = [program, "--file", str(ROOT / "docker-compose.yml"), *arguments]
        subprocess.run(command, check=True, env=environ, timeout=300, capture_output=True)

    compose("up", "--detach", "--no-build")
    try:
        name = podman("ps", "--latest", "--format", "{{.Names}}")
        yield Container(name, f"http://127.0.0.1:{port}")
    finally:
        compose("down", "--timeout", "75", "--volumes")


def test_the_composed_service_answers_the_readme(composed, tmp_path):
    wait(composed)
    assert run_curl_line(composed.url, tmp_path).startswith(b"\x89PNG")
    assert attempt("healthcheck", "run", composed.name).returncode == 0
    limits = inspect("container", composed.name)["HostConfig"]
    assert limits["Memory"] == 3 * 1024**3
    assert limits["ReadonlyRootfs"] is True
