"""The alerts of docs/operations.md, evaluated on metrics of a service at rest and under load."""

import io
import re
import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from api.observability.tracing import StageTimes
from config import ROOT
from tests.support.media_files import archive, pictures
from tests.support.picture_files import encoded
from tests.support.promql import Scrapes, read_samples
from tests.support.stand_ins import noise
from tests.support.waiting import wait_until

FIRES = {
    'rate(enhancer_requests_total{status=~"5.."}[5m])': lambda value: value > 0,
    "sum(enhancer_tiles_waiting)": lambda value: value >= 60,
    "rate(enhancer_inference_seconds_total[5m])": lambda value: value >= 0.8,
    "enhancer_pictures_waiting": lambda value: value > 0,
    "enhancer_memory_admitted_bytes / enhancer_memory_budget_bytes": lambda value: value >= 0.9,
    "histogram_quantile(0.95, sum by (le) (rate(enhancer_stage_seconds_bucket"
    '{stage="queue"}[5m])))': lambda value: value >= 1,
    'sum(increase(enhancer_jobs_ended_total{state="failed"}[1h]))': lambda value: value > 0,
}
"""Whether a value of a query is not healthy, by the query."""

SHOWN = {
    "enhancer_resident_memory_bytes",
    "rate(enhancer_restore_strength_sum[1d]) / rate(enhancer_restore_strength_count[1d])",
    "rate(enhancer_consistency_psnr_db_sum[1d]) / rate(enhancer_consistency_psnr_db_count[1d])",
}
"""Queries whose values are compared with earlier ones."""

FRAMES = "sum(rate(enhancer_job_frames_total[10m]))"
RUNNING = 'max(enhancer_jobs{state="running"})'


def documented_queries():
    text = (ROOT / "docs/operations.md").read_text()
    rows = text.partition("### What to watch")[2].partition("## Logs")[0].splitlines()
    cells = [re.match(r"\| (.*?) \| ", row)[1] for row in rows if row.startswith("| `")]
    return {q for cell in cells for q in re.findall(r"`([^`]+)`", cell) if "enhancer_" in q}


@pytest.fixture
def service(app, upscaler, encode, monkeypatch):
    """Control a service whose tiles take a second each on a clock that only tiles advance."""
    now, gate, waiting = [0.0], threading.Event(), set()
    network, count_wait = upscaler._network, StageTimes.wait

    def run(lr):
        assert gate.wait(30)
        now[0] += 1
        return network(lr)

    def wait(times, seconds):
        waiting.add(threading.get_ident())
        count_wait(times, seconds)

    def post(route, field, content):
        data = {field: (io.BytesIO(content), "a")}
        return app.test_client().post(route, data=data, buffered=True)

    upscaler._network, upscaler.scheduler.clock = run, lambda: now[0]
    monkeypatch.setattr(StageTimes, "wait", wait)
    gate.set()
    picture = encode(noise(50, 40))
    yield SimpleNamespace(
        now=now,
        gate=gate,
        waiting=waiting,
        predict=lambda: post("/model/predict", "image", picture),
        submit=lambda content: post("/model/jobs", "file", content).json["id"],
        scrape=lambda: app.test_client().get("/metrics").text,
        parts=app.extensions["enhancer"],
    )
    gate.set()


def test_no_alert_fires_at_rest(service):
    before = service.scrape()
    assert service.predict().status_code == 200
    scrapes = Scrapes(before, service.scrape(), 300)
    for query, fires in FIRES.items():
        assert not any(map(fires, scrapes.evaluate(query).values())), query
    for query in SHOWN:
        assert len(scrapes.evaluate(query)) == (1 if "strength" not in query else 0)


def test_all_alerts_fire_in_a_saturated_service(service):
    before, parts = service.scrape(), service.parts
    engine, admission = parts.jobs.engine, parts.admission
    admission.budget *= 10  # more than the pictures in the schedule take
    damaged = service.submit(archive({"a.png": encoded(noise(20, 30))[:-30]}))
    wait_until(lambda: engine.get(damaged).state.is_final)
    ended = service.scrape()
    service.gate.clear()
    running = service.submit(pictures(1))
    wait_until(lambda: engine.get(running).state == "running")
    threads = [threading.Thread(target=service.predict) for _ in range(5)]
    with ExitStack() as stack:
        for thread in threads[:4]:
            thread.start()
        wait_until(lambda: len(service.waiting) == 4)
        stack.enter_context(admission.admit(admission.budget - admission.taken))
        threads[4].start()
        wait_until(lambda: admission.waiting == 1)
        admission.queue = 1
        assert service.predict().status_code == 503
        held = service.scrape()
    wait_until(lambda: len(service.waiting) == 5)  # none waits for memory any more
    service.gate.set()
    for thread in threads:
        thread.join()
    wait_until(lambda: engine.get(running).state.is_final)
    during, after = Scrapes(before, held, 600), Scrapes(before, service.scrape(), service.now[0])
    for query, fires in FIRES.items():
        values = [*during.evaluate(query).values(), *after.evaluate(query).values()]
        assert any(map(fires, values)), query
    stalled = Scrapes(ended, held, 600)
    assert (stalled.value(FRAMES), stalled.value(RUNNING)) == (0, 1)


def test_all_documented_queries_are_tested():
    assert documented_queries() == FIRES.keys() | SHOWN | {FRAMES, RUNNING}


def test_manifests_scale_by_metrics_that_exist(service):
    names = {name for name, _ in read_samples(service.scrape())}
    manifests = [*ROOT.glob("deploy/**/*.yaml"), ROOT / "docs/operations.md"]
    queries = re.findall(r"query: (.*)", "\n".join(path.read_text() for path in manifests))
    assert queries
    for query in queries:
        assert set(re.findall(r"enhancer_\w+", query)) <= names
