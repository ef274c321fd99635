"""Messages that wake workers, sent with Celery. Only this module imports Celery.

A worker is one process with one model, which computes one piece at a time: Celery's solo pool. A
pool of child processes would load the model in each of them, because TensorFlow does not survive
a fork; and orphans would compute on when their parent dies.
"""

import logging
import signal
from collections.abc import Callable
from typing import Any, Protocol

from celery import Celery
from celery.worker import state
from celery.worker.consumer.consumer import CONNECTION_ERROR, CONNECTION_RETRY
from kombu.exceptions import KombuError

from jobs.cluster.client import TIMEOUT_S

QUEUE = "enhancer"
"""Name of the list in Redis that holds the messages."""

TASK = "enhancer.work"
"""Name of the Celery task."""

SEND_POLICY = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
"""How often, and at which intervals in seconds, sending is tried again."""

OUTAGE_LOGGERS = ("celery.worker.consumer.consumer", "celery.worker.request")
"""Names of Celery's loggers of lost connections."""

UNACKNOWLEDGED = "Couldn't ack %r, reason:%r"
"""Record of Kombu on a message that Redis will deliver again, because it does not answer now."""

log = logging.getLogger("enhancer.jobs")


class MessageQueue(Protocol):
    """A queue of messages, each with the id of a job that a worker should look at.

    Attributes:
        queue: name of the list in Redis.
    """

    queue: str

    def send(self, job_id: str) -> None:
        """Ask a worker to look at a job; a failure is only logged."""


class WithoutOutages(logging.Filter):
    """Removes Celery's records on a Redis that does not answer: `jobs.cluster.client` logs that."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep a record."""
        texts = (record.msg, *(record.args if isinstance(record.args, tuple) else ()))
        return not {CONNECTION_ERROR, CONNECTION_RETRY, UNACKNOWLEDGED}.intersection(
            text for text in texts if isinstance(text, str)
        )


class Broker:
    """The `MessageQueue` in Redis, and the loop of a worker that takes messages from it.

    Args:
        url: of Redis.
        queue: name of the list in Redis.
    """

    def __init__(self, url: str, queue: str = QUEUE) -> None:
        self.queue = queue
        self._celery = Celery("enhancer", broker=url, set_as_current=False)
        self._celery.conf.update(configuration(queue))

    def send(self, job_id: str) -> None:
        """Ask a worker to look at a job; a failure is only logged.

        A message that was not sent does no harm: `jobs.cluster.maintenance.Sweeper` sends it later.
        """
        try:
            self._celery.send_task(TASK, [job_id], retry=True, retry_policy=SEND_POLICY)
        except (KombuError, OSError) as error:
            log.warning("No message could be sent: %s", error)

    def consume(self, work: Callable[[str], None], on_stop: Callable[[], None]) -> int:
        """Take messages until SIGTERM or SIGINT, and return the exit code.

        Args:
            work: called with the id of a job for each message; raises nothing.
            on_stop: called by the signal handler; the work under way is then the last.
        """
        self._celery.task(work, name=TASK)
        logging.getLogger("celery").setLevel(logging.WARNING)  # it logs ids, which are secret
        for name in OUTAGE_LOGGERS:
            logging.getLogger(name).addFilter(WithoutOutages())

        def stop(*_signal: object) -> None:
            state.should_stop = 0  # Celery reads this after each message, and between messages
            on_stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        worker = self._celery.WorkController(
            pool="solo",
            queues=[self.queue],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            ready_callback=lambda _consumer: log.info("Ready to work on jobs"),
        )
        worker.start()
        return int(worker.exitcode or 0)


def configuration(queue: str) -> dict[str, Any]:
    """Return Celery's settings: one message at a time, late acknowledgement, no results.

    A message that is not acknowledged within `visibility_timeout`, an hour, is delivered again.
    Nothing depends on that, nor on being delivered only once.
    """
    return {
        "task_default_queue": queue,
        "task_acks_late": True,
        "task_ignore_result": True,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
        },
    }
