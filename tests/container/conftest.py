import shutil

import pytest
import requests

from config import ROOT
from tests.container.podman import BASE, CONFINED, IMAGE, TAG, attempt, build, running
from tests.container.podman import wait_until_ready as wait


@pytest.fixture(scope="session")
def engine():
    """Podman with the base image, or no test of this ring."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed: apt-get install podman")
    base = f"{BASE}:{TAG}"
    if attempt("image", "exists", base).returncode and attempt("pull", base).returncode:
        pytest.skip(f"The base image cannot be had: podman pull {base}")


@pytest.fixture(scope="session")
def image(engine, tmp_path_factory):
    """The image, built from this checkout."""
    done = build(ROOT, IMAGE, tmp_path_factory.mktemp("build"))
    assert done.returncode == 0, done.stdout + done.stderr
    return IMAGE


@pytest.fixture(scope="module")
def container(image):
    """A ready container, confined as much as a container can be, with a gigabyte of memory."""
    with running(image, *CONFINED) as container:
        wait(container)
        yield container


@pytest.fixture
def post_to():
    """Post bytes as the field `image` to a URL; seconds that the answer may take."""

    def post_to(url, data, patience_s=290):
        files = {"image": ("lr.png", data)}
        return requests.post(f"{url}/model/predict", files=files, timeout=patience_s)

    return post_to
