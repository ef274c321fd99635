"""The connection to a caller, which is given up on if the caller keeps it waiting.

Whether the caller of a request is still there.
"""

import errno
import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from typing import Any


def watch_client(environ: dict[str, Any]) -> Callable[[], bool]:
    """A function that tells whether the caller has hung up; never, where that cannot be seen."""
    connection = environ.get(SOCKET)
    if connection is None:
        return lambda: False
    return lambda: has_hung_up(connection)


def has_hung_up(connection: socket.socket) -> bool:
    """True if the other side has closed: there is an end to be read, and nothing before it."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: closing throws away what was not taken


SOCKET = "gunicorn.socket"  # in the WSGI environment, where Gunicorn is the server


class RequestTimeout(Exception):
    """The request did not arrive in time."""


class CallerSocket(socket.socket):
    """A connection with limits on how long the caller may keep it waiting.

    Args:
        accepted: the connection, which becomes part of this.
        read_timeout_s: in which a whole request must arrive.
        write_timeout_s: in which the caller must take something, when there is something to take.

    Attributes:
        request: Gunicorn's, that is being answered.
        may_be_held: whether the thread that answers is one of those that may be kept for long.
    """

    def __init__(
        self, accepted: socket.socket, *, read_timeout_s: float, write_timeout_s: float
    ) -> None:
        super().__init__(fileno=accepted.detach())
        self.request: Any = None
        self.may_be_held = False
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s
        self._read_by = float("inf")
        self._byte_s = 0.0

    def expect_request(self) -> None:
        """Let the time begin in which a request must arrive."""
        self._read_by = time.monotonic() + self._read_timeout_s
        self._byte_s = 0.0

    def accept_rate(self, bytes_per_s: float) -> None:
        """Let the request take longer, as long as it comes at this rate or faster."""
        self._byte_s = 1 / bytes_per_s

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read what is there; wait for it, unless the reader has limits of its own.

        Raises:
            RequestTimeout: if nothing is there and the request's time is over.
        """
        waits = self.gettimeout() is None and not flags
        if waits and not self._wait(select.POLLIN, self._read_by - time.monotonic()):
            raise RequestTimeout(
                f"Request must arrive within {self._read_timeout_s:g} s{self._allowance()}. "
                "It did not."
            )
        received = super().recv(size, flags)
        if not flags:
            self._read_by += self._byte_s * len(received)
        return received

    def _allowance(self) -> str:
        """What else is allowed, in words."""
        return f" and at {1 / self._byte_s:g} bytes a second or more" if self._byte_s else ""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send everything.

        Raises:
            BrokenPipeError: if the caller has taken nothing for too long.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.send(rest, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait_for_caller()

    def _wait_for_caller(self) -> None:
        """Wait for room; the kernel reports some only once there is much of it."""
        left = self._untaken()
        if self._wait(select.POLLOUT, self._write_timeout_s) or self._untaken() < left:
            return
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        raise BrokenPipeError(errno.EPIPE, "The caller does not take the answer.")

    def _untaken(self) -> int:
        """Bytes that were sent and have not arrived."""
        (count,) = struct.unpack("i", fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4)))
        return int(count)

    def _wait(self, event: int, timeout_s: float) -> bool:
        """True once the event is there, false if it does not come in time."""
        poll = select.poll()
        poll.register(self, event)
        timeout_ms = None if timeout_s == float("inf") else 1000 * max(0.0, timeout_s)
        return bool(poll.poll(timeout_ms))


def accept_rate(environ: dict[str, Any], bytes_per_s: float) -> None:
    """Let a request take longer, where the server limits its time; see `CallerSocket`."""
    connection = environ.get(SOCKET)
    if isinstance(connection, CallerSocket):
        connection.accept_rate(bytes_per_s)
