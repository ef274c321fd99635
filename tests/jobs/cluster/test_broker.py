import logging
import time

from jobs.cluster.broker import Broker
from jobs.cluster.health import PeriodicTask
from tests.support.waiting import wait_until


def test_a_message_that_cannot_be_sent_is_logged_and_no_misfortune(caplog):
    Broker("redis://127.0.0.1:1/0").send("j")
    assert "No message could be sent" in caplog.text


def test_what_is_repeated_goes_on_after_a_fault(caplog):
    calls = []

    def action():
        calls.append(1)
        raise OSError("not now")

    repeating = PeriodicTask(action, 0.01, "looking around")
    with caplog.at_level(logging.WARNING):
        repeating.start()
        wait_until(lambda: len(calls) >= 2)
        repeating.close()
    assert "looking around did not work: not now" in caplog.text
    done = len(calls)
    time.sleep(0.05)
    assert len(calls) == done


def test_what_was_never_started_can_be_closed():
    PeriodicTask(lambda: None, 1, "nothing").close()
