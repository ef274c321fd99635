"""Where the jobs of several machines are: Redis, and a storage that all of them see."""

from typing import NamedTuple

from jobs.cluster.broker import Broker
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import Bounds, Ledger, connect
from jobs.cluster.storage import Storage
from jobs.workshop import Workshop


class Place(NamedTuple):
    """The parts that a server and a worker have in common.

    Attributes:
        ledger: what is known of jobs.
        storage: their files.
        broker: messages to workers.
    """

    ledger: Ledger
    storage: Storage
    broker: Broker

    def engine(self, workshop: Workshop) -> ClusterJobs:
        """What a server needs."""
        return ClusterJobs(self.ledger, self.storage, self.broker, workshop)


def open_place(queue_url: str, storage_url: str, bounds: Bounds) -> Place:
    """The place at these addresses; nothing of it is asked yet.

    Raises:
        ImportError, ValueError: if the storage is of no kind that can be used here.
    """
    return Place(Ledger(connect(queue_url), bounds), Storage(storage_url), Broker(queue_url))
