"""Two servers behind HAProxy that share their jobs, or have none."""

import io
import shutil
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from tests.support.clip_files import scenes, write_clip
from tests.support.job_load import jobs_under_way, run_job
from tests.support.media_files import pictures
from tests.support.proxy import SERVED_BY, documented_proxy
from tests.support.proxy_load import under_load
from tests.support.redis_server import needs_redis
from tests.support.stand_in_service import StandInService, running
from tests.support.stand_ins import noise
from tests.support.topology import RealNetwork, StandIns, running_topology
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
    needs_redis,
]

TIMEOUT_S = 60
ROUND_ROBIN = {"balance leastconn": "balance roundrobin"}


@pytest.fixture(scope="module")
def topology(tmp_path_factory):
    with running_topology(StandIns, tmp_path_factory.mktemp("all"), "roundrobin") as topology:
        yield topology


@contextmanager
def replicas(folder, **settings):
    """Two servers with a folder of their own, round robin behind HAProxy.

    Yield their URL, and a stack that ends one of them.
    """
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        services = [
            each.enter_context(running(StandInService(folder / name, decoders=0, **settings)))
            for each, name in ((first, "a"), (stack, "b"))
        ]
        ports = [urlsplit(service.url).port for service in services]
        proxy = stack.enter_context(documented_proxy(ports, folder, ROUND_ROBIN))
        yield proxy.url, first


def of_both(send):
    """Send a request until both servers have answered it. Return an answer of each."""
    answers = {}

    def are_both_there():
        answer = send()
        answers[answer.headers[SERVED_BY]] = answer
        return len(answers) == 2

    wait_until(are_both_there, TIMEOUT_S)
    return list(answers.values())


def agreed(send, status=200):
    """Send a request to both servers. Return one of the answers; they must be the same."""
    one, other = of_both(send)
    assert (one.status_code, other.status_code) == (status, status)
    assert one.content == other.content
    return one


def live_through(url):
    """Take a job through its life, each step with both servers. Return its result."""
    host = url.removesuffix("/enhancer")
    archive = pictures(3)

    def post(**headers):
        files = {"file": ("photos.zip", archive)}
        return requests.post(f"{url}/model/jobs", files=files, headers=headers, timeout=TIMEOUT_S)

    def get(path):
        return requests.get(host + path, timeout=TIMEOUT_S)

    first, again = of_both(lambda: post(**{"Idempotency-Key": "holiday"}))
    assert [first.status_code, again.status_code] == [202, 202]
    assert first.headers["Location"] == again.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    links = first.json()["links"]
    for answer in of_both(lambda: get(links["events"])):
        assert '"state": "succeeded"' in answer.text.split("event: ")[-1]
    assert agreed(lambda: get(links["self"])).json()["state"] == "succeeded"
    result = agreed(lambda: get(links["result"])).content
    deleted = of_both(lambda: requests.delete(host + links["self"], timeout=TIMEOUT_S))
    assert [answer.status_code for answer in deleted] == [204, 204]
    for link in links.values():
        agreed(lambda link=link: get(link), 404)
    assert post(**{"Idempotency-Key": "holiday"}).headers["Location"] != links["self"]
    return result


def test_whichever_server_answers_a_job_is_there(topology):
    assert live_through(topology.url)


def test_servers_with_folders_of_their_own_would_be_noticed(tmp_path):
    with replicas(tmp_path) as (url, _), pytest.raises(AssertionError):
        live_through(url)


def test_servers_without_jobs_say_so_with_one_voice_and_stand_in_for_each_other(tmp_path):
    with replicas(tmp_path, no_jobs=True) as (url, first):
        for path in ("/model/jobs", "/model/jobs/x", "/model/jobs/x/events"):
            answer = agreed(lambda path=path: requests.get(url + path, timeout=TIMEOUT_S), 404)
            assert "are turned off on this server (DISABLE_JOBS)" in answer.json()["message"]
        metadata = agreed(lambda: requests.get(f"{url}/model/metadata", timeout=TIMEOUT_S))
        assert "jobs" not in metadata.json()  # which the page asks
        agreed(lambda: requests.get(f"{url}/app/", timeout=TIMEOUT_S))
        first.close()  # HAProxy does not know that yet
        for _ in range(4):
            assert requests.get(f"{url}/model/metadata", timeout=TIMEOUT_S).ok


@pytest.fixture
def files(tmp_path):
    """Files of jobs of several segments, by name."""
    frames = [Image.fromarray(frame) for frame in scenes(20, 16, 24)]
    animation = io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return {
        "holiday.zip": pictures(12),
        "cat.gif": animation.getvalue(),
        "clip.mp4": write_clip(tmp_path / "clip.mp4", scenes(100, 16, 24)).read_bytes(),
    }


def restart_everything(topology):
    """Replace each server and each worker, and kill one worker that computes."""
    first, second = topology.workers
    for port in topology.servers:
        topology.replace_server(port)
    first.stop()
    topology.kill_while_it_computes(second)
    first.start()
    second.start()
    second.stop()


def lose_nothing(topology, picture, files):
    """Restart everything under load; check that each answer is as without a restart."""
    url = topology.url
    answer = requests.post(f"{url}/model/predict", files={"image": picture}, timeout=TIMEOUT_S)
    expected = {name: run_job(url, name, content) for name, content in files.items()}
    with (
        under_load(url, picture, 2, answer.content) as of_pictures,
        jobs_under_way(url, files, expected, 3) as of_jobs,
    ):
        restart_everything(topology)
    assert of_jobs.faults == []
    assert of_jobs.ended.keys() == files.keys()
    assert of_pictures.statuses.keys() == {200}
    for port in topology.servers:  # nor did HAProxy have to try anything twice
        figures = topology.proxy.figures_of(port)
        assert (figures["wretr"], figures["econ"], figures["eresp"]) == ("0", "0", "0")


@pytest.mark.thorough
def test_a_rolling_restart_loses_no_picture_and_no_job(topology, encode, files):
    lose_nothing(topology, encode(noise(20, 30)), files)


@pytest.mark.rollout
def test_a_rolling_restart_of_what_is_shipped_loses_nothing(tmp_path, encode, files):
    with running_topology(RealNetwork, tmp_path) as topology:
        lose_nothing(topology, encode(noise(40, 60)), files)
        assert list(topology.scratch.glob("enhancer-scratch-*/*")) == []
