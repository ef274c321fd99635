"""The production server as a user starts it, and the documentation's examples against it."""

import contextlib
import functools
import io
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

import upscale
from benchmarks.server import running_server
from config import ROOT
from core.animation import read_animation
from core.images import decode_image, encode_jpeg, resize_bicubic
from tests.support.animations import BLACK, WHITE, control, gif, image
from tests.support.clip_files import scenes, write_clip
from tests.support.clip_files import shown as shown_of_clip
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until
from training.evaluation.metrics import psnr_y

SAMPLES = ROOT / "samples" / "test_examples"
OTHER_SIZES = {
    "food_2x.png": (256, 160),
    "food_1920.png": (1920, 1200),
    "photo_2x.png": (128, 96),
    "square.png": (600, 600),
}
"""Width and height of results that are not four times as large."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
UPSCALE = "python upscale.py "
COMMANDS = list(
    dict.fromkeys(
        line
        for page in PAGES
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith(("curl ", UPSCALE))
    )
)
"""Lines of the ```bash blocks, each once; ```sh blocks need what a test does not have."""

LOAD_ONCE = functools.cache(upscale.load_upscaler)
FIRST = next(command for command in COMMANDS if command.startswith(UPSCALE))


(JOB_SCRIPT,) = [
    block
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "jobs.md").read_text(), re.DOTALL)
    if "/model/jobs" in block
]


UNKNOWN_USER = 1000680000  # of the ids that OpenShift gives to pods; the group is 0
AS_UNKNOWN_USER = ("unshare", "--user", f"--map-user={UNKNOWN_USER}", "--map-group=0")
WITHOUT_HOME = ("env", "--unset=HOME", "--unset=USER", "--unset=LOGNAME")


@functools.cache
def can_be_unknown():
    """Whether this system lets a process have the id of a user who has no name."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*AS_UNKNOWN_USER, "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """URL and process of a server, which must end well, of a user without name and home."""
    user = AS_UNKNOWN_USER if can_be_unknown() else ()
    keras = f"KERAS_HOME={tmp_path_factory.mktemp('keras')}"  # which the image does not have
    with running_server([*user, *WITHOUT_HOME, keras]) as server:
        yield server


