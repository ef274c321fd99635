"""Replicas behind a proxy: replaced under load, and counted."""

import os
import shutil
import time
from contextlib import ExitStack, contextmanager
from datetime import date

import pytest

from benchmarks.machine import processor_name
from benchmarks.server import free_port
from config import ROOT
from tests.support.podman import CONFINED, attempt, inspect, podman
from tests.support.proxy import running_proxy
from tests.support.proxy_load import under_load
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until

pytestmark = pytest.mark.rollout

CLIENTS = 32
LEAST_REQUESTS = 500
DRAIN_S = 10  # longer than a check may take
STOP_S = 90

REPLACED_SIZE = (40, 60)  # height, width
MEASURED_SIZE = (80, 128)
MEASURED_S = float(os.environ.get("MEASURED_S", 20))
WARMED_UP = 8  # answers of each replica

LEAST_GAIN = 1.3
"""Of a second replica. It would be 2, were not proxy and clients on the same cores."""

FIGURES = ROOT / "runs" / "rollout.md"


@pytest.fixture(scope="module", autouse=True)
def haproxy():
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")


@pytest.fixture(scope="module", autouse=True)
def figures():
    """Lines for docs/operations.md."""
    lines = [f"{date.today()}, {processor_name()}, {os.cpu_count()} cores:", ""]
    yield lines
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text("\n".join(lines) + "\n")


@contextmanager
def replica(image, port, *options):
    """A confined container on a port of this machine; stopped as a cluster would stop it."""
    environ = (f"--env=ENHANCER_DRAIN_S={DRAIN_S}", "--env=ENHANCER_LOG_LEVEL=warning")
    publish = f"--publish=127.0.0.1:{port}:5000"
    name = podman("run", "--detach", publish, *CONFINED, *options, *environ, image)
    try:
        yield name
        podman("stop", f"--time={STOP_S}", name)
        assert inspect("container", name)["State"]["ExitCode"] == 0
    finally:
        attempt("rm", "--force", "--time=0", name)


@contextmanager
def replicas_behind_proxy(image, count, folder, *options):
    """A proxy, and for each port a stack that ends with the replica there."""
    ports = [free_port() for _ in range(count)]
    with ExitStack() as everything:
        running = {port: everything.enter_context(ExitStack()) for port in ports}
        for port, stack in running.items():
            stack.enter_context(replica(image, port, *options))
        yield everything.enter_context(running_proxy(ports, folder)), running


def test_no_request_fails_while_replicas_are_replaced(image, encode, tmp_path, figures):
    picture = encode(noise(*REPLACED_SIZE))
    with replicas_behind_proxy(image, 3, tmp_path) as (proxy, running):
        started = time.monotonic()
        with under_load(proxy.url, picture, CLIENTS) as load:
            for port, stack in running.items():
                replace(image, port, stack, proxy)
            wait_until(lambda: load.statuses.total() >= LEAST_REQUESTS, 300)
        took_s = time.monotonic() - started
    answered, failed = load.statuses[200], load.statuses.total() - load.statuses[200]
    figures.append(
        f"* Three replicas replaced in turn within {took_s:.0f} s, {CLIENTS} clients: "
        f"{answered} requests answered, {failed} failed, the slowest took {load.slowest_s:.1f} s."
    )
    assert load.statuses.keys() == {200}
    assert answered >= LEAST_REQUESTS


def replace(image, port, stack, proxy):
    """Stop a replica, start another one in its place, and wait until it gets work."""
    stack.close()
    proxy.wait_for(str(port), "DOWN")
    stack.enter_context(replica(image, port))
    proxy.wait_for(str(port), "UP")


def test_a_second_replica_adds_its_throughput(image, encode, tmp_path, figures):
    one, two = (measure_throughput(image, count, encode, tmp_path) for count in (1, 2))
    for count, megapixels in ((1, one), (2, two)):
        figures.append(f"* {count} replica(s) of one core: {megapixels:.4f} megapixels per second.")
    figures.append(f"* Gain of the second: {two / one:.2f}.")
    assert two > LEAST_GAIN * one


def measure_throughput(image, count, encode, folder):
    """Megapixels of LR per second that so many replicas of one core each upscale."""
    height, width = MEASURED_SIZE
    picture = encode(noise(height, width))
    with (
        replicas_behind_proxy(image, count, folder, "--cpus=1") as (proxy, _),
        under_load(proxy.url, picture, 4 * count) as load,
    ):
        wait_until(lambda: load.statuses.total() >= WARMED_UP * count, 120)
        began, before = time.monotonic(), load.statuses.total()
        time.sleep(MEASURED_S)
        answered, took_s = load.statuses.total() - before, time.monotonic() - began
    assert load.statuses.keys() == {200}
    return answered * height * width / 1e6 / took_s
