import itertools
import time
from dataclasses import replace

import pytest

from benchmarks.latency import Answer
from benchmarks.load import measure_beside, measure_load, run_client, run_clients
from benchmarks.memory import measure_growth
from benchmarks.plan import QUICK
from tests.support.stand_in_server import stand_in_server

PLAN = replace(
    QUICK, clients=(1, 3), load_s=0.2, load_size=(5, 3), large_size=(7, 4), memory_requests=(2, 6)
)


def answer(status, retry_after_s=0.0):
    return Answer(status, 5.0, None, retry_after_s)


def test_statuses_are_counted_and_only_pictures_are_timed():
    statuses = ("200", "503", "500", "ReadTimeout")
    answers = itertools.cycle([answer(status) for status in statuses])
    load = run_clients(lambda: next(answers), clients=1, seconds=0.1)
    assert set(load.statuses) == {"200", "500", "503", "ReadTimeout"}
    assert len(load.latencies_ms) == load.statuses["200"]


def test_a_refused_client_does_not_retry_too_early():
    answers = run_client(lambda: answer("503", retry_after_s=60), time.monotonic() + 0.05)
    assert len(answers) == 1


def test_every_number_of_clients_is_measured():
    with stand_in_server(200, 503) as url:
        loads = measure_load(url, PLAN)
    assert [load.clients for load in loads] == [1, 3]
    for load in loads:
        assert set(load.statuses) == {"200", "503"}


def test_small_pictures_are_timed_alone_and_beside_a_large_one():
    with stand_in_server(200) as url:
        beside = measure_beside(url, PLAN)
    assert beside.large_status == "200"
    assert len(beside.idle_ms) >= PLAN.repetitions.least
    assert len(beside.busy_ms) == beside.statuses.get("200", 0)


@pytest.mark.parametrize("status", [200, 500])
def test_memory_is_read_after_the_planned_requests(status):
    import os

    with stand_in_server(status) as url:
        readings = measure_growth(url, os.getpid(), PLAN)
    assert [reading.requests for reading in readings] == [2, 6]
    assert readings[1].statuses == {str(status): 6}
    assert readings[1].peak_mb >= readings[1].resident_mb > 0
