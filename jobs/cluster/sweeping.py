"""What has to be done now and then by one of all processes: messages for work that nobody was
told of, and the end of what has expired."""

from typing import Protocol

from jobs.cluster.ledger import Ledger
from jobs.cluster.storage import Storage

SHARE = 6
"""Of a lease: how often is looked whether one has ended."""

SLACK = 0.9
"""Of the time between two turns, so that nobody's turn comes just too early."""


class Messages(Protocol):
    """The queue of messages, of which this needs to know whether it is empty."""

    queue: str

    def send(self, job_id: str) -> None:
        """Have some worker look into a job; if that fails, it is logged."""


class Sweeper:
    """Sweeps, if it is our turn: all processes of all machines share one.

    A piece whose worker is dead is anybody's as soon as its lease has ended; here somebody
    is told. A message that was lost, in Redis or with its worker, is sent again.
    """

    def __init__(self, ledger: Ledger, storage: Storage, messages: Messages) -> None:
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
