"""Clients in threads of their own, which go on until they are told to end."""

import threading
from contextlib import contextmanager


class Clients:
    """Clients under way.

    Args:
        clients: number of them.
    """

    def __init__(self, clients):
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(clients)
        ]

    @contextmanager
    def under_way(self):
        """Run for as long as the block does; complete when it has ended."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join()

    def _run(self, number):
        """Send requests until `_is_over` is set."""
        raise NotImplementedError