@pytest.fixture
def server(running):
    return running[0]


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like a checkout to the documented commands."""
    for name in ("samples", "upscale.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def files(checkout):
    """The files that the documented commands name, beside the samples."""
    (checkout / "folder").mkdir()
    (checkout / "folder" / "blinks.gif").write_bytes(blinking())
    (checkout / "cat.gif").write_bytes(blinking())
    (checkout / "photo.jpg").write_bytes(encode_jpeg(noise(48, 64), 75))
    write_clip(checkout / "clip.mp4", scenes(3, 64, 64))
    write_clip(checkout / "clip.mov", scenes(3, 64, 64))


def blinking():
    pixels = [[[number] * 8] * 6 for number in (BLACK, WHITE)]
    return gif(*(part for rows in pixels for part in (control(7), image(rows))), size=(6, 8))


def post(url, path):
    files = {"image": path.read_bytes()}
    answer = requests.post(f"{url}/model/predict", files=files, timeout=60)
    assert answer.status_code == 200
    return answer.content


def test_the_documentation_has_examples():
    assert sum("food.png" in command for command in COMMANDS) >= 2


@pytest.fixture(autouse=True)
def load_once(monkeypatch):
    """Commands that run in this process share the loaded graphs."""
    monkeypatch.setattr(upscale, "load_upscaler", LOAD_ONCE)


def run_command(command, checkout):
    """In a shell; commands like the first in this process, which has TensorFlow already."""
    if command.startswith(UPSCALE) and command != FIRST:
        with contextlib.chdir(checkout):
            assert upscale.main(shlex.split(command.removeprefix(UPSCALE), comments=True)) == 0
        return
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(command, shell=True, check=True, cwd=checkout, env=environ)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_example_works_as_written(command, server, checkout):
    run_command(command.replace("http://localhost:5000", server), checkout)
    made = [p for p in checkout.rglob("*.png") if not p.is_relative_to(checkout / "samples")]
    for path in made:
        sr = decode_image(path.read_bytes())
        assert (sr.width, sr.height) == documented_size(path, checkout)
    for path in checkout.rglob("*_x4.m*"):
        assert [pixels.shape for _, pixels in shown_of_clip(path)] == [(256, 256, 3)] * 3
    for path in [*checkout.glob("*_x4.gif"), *checkout.glob("upscaled/*.gif")]:
        header = read_animation(io.BytesIO(path.read_bytes())).header
        assert (header.width, header.height, header.frames) == (32, 24, 2)


def documented_size(path, checkout):
    """Return width and height of a result, by its name."""
    if path.name in OTHER_SIZES:
        return OTHER_SIZES[path.name]
    name = path.stem.removesuffix("_4x") if path.parent == checkout else path.stem
    lr_path = next(p for p in SAMPLES.rglob(f"{name}.*") if p.parent.name != "original")
    lr = decode_image(lr_path.read_bytes())
    return 4 * lr.width, 4 * lr.height


def test_the_server_needs_no_user_with_a_name(running):
    url, process = running
    if not can_be_unknown():
        pytest.skip("this system does not let a process be an unknown user")
    inside, _, _ = Path(f"/proc/{process.pid}/uid_map").read_text().split()
    assert int(inside) == UNKNOWN_USER
    with pytest.raises(KeyError):
        pwd.getpwuid(UNKNOWN_USER)
    assert b"\0HOME=" not in b"\0" + Path(f"/proc/{process.pid}/environ").read_bytes()
    path = SAMPLES / "low_resolution" / "food.png"
    assert post(url, path).startswith(b"\x89PNG")
    answer = requests.post(f"{url}/model/jobs", files={"file": path.read_bytes()}, timeout=60)
    assert answer.status_code == 202


def test_the_documented_job_works_as_written(server, checkout):
    script = JOB_SCRIPT.replace("http://localhost:5000", server)
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", script], check=True, cwd=checkout, env=environ, capture_output=True, text=True
    )
    assert '"succeeded"' in done.stdout
    with zipfile.ZipFile(checkout / "photos_x4.zip") as made:
        names = [name for name in made.namelist() if name.endswith("food.png")]
        (lr_path,) = SAMPLES.rglob("low_resolution/food.png")
        assert_four_times_as_large(lr_path, made.read(names[0]))


def assert_four_times_as_large(lr_path, answer):
    lr, sr = decode_image(lr_path.read_bytes()), decode_image(answer)
    assert (sr.height, sr.width) == (4 * lr.height, 4 * lr.width)


def test_the_answer_is_nearer_to_the_original_than_bicubic(server):
    original = decode_image((SAMPLES / "original" / "food.png").read_bytes()).pixels
    lr_path = SAMPLES / "low_resolution" / "food.png"
    sr = decode_image(post(server, lr_path)).pixels
    bicubic = resize_bicubic(decode_image(lr_path.read_bytes()).pixels, 320, 512)
    assert psnr_y(sr, original) > psnr_y(bicubic, original) + 1


def test_many_at_once_get_each_their_own_answer(server):
    paths = sorted((SAMPLES / "low_resolution").glob("*.png"))[:5]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: post(server, path), paths * 2))
    assert answers[: len(paths)] == answers[len(paths) :]
    for path, answer in zip(paths, answers, strict=False):
        assert_four_times_as_large(path, answer)


def test_a_request_under_way_is_finished_before_the_server_stops(running):
    url, process = running  # nobody needs it any more
    large = SAMPLES / "original" / "food.png"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, url, large)
        address = f"{url}/metrics"
        wait_until(lambda: "enhancer_memory_admitted_bytes 0.0" not in requests.get(address).text)
        process.terminate()
        assert_four_times_as_large(large, answer.result())
        assert process.wait(60) == 0
