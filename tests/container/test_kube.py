"""The Kubernetes file as pods of this machine, and the Compose file as containers."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from benchmarks.server import free_port
from config import ROOT
from tests.clip_files import scenes, shown, write_clip
from tests.container.podman import Container, attempt, inspect, podman
from tests.container.podman import wait_until_ready as wait
from tests.container.test_service import run_curl_line, soft_picture
from tests.stand_ins import noise
from tests.waiting import wait_until

pytestmark = pytest.mark.container

NAME = "max-image-resolution-enhancer"
MANIFEST = str(ROOT / f"{NAME}.yaml")
POD = f"{NAME}-pod-0"
CONTAINER = f"{POD}-{NAME}"
REDIS = "redis:7-alpine"  # as in the Compose file
PATIENCE_S = 300


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


@contextmanager
def running_composition(image, *options, **settings):
    """The Compose file, started; the service, and what else is asked for by options."""
    program = shutil.which("podman-compose", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("podman-compose is not installed: pip install podman-compose")
    podman("tag", image, f"{NAME}:latest")
    port = free_port()
    environ = os.environ | {"ENHANCER_PUBLISHED_PORT": str(port)} | settings

    def compose(*arguments):
        command = [program, "--file", str(ROOT / "docker-compose.yml"), *options, *arguments]
        subprocess.run(command, check=True, env=environ, timeout=300, capture_output=True)

    compose("up", "--detach", "--no-build")
    try:
        yield Container(containers_of("enhancer")[0], f"http://127.0.0.1:{port}")
    finally:
        compose("down", "--timeout", "75", "--volumes")


def containers_of(service):
    """Names of the containers of a service of the Compose file."""
    label = f"label=com.docker.compose.service={service}"
    return podman("ps", "--filter", label, "--format", "{{.Names}}").split()


@pytest.fixture
def composed(image):
    with running_composition(image) as container:
        yield container


def test_the_composed_service_answers_the_readme(composed, tmp_path):
    wait(composed)
    assert run_curl_line(composed.url, tmp_path).startswith(b"\x89PNG")
    assert attempt("healthcheck", "run", composed.name).returncode == 0
    limits = inspect("container", composed.name)["HostConfig"]
    assert limits["Memory"] == 3 * 1024**3
    assert limits["ReadonlyRootfs"] is True


@pytest.fixture
def composed_cluster(image):
    if attempt("image", "exists", REDIS).returncode and attempt("pull", REDIS).returncode:
        pytest.skip(f"The image of Redis cannot be had: podman pull {REDIS}")
    settings = {"ENHANCER_QUEUE_URL": "redis://redis:6379/0"}
    with running_composition(image, "--profile", "cluster", **settings) as container:
        yield container


def test_the_composed_cluster_ends_a_job_whose_worker_was_killed(composed_cluster, tmp_path):
    url = composed_cluster.url
    wait(composed_cluster)
    workers = containers_of("worker")
    assert len(workers) == 2
    write_clip(tmp_path / "clip.mp4", scenes(200, 40, 56))
    with (tmp_path / "clip.mp4").open("rb") as file:
        answer = requests.post(f"{url}/model/jobs", files={"file": file}, timeout=60)
    assert answer.status_code == 202
    address = f"{url}/model/jobs/{answer.json()['id']}"

    def job():
        return requests.get(address, timeout=60).json()

    wait_until(lambda: job()["frames_done"] >= 10, PATIENCE_S)
    podman("kill", workers[0])
    wait_until(lambda: job()["state"] not in ("queued", "running"), PATIENCE_S)
    assert job()["state"] == "succeeded"
    (tmp_path / "result.mp4").write_bytes(requests.get(f"{address}/result", timeout=60).content)
    assert [pixels.shape for _, pixels in shown(tmp_path / "result.mp4")] == [(160, 224, 3)] * 200
