"""The service below a prefix, behind real proxies with the documented configurations."""

import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import requests

from benchmarks.server import free_port
from config import ROOT, Settings
from core.files import MEGABYTE
from service.proxies import FORWARDED
from tests.support.media_files import pictures
from tests.support.stand_in_app import TILE_S, stand_in_service
from tests.support.waiting import wait_until

FILES = {name: ROOT / "deploy" / "proxies" / name for name in ("nginx.conf", "haproxy.cfg")}
TIMEOUT_S = 30
FINAL = ("succeeded", "failed", "cancelled")

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/uploads;
  proxy_temp_path {folder}/answers;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {servers}
}}
"""


@pytest.fixture(scope="module")
def service():
    """Address of the service. Its own prefix shows that of a proxy to be a different one."""
    environ = {"ENHANCER_PROXIES": "1", "SCRIPT_NAME": "/own", TILE_S: "0.3"}
    with stand_in_service(**environ) as (url, _):
        yield urlsplit(url).netloc


@contextmanager
def running(name, service, folder):
    """Run a proxy as it is documented, on a free port. Yield its address."""
    program, _, _ = name.partition(".")
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    address = f"127.0.0.1:{free_port()}"
    text = FILES[name].read_text().replace("127.0.0.1:5000", service)
    text = re.sub("(listen |bind :)8080", lambda found: found[1].removesuffix(":") + address, text)
    if program == "nginx":
        text = NGINX.format(folder=folder, servers=text)
    file = folder / name
    file.write_text(text)
    command = {
        "nginx": ["nginx", "-c", str(file), "-p", str(folder), "-e", "stderr"],
        "haproxy": ["haproxy", "-db", "-q", "-f", str(file)],
    }[program]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: process.poll() is not None or is_ready(address))
            assert process.poll() is None
            yield address
        finally:
            process.kill()


def is_ready(address):
    try:
        return requests.get(f"http://{address}/enhancer/health/ready", timeout=TIMEOUT_S).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module", params=FILES)
def address(request, service, tmp_path_factory):
    """Address of each proxy in turn."""
    with running(request.param, service, tmp_path_factory.mktemp("proxy")) as address:
        yield address


@pytest.fixture
def url(address):
    """URL of the service behind each proxy."""
    return f"http://{address}/enhancer/"


def head_of(address, *lines):
    """Send only the head of a request. Return the head of the answer."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall("\r\n".join([*lines, f"Host: {address}", "", ""]).encode())
        return connection.recv(10_000).decode().partition("\r\n\r\n")[0]


def test_a_browser_loads_swagger_ui_and_the_page(browser, url):
    page = browser.new_page()
    failed = []
    page.on("response", lambda answer: answer.ok or failed.append(answer.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(url)
    page.locator(".opblock-summary-path", has_text="/model/predict").wait_for()
    address = page.get_by_role("link", name="the web page").evaluate("link => link.href")
    assert address == f"{url}app/"
    with page.expect_response("**/model/metadata"):
        page.goto(address)
    page.close()
    assert failed == []


def test_a_job_is_found_where_its_location_is_and_its_events_come_at_once(address, url):
    files = {"file": ("photos.zip", pictures(12))}
    created = requests.post(f"{url}model/jobs", files=files, timeout=TIMEOUT_S)
    path = created.headers["Location"]
    assert path == created.json()["links"]["self"]
    assert path.startswith("/enhancer/model/jobs/")
    job = f"http://{address}{path}"
    with requests.get(f"{job}/events", stream=True, timeout=TIMEOUT_S) as events:
        lines = events.iter_lines()
        assert next(line for line in lines if line.startswith(b"event: ")) == b"event: state"
        assert requests.get(job, timeout=TIMEOUT_S).json()["state"] not in FINAL
        assert requests.delete(job, timeout=TIMEOUT_S).status_code == 204


def test_uploads_are_limited_as_the_service_limits_them(address, url):
    files = {"image": ("a.png", bytes(2 * MEGABYTE))}
    answer = requests.post(f"{url}model/predict", files=files, timeout=TIMEOUT_S)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Image")
    length = Settings().max_job_bytes + 1
    head = ("POST /enhancer/model/jobs HTTP/1.1", f"Content-Length: {length}")
    assert head_of(address, *head).split()[1] == "413"


def test_a_client_cannot_choose_the_prefix_or_the_host(url):
    hostile = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example"}
    page = requests.get(url, headers=hostile, timeout=TIMEOUT_S)
    assert 'url: "/enhancer/swagger.json"' in page.text
    document = requests.get(f"{url}swagger.json", headers=hostile, timeout=TIMEOUT_S).json()
    assert document["basePath"] == "/enhancer"
    address = f"{url}model//metadata"  # nginx removes the second slash, the service redirects
    answer = requests.get(address, headers=hostile, allow_redirects=False, timeout=TIMEOUT_S)
    assert answer.headers.get("Location", f"{url}model/metadata") == f"{url}model/metadata"


def test_the_prefix_without_a_slash_is_redirected(url):
    answer = requests.get(url.removesuffix("/"), allow_redirects=False, timeout=TIMEOUT_S)
    assert answer.status_code in (301, 308)
    assert answer.headers["Location"] == "/enhancer/"


@pytest.mark.parametrize("prefix", ["", "/own"])
def test_probes_work_with_and_without_the_script_name(service, prefix):
    for path in ("/health/live", "/health/ready", "/metrics", "/swagger.json"):
        answer = requests.get(f"http://{service}{prefix}{path}", timeout=TIMEOUT_S)
        assert answer.status_code == 200
    assert answer.json()["basePath"] == "/own"


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_proxy_waits_longer_than_a_picture_may_take(file):
    (timeout_s,) = re.findall(
        r"^\s+(?:proxy_read_timeout|timeout server) +(\d+)s", file.read_text(), re.M
    )
    assert int(timeout_s) >= Settings().deadline_s + Settings().read_timeout_s


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_proxy_sets_all_headers_that_the_service_believes(file):
    text = file.read_text()
    for name in FORWARDED:
        header = name.removeprefix("HTTP_").replace("_", "-").title()
        assert f"set-header {header} " in text or f"proxy_set_header {header} " in text
