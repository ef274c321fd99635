"""Work that is repeated in the background: send lost messages, and delete expired files."""

import logging
import threading
from collections.abc import Callable

from jobs.cluster.broker import MessageQueue
from jobs.cluster.client import log_failure
from jobs.cluster.ledger import JobLedger
from jobs.cluster.storage import Storage, WrongStorage

SWEEPS_PER_LEASE = 6
"""Number of sweeps in the time of a lease."""

CLOSE_S = 10.0
"""Seconds to wait for the end of a call; a storage may hang."""

TURN_SHARE = 0.9
"""Share of the interval for which a sweep excludes others; below 1, so the next is not late."""


class PeriodicTask:
    """Calls a function again and again in a thread, even after it failed.

    Args:
        action: called without arguments. What it raises is logged, once for calls in a row that
            fail alike.
        every_s: seconds between two calls.
        name: of the thread.
    """

    def __init__(self, action: Callable[[], object], every_s: float, name: str) -> None:
        self._action, self._every_s = action, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; call this once."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more calls."""
        self._stopped.set()

    def close(self) -> None:
        """Stop, and wait for the call under way, at most `CLOSE_S`."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _loop(self) -> None:
        failure = ""
        while not self._stopped.wait(self._every_s):
            try:
                self._action()
            except Exception as error:  # the next call may succeed
                if str(error) != failure:
                    log_failure(logging.WARNING, f"{self._thread.name} did not work", error)
                failure = str(error)
            else:
                failure = ""


class Sweeper:
    """Repairs what crashes leave behind; one of all processes on all machines takes each turn.

    When the lease of a dead worker ends, its piece is free; the sweeper asks another worker to
    look. It also sends messages again that were lost in Redis or with their worker.

    Args:
        ledger: of jobs.
        storage: of their files.
        messages: wake workers.
    """

    def __init__(self, ledger: JobLedger, storage: Storage, messages: MessageQueue) -> None:
        self.every_s = ledger.lease_s / SWEEPS_PER_LEASE
        self._ledger, self._storage, self._messages = ledger, storage, messages

    def sweep(self) -> None:
        """Send missing messages and delete expired files, if no other process did so just now."""
        if self._ledger.acquire_turn("sweep", TURN_SHARE * self.every_s):
            self._send_missing()
            self._delete_expired()

    def _send_missing(self) -> None:
        is_idle = self._ledger.queued_messages(self._messages.queue) == 0
        for job_id in self._ledger.active_jobs():
            if self._ledger.needs_message(job_id, is_idle=is_idle):
                self._messages.send(job_id)

    def _delete_expired(self) -> None:
        failure: OSError | None = None
        for job_id in self._ledger.collect_expired():
            try:
                self._storage.delete(job_id)
            except WrongStorage:  # another machine deletes them; `StorageWatch` logs that
                return
            except OSError as error:  # the files of other jobs may be deletable
                failure = error
            else:
                self._ledger.forget_files(job_id)
        if failure is not None:
            raise failure
