import logging
import socket
from pathlib import Path

import kombu.message
import pytest
import redis
from celery.worker.consumer.consumer import CONNECTION_ERROR, CONNECTION_RETRY
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.cluster.broker import UNACKNOWLEDGED, WithoutOutages
from jobs.cluster.client import connect, log_failure
from jobs.cluster.ledger import JobLedger, LedgerLimits, LedgerUnavailable
from tests.support.redis_server import RedisServer, needs_redis


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@needs_redis
def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(server, caplog):
    client = connect(server.url)
    client.set_retry(Retry(NoBackoff(), 0))
    ledger = JobLedger(client, LedgerLimits(1, 1, 1))
    caplog.set_level(logging.INFO)
    for _ in range(2):
        ledger.active_jobs()
        server.kill()
        for ask in (ledger.active_jobs, ledger.counts, lambda: ledger.cancel("j", 0)):
            with pytest.raises(LedgerUnavailable) as error:
                ask()
            log_failure(logging.WARNING, "Sweeping did not work", error.value)
        server.start()
        ledger.active_jobs()
    beginnings = [record.getMessage()[:19] for record in caplog.records]
    assert beginnings == ["Redis does not answ", "Redis answers again"] * 2


def test_a_redis_that_hangs_is_waited_for_once(monkeypatch):
    monkeypatch.setattr("jobs.cluster.client.TIMEOUT_S", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with connect(url) as client, pytest.raises(redis.TimeoutError):
            client.get("a")
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_other_failures_are_logged_each_time(caplog):
    for _ in range(2):
        log_failure(logging.WARNING, "Sweeping did not work", OSError("disk full"))
    assert caplog.messages == ["Sweeping did not work: disk full"] * 2


def test_records_of_celery_on_an_outage_are_left_out():
    def keeps(message, *arguments):
        return WithoutOutages().filter(
            logging.LogRecord("celery", logging.ERROR, "", 0, message, arguments, None)
        )

    assert not keeps(CONNECTION_ERROR, "redis://", OSError(), "")
    assert not keeps("%s (%r)", CONNECTION_RETRY, OSError())
    assert not keeps(CONNECTION_RETRY)
    assert not keeps(UNACKNOWLEDGED, "tag", OSError())
    assert UNACKNOWLEDGED in Path(kombu.message.__file__).read_text()
    assert keeps("Received an unknown task: %s", "t")
