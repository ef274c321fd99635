"""Whether the storage of this machine is that of the cluster.

A share that is not mounted looks like a storage without files. So the storage has an identity,
which the ledger knows. A machine with another storage, or whose storage does not answer, takes no
work. Servers declare the identity, because they store the files of new jobs. Workers only compare.
"""

import logging
import threading
import time

from jobs.cluster.ledger import JobLedger
from jobs.cluster.storage import Storage

log = logging.getLogger("enhancer.jobs")


class StorageWatch:
    """Compares the storage of this machine with that of the cluster; threads may share it.

    It logs once that the storage cannot be used, and once that it can be used again.

    Args:
        ledger: knows the identity of the cluster's storage.
        storage: of this machine.
        declares: whether to declare the identity of `storage` if the ledger knows none.
    """

    def __init__(self, ledger: JobLedger, storage: Storage, *, declares: bool = False) -> None:
        self._fault: OSError | None = None
        self._ledger, self._storage, self._declares = ledger, storage, declares
        self._gone_since = 0.0
        self._lock = threading.Lock()  # of both

    def look(self) -> OSError | None:
        """Learn from the ledger which storage is the right one, and `compare` it with this one.

        Raises:
            LedgerUnavailable: if the ledger does not answer.
        """
        try:
            declared = self._ledger.storage_identity()
            if declared is None and self._declares:
                declared = self._declare()
        except OSError as error:
            return self._note(error)
        if declared is not None:  # else the ledger has lost it, and what it was counts
            self._storage.expected = declared
        return self.compare()

    def compare(self, *, at_once: bool = False) -> OSError | None:
        """Return why the storage cannot be used, as far as this process knows; None if it can.

        Args:
            at_once: whether not to rely on a check of a moment ago.
        """
        try:
            self._storage.check(at_once=at_once)
        except OSError as error:
            return self._note(error)
        return self._note(None)

    def _declare(self) -> str | None:
        """Declare the identity of this storage, unless another one was the right one before."""
        with self._ledger.storage_lock():
            declared = self._ledger.storage_identity()  # another server may have done it just now
            if declared is not None:
                return declared
            found, before = self._storage.identity(), self._storage.expected
            if before not in (None, found):
                return None
            declared = found or self._storage.identify()
            self._ledger.declare_storage(declared)
            return declared

    def _note(self, fault: OSError | None) -> OSError | None:
        with self._lock:
            if fault is not None and self._fault is None:
                self._gone_since = time.monotonic()
                log.warning("The storage cannot be used: %s", fault)
            elif fault is None and self._fault is not None:
                away_s = time.monotonic() - self._gone_since
                log.info("The storage can be used again, after %.0f s", away_s)
            self._fault = fault
        return fault


def adopt_storage(ledger: JobLedger, storage: Storage) -> str:
    """Make a storage that of the cluster, whichever it was before, and return its identity.

    Raises:
        LedgerUnavailable: if the ledger does not answer.
        OSError: if the storage does not.
    """
    identity = storage.identity() or storage.identify()
    ledger.declare_storage(identity)
    return identity
