"""The image as a user runs it, with nothing allowed that it does not need."""

import io
import json
import re
import shlex
import subprocess
import threading
import time
import zipfile
from collections import Counter

import numpy as np
import pytest
import requests
from PIL import Image

from config import ROOT, Settings
from core.images import decode_image
from tests.support.job_load import run_job
from tests.support.media_files import pictures
from tests.support.podman import CONFINED, attempt, created, inspect, podman, running, start
from tests.support.podman import wait_until_ready as wait
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until

pytestmark = pytest.mark.container

README = (ROOT / "README.md").read_text()
FIRST_ANSWER_S = 20
"""The start of the container, of Python and of TensorFlow included, but not the preparation of its
files: some storage drivers copy the whole image for each container."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")

ANY_USER = "--user=1000680000:0"
"""One of the ids that OpenShift gives to containers, which have no name, and their group."""


def curl_line():
    """The first curl line of the README."""
    return re.search(r"^curl -F .*food\.png.*$", README, re.MULTILINE)[0]


def run_curl_line(url, folder):
    """Run the README's line against a URL, in a folder; what it wrote, or None if it could not."""
    line = curl_line().replace("http://localhost:5000", url)
    line = line.replace("@samples", f"@{ROOT}/samples")
    done = subprocess.run([*shlex.split(line), "--silent", "--fail"], cwd=folder, timeout=120)
    return (folder / "food_4x.png").read_bytes() if done.returncode == 0 else None


def test_the_first_answer_comes_soon_after_the_start(image, tmp_path):
    with created(image, *CONFINED) as name:
        started = time.monotonic()
        container = start(name)
        while (answer := run_curl_line(container.url, tmp_path)) is None:
            assert time.monotonic() - started < FIRST_ANSWER_S
            time.sleep(0.2)
        assert time.monotonic() - started < FIRST_ANSWER_S
    picture = decode_image(answer)
    assert (picture.height, picture.width) == (320, 512)


def test_it_runs_without_any_privilege(container):
    status = podman("exec", container.name, "cat", "/proc/1/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(facts["Uid"].split()) == {"10001"}
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == int(facts["CapPrm"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"


@pytest.mark.parametrize(
    ("volumes", "folder"),
    [((), None), (("--volume=/var/lib/enhancer",), "/var/lib/enhancer/server")],
    ids=["temporary", "volume"],
)
def test_any_user_of_the_group_0_may_run_it(image, encode, post_to, volumes, folder):
    environ = {} if folder is None else {"ENHANCER_JOBS_FOLDER": folder}
    with running(image, *CONFINED, ANY_USER, *volumes, environ=environ) as container:
        wait(container)
        status = podman("exec", container.name, "cat", "/proc/1/status")
        assert "Uid:\t1000680000\t1000680000\t1000680000\t1000680000" in status
        for file_format in ("PNG", "TIFF"):  # the second is decoded by another process
            answer = post_to(container.url, encode(noise(12, 20), file_format))
            assert (answer.status_code, answer.headers["X-Output-Size"]) == (200, "80x48")
        result = run_job(container.url, "album.zip", pictures(2))
        with zipfile.ZipFile(io.BytesIO(result)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".png")]
        assert names == ["photos/000.png", "photos/001.png"]


@pytest.mark.parametrize("folder", ["/", "/opt/enhancer", "/opt/packages", "/var/lib"])
def test_nothing_can_be_written_to_its_root(container, folder):
    said = attempt("exec", "--user=0", container.name, "touch", f"{folder}/written").stderr
    assert "Read-only file system" in said


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_is_decoded_by_processes_of_their_own(container, encode, post_to, file_format):
    answer = post_to(container.url, encode(noise(12, 20), file_format))
    assert answer.status_code == 200
    assert decode_image(answer.content).pixels.shape[:2] == (48, 80)
    processes = podman(
        "exec", container.name, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )
    assert "forkserver" in processes


def test_an_upload_on_disk_is_handed_over_too(container, encode, post_to):
    picture = encode(noise(600, 700))
    assert len(picture) > 1_000_000
    assert post_to(container.url, picture).headers["X-Output-Size"] == "2800x2400"


def test_four_megapixels_fit_into_a_gigabyte(container, encode, post_to):
    answer = post_to(container.url, encode(soft_picture(2000, 2000)))
    assert answer.status_code == 200
    assert answer.headers["X-Output-Size"] == "8000x8000"
    assert answer.content.endswith(b"IEND\xaeB`\x82")
    assert inspect("container", container.name)["State"]["OOMKilled"] is False


def soft_picture(height, width):
    """Gradients that differ from row to row and column to column."""
    rows, columns = np.mgrid[:height, :width]
    levels = np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) % 256], axis=-1)
    return levels.astype(np.uint8)


