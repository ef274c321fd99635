import shutil

import pytest
import requests

from config import ROOT
from tests.support.podman import BASE, CONFINED, IMAGE, TAG, attempt, base_tag, build, running
from tests.support.podman import wait_until_ready as wait

DEADLINE_S = 1200  # for a picture, however busy the machine is


@pytest.fixture(scope="session")
def base():
    """The base image that podman has, or no test of this ring."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed: apt-get install podman")
    name = f"{BASE}:{TAG}"
    if attempt("image", "exists", name).returncode and attempt("pull", name).returncode:
        pytest.skip(f"The base image cannot be had: podman pull {name}")
    return base_tag()


@pytest.fixture(scope="session")
def image(base, tmp_path_factory):
    """The image, built from this checkout."""
    done = build(ROOT, IMAGE, base, tmp_path_factory.mktemp("build"))
    assert done.returncode == 0, done.stdout + done.stderr
    return IMAGE


@pytest.fixture(scope="module")
def container(image):
    """A ready container, confined as much as a container can be, with a gigabyte of memory."""
    environ = {"ENHANCER_DEADLINE_S": DEADLINE_S}
    with running(image, *CONFINED, environ=environ) as container:
        wait(container)
        yield container


@pytest.fixture
def post_to():
    """Post bytes as the field `image` to a URL."""

    def post_to(url, data):
        files = {"image": ("lr.png", data)}
        return requests.post(f"{url}/model/predict", files=files, timeout=DEADLINE_S)

    return post_to
