"""Podman, as the tests of the image use it: build, run, ask, remove."""

import json
import os
import shlex
import subprocess
import time
from collections import namedtuple
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

IMAGE = "localhost/max-image-resolution-enhancer:latest"
BASE = "python"
TAG = "3.11-slim-bookworm"  # as in the Dockerfile, without the digest: any build of it will do
READABLE_TAG = "readable"

BUILD_S = 1800
COMMAND_S = 300
READY_S = 180

CERTIFICATES = Path("/etc/ssl/certs")

CONFINED = (
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--memory=1g",
)

Container = namedtuple("Container", "name url")


def podman(*arguments, timeout_s=COMMAND_S, **options):
    """The standard output of a command; what it says beside is shown where it fails."""
    done = attempt(*arguments, timeout_s=timeout_s, **options)
    assert done.returncode == 0, f"podman {shlex.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def attempt(*arguments, timeout_s=COMMAND_S, **options):
    """A finished command, whatever came of it."""
    return subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, timeout=timeout_s, **options
    )


def inspect(kind, name):
    """All that is known of an image or a container."""
    return json.loads(podman(kind, "inspect", name))[0]


def base_tag():
    """Tag of the base image; of a copy of it, where only root may enter its root folder.

    An image that was imported from a folder has the mode of that folder.
    """
    if is_readable(TAG):
        return TAG
    if not is_readable(READABLE_TAG):
        name = podman("create", f"{BASE}:{TAG}", "true")
        copy = f"podman export {name} | podman import --quiet - localhost/{BASE}:{READABLE_TAG}"
        subprocess.run(copy, shell=True, check=True, stdout=subprocess.DEVNULL)
        podman("rm", name)
    return READABLE_TAG


def is_readable(tag):
    """Whether anyone but root can run something in a base image."""
    python = ("python", "-c", "import os; os.listdir('/')")
    command = ("run", "--rm", "--user=10001", "--pull=never", f"{BASE}:{tag}", *python)
    return attempt(*command).returncode == 0


def build(folder, image, tag, settings):
    """Build the Dockerfile of a folder on a tag of the base image; the finished command.

    PODMAN_BUILD_OPTIONS adds options of this machine's own.
    """
    options = ["--isolation=chroot", "--format=docker", f"--build-arg=TAG={tag}"]
    options += shlex.split(os.environ.get("PODMAN_BUILD_OPTIONS", ""))
    options += lent_certificates(settings)
    return attempt("build", *options, f"--tag={image}", str(folder), timeout_s=BUILD_S)


def lent_certificates(settings):
    """Options that lend pip this machine's certificate authorities: networks may have their own.

    Args:
        settings: a folder, for the file that tells pip.
    """
    bundle = CERTIFICATES / "ca-certificates.crt"
    if not bundle.exists():
        return []
    (settings / "pip.conf").write_text(f"[global]\ncert = {bundle}\n")
    return [
        f"--volume={CERTIFICATES}:{CERTIFICATES}:ro",
        f"--volume={settings / 'pip.conf'}:/etc/pip.conf:ro",
    ]


@contextmanager
def running(image, *options, environ=None):
    """A container with a port of its own on this machine, for as long as the block runs."""
    with created(image, *options, environ=environ) as name:
        yield start(name)


@contextmanager
def created(image, *options, environ=None):
    """Name of a container for as long as the block runs; it is not started yet."""
    settings = [f"--env={name}={value}" for name, value in (environ or {}).items()]
    name = podman("create", "--publish=127.0.0.1::5000", *options, *settings, image)
    try:
        yield name
    finally:
        attempt("rm", "--force", "--time=0", name)


def start(name):
    """Start a created container."""
    podman("start", name)
    return Container(name, f"http://{podman('port', name, '5000')}")


def wait_until_ready(container):
    """Return once pictures are welcome."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with suppress(requests.RequestException):
            if requests.get(f"{container.url}/health/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    logs = attempt("logs", container.name)
    raise TimeoutError(f"A container must be ready within {READY_S} s. It said:\n{logs.stderr}")
