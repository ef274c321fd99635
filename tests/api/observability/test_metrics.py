import io
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from config import ROOT
from core.files import MEGABYTE
from tests.support.stand_ins import noise


@pytest.fixture
def metric(client):
    """Return the value of a sample; None if it is missing."""

    def metric(sample, /, **labels):
        samples = read_samples(client.get("/metrics").text)
        return samples.get((f"enhancer_{sample}", frozenset(labels.items())))

    return metric


def read_samples(text):
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def test_metrics_are_in_the_format_of_prometheus(client):
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")


def test_requests_are_counted_by_method_route_and_status(client, post, encode, metric):
    post(encode(noise(9, 8)), buffered=True)
    post(b"no picture", buffered=True)
    client.get("/nothing/there", buffered=True)
    client.open("/model/metadata", method="BREW", buffered=True)
    predict = {"method": "POST", "route": "/model/predict"}
    assert metric("requests_total", **predict, status="200") == 1
    assert metric("requests_total", **predict, status="400") == 1
    assert metric("request_seconds_count", **predict) == 2
    assert metric("requests_total", method="GET", route="other", status="404") == 1
    assert metric("requests_total", method="other", route="other", status="405") == 1


def test_tiles_and_stages_of_a_picture_are_counted(upscaler, post, encode, metric):
    post(encode(noise(60, 16)), buffered=True)
    for stage in ("queue", "decode", "upscale"):
        assert metric("stage_seconds_count", stage=stage) == 1
    assert metric("stage_seconds_sum", stage="upscale") > 0
    assert metric("picture_megapixels_sum") == pytest.approx(60 * 16 / 1e6)
    assert metric("megapixels_total") == pytest.approx(60 * 16 / 1e6)
    assert metric("tiles_total") == sum(len(row) for row in upscaler.plan(60, 16))
    assert metric("inference_seconds_total") > 0


def test_a_picture_with_an_aborted_response_counts_no_megapixels(app, encode, metric):
    data = {"image": (io.BytesIO(encode(noise(60, 16))), "a.png")}
    app.test_client().post("/model/predict", data=data).close()
    assert metric("picture_megapixels_count") == 1
    assert metric("megapixels_total") == 0


def test_gauges_show_current_memory_and_queues(app, metric):
    admission = app.extensions["enhancer"].admission
    with admission.admit(5 * MEGABYTE):
        assert metric("memory_admitted_bytes") == 5 * MEGABYTE
    assert metric("memory_admitted_bytes") == 0
    assert metric("memory_budget_bytes") == 16 * MEGABYTE
    assert metric("resident_memory_bytes") > 10 * MEGABYTE
    assert metric("pictures_waiting") == 0
    assert metric("tiles_waiting") == 0


def test_model_and_build_are_labels(metric, client):
    assert metric("model_info", name="stand-in", version="1.2.3", sha256="0" * 64) == 1
    assert 'enhancer_build_info{python="3.' in client.get("/metrics").text


def test_the_consistency_of_results_is_observed(post, encode, metric):
    response = post(encode(noise(20, 20)), buffered=True)
    stated = float(response.headers["X-Consistency-PSNR"])
    assert metric("consistency_psnr_db_sum") == pytest.approx(stated, abs=0.01)
    assert metric("consistency_psnr_db_count") == 1


COUNT_IN_TWO_PROCESSES = """
import multiprocessing, sys
from app import create_app
from config import Settings
from core.model.upscaler import Upscaler
from tests.support.stand_ins import make_card, repeat

def client():
    settings = Settings(workers=2, memory_mb=100, decoders=0)
    return create_app(settings, Upscaler(make_card(), repeat, window=16)).test_client()

def count():
    client().get("/health/live", buffered=True)

process = multiprocessing.get_context("spawn").Process(target=count)
if __name__ == "__main__":
    process.start()
    process.join()
    here = client()
    here.get("/health/live", buffered=True)
    print(here.get("/metrics").text)
"""


def test_several_processes_count_together(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(COUNT_IN_TWO_PROCESSES)
    shared = tmp_path / "shared"
    shared.mkdir()
    done = subprocess.run(
        [sys.executable, program],
        env={"PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(shared)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    samples = read_samples(done.stdout)
    labels = {"method": "GET", "route": "/health/live", "status": "200"}
    assert samples["enhancer_requests_total", frozenset(labels.items())] == 2
    assert samples["enhancer_memory_budget_bytes", frozenset()] == 200 * MEGABYTE
