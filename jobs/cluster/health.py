"""What is done again and again, in a thread of its own.

Whether a worker of this machine lives; imports next to nothing, as it is asked often.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

OLD_S = 60.0
"""Age of a sign of life at which a worker is not healthy."""


def usual_sign() -> Path:
    """The file that the worker touches, where there is only one."""
    return Path(tempfile.gettempdir()) / "enhancer-worker.alive"


def is_healthy(sign_of_life: Path) -> bool:
    """Whether the worker with this file has lately shown that it lives and is not stuck."""
    with suppress(FileNotFoundError):
        return time.time() - sign_of_life.stat().st_mtime < OLD_S
    return False


log = logging.getLogger("enhancer.jobs")


class PeriodicTask:
    """Calls something now and then, whatever comes of it.

    Args:
        action: what is called; what it raises is logged.
        every_s: seconds between two calls.
        name: of the thread.
    """

    def __init__(self, action: Callable[[], None], every_s: float, name: str) -> None:
        self._action, self._every_s = action, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once only."""
        self._thread.start()

    def stop(self) -> None:
        """Call no more."""
        self._ended.set()

    def close(self) -> None:
        """Stop, and wait for the call that is under way."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._action()
            except Exception as error:  # the next time it may work
                log.warning("%s did not work: %s", self._thread.name, error)