def test_a_picture_over_the_limit_is_refused_in_words(container, encode, post_to):
    answer = post_to(container.url, encode(Image.new("1", (3000, 2000))))
    assert answer.status_code == 413
    assert "at most 4000000 pixels" in answer.json()["message"]


def test_an_upload_over_the_limit_is_refused_in_words(container, post_to):
    answer = post_to(container.url, bytes(Settings().max_upload_bytes + 1))
    assert answer.status_code == 413
    assert str(Settings().max_upload_bytes) in answer.json()["message"]


def test_a_damaged_file_is_refused(container, encode, post_to):
    answer = post_to(container.url, encode(noise(20, 30), "JPEG")[:200])
    assert answer.status_code == 400


def test_the_health_check_follows_readiness(image):
    with running(image, *CONFINED, environ={"ENHANCER_DRAIN_S": 20}) as container:
        assert attempt("healthcheck", "run", container.name).returncode != 0
        wait(container)
        assert attempt("healthcheck", "run", container.name).returncode == 0
        podman("kill", "--signal=TERM", container.name)
        wait_until(lambda: attempt("healthcheck", "run", container.name).returncode != 0, 10)


def test_nothing_is_lost_when_it_is_stopped_under_load(image, encode):
    picture = encode(noise(40, 60))
    outcomes, clients = Counter(), 16
    with running(image, *CONFINED) as container:
        wait(container)
        threads = [
            threading.Thread(target=post_until_refused, args=(container.url, picture, outcomes))
            for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: outcomes[200] >= 2 * clients, 120)
        podman("stop", "--time=90", container.name)
        for thread in threads:
            thread.join(60)
        assert inspect("container", container.name)["State"]["ExitCode"] == 0
    assert outcomes.keys() == {200, "refused"}
    assert outcomes["refused"] == clients


def post_until_refused(url, picture, outcomes):
    """Post again and again, on new connections, until one is refused; count what came."""
    while True:
        try:
            answer = requests.post(f"{url}/model/predict", files={"image": picture}, timeout=120)
            outcomes[answer.status_code] += 1
        except requests.ConnectionError as error:
            was_connected = "refused" not in str(error)
            outcomes[f"lost: {error}" if was_connected else "refused"] += 1
            return


def test_a_server_process_that_is_killed_is_replaced(container, encode, post_to):
    before = server_process(container)
    podman("exec", container.name, "python", "-c", f"import os; os.kill({before}, 9)")
    wait_until(lambda: server_process(container) not in (None, before), 60)
    wait(container)
    assert post_to(container.url, encode(noise(12, 20))).status_code == 200


def server_process(container):
    """Number of the process that has the model, in the container; None while there is none."""
    children = podman("exec", container.name, "cat", "/proc/1/task/1/children").split()
    return int(children[0]) if children else None


def test_a_container_that_was_killed_starts_again(image, encode, post_to):
    with running(image, *CONFINED) as container:
        wait(container)
        podman("kill", "--signal=KILL", container.name)
        wait_until(lambda: not inspect("container", container.name)["State"]["Running"], 60)
        podman("start", container.name)
        again = container._replace(url=f"http://{podman('port', container.name, '5000')}")
        wait(again)
        assert post_to(again.url, encode(noise(12, 20))).status_code == 200


def test_log_lines_are_json(container):
    logs = attempt("logs", container.name).stderr
    lines = [line for line in logs.splitlines() if line.startswith("{")]
    assert lines
    assert all({"time", "level", "message"} <= json.loads(line).keys() for line in lines)
