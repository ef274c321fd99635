"""Messages by Celery: who has work tells those who look for some (the only importer of Celery).

A worker is one process with one model, which works on one piece at a time: Celery's solo
pool. Its pool of child processes would load the model in each, since TensorFlow does not
survive a fork, and would let orphans compute on when their parent dies.

What has to be done now and then by one of all processes: messages for work that nobody was
told of, and the end of what has expired.
"""

import logging
import signal
from collections.abc import Callable
from typing import Any, Protocol

from celery import Celery
from celery.worker import state
from kombu.exceptions import KombuError

from jobs.cluster.ledger import JobLedger
from jobs.cluster.storage import Storage

QUEUE = "enhancer"
TASK = "enhancer.work"

SEND_POLICY = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}

TIMEOUT_S = 5.0

log = logging.getLogger("enhancer.jobs")


class Broker:
    """The queue of messages, each of which names a job that somebody should look into.

    Args:
        url: of Redis.
        queue: name of the list there.
    """

    def __init__(self, url: str, queue: str = QUEUE) -> None:
        self.queue = queue
        self._celery = Celery("enhancer", broker=url, set_as_current=False)
        self._celery.conf.update(configuration(queue))

    def send(self, job_id: str) -> None:
        """Have some worker look into a job; if that fails, it is logged.

        It is no misfortune: who sweeps finds that nobody was told.
        """
        try:
            self._celery.send_task(TASK, [job_id], retry=True, retry_policy=SEND_POLICY)
        except (KombuError, OSError) as error:
            log.warning("No message could be sent: %s", error)

    def work(self, work: Callable[[str], None], on_stop: Callable[[], None]) -> int:
        """Be a worker, until SIGTERM or SIGINT; the exit code.

        Args:
            work: called for each message, with the id of a job; raises nothing.
            on_stop: told by the signal handler that the work under way is to be the last.
        """
        self._celery.task(work, name=TASK)
        logging.getLogger("celery").setLevel(logging.WARNING)  # it tells ids, which are secret

        def stop(*_signal: object) -> None:
            state.should_stop = 0  # of Celery: read after each message, and between them
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
    """Of Celery: a message at a time, acknowledged late; no results, no commands from afar.

    What is not acknowledged after `visibility_timeout`, an hour, comes again. Nothing
    depends on that, neither that it comes nor that it comes once.
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


SHARE = 6
"""Of a lease: how often is looked whether one has ended."""

SLACK = 0.9
"""Of the time between two turns, so that nobody's turn comes just too early."""


class MessageQueue(Protocol):
    """The queue of messages, of which this needs to know whether it is empty."""

    queue: str

    def send(self, job_id: str) -> None:
        """Have some worker look into a job; if that fails, it is logged."""


class Sweeper:
    """Sweeps, if it is our turn: all processes of all machines share one.

    A piece whose worker is dead is anybody's as soon as its lease has ended; here somebody
    is told. A message that was lost, in Redis or with its worker, is sent again.
    """

    def __init__(self, ledger: JobLedger, storage: Storage, messages: MessageQueue) -> None:
        self.every_s = ledger.lease_s / SHARE
        self._ledger, self._storage, self._messages = ledger, storage, messages

    def sweep(self) -> None:
        """Send what messages are missing; delete what files are due."""
        if self._ledger.acquire("sweep", SLACK * self.every_s):
            self._send_missing()
            self._delete_due()

    def _send_missing(self) -> None:
        is_idle = self._ledger.waiting_messages(self._messages.queue) == 0
        for job_id in self._ledger.active():
            if self._ledger.needs_message(job_id, is_idle=is_idle):
                self._messages.send(job_id)

    def _delete_due(self) -> None:
        for job_id in self._ledger.rubbish():
            self._storage.delete(job_id)
            self._ledger.cleared(job_id)
