"""The connection to a client: time limits for reading and writing, and whether it is still open."""

import errno
import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

SOCKET = "gunicorn.socket"
"""Name of the connection in the WSGI environment, where gunicorn is the server."""

ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close discards what the client has not received

IPV4_MAPPED = "::ffff:"
"""Prefix of IPv4 addresses on sockets of IPv6."""


class RequestTimeout(Exception):
    """The request did not arrive in time."""


class ClientSocket(socket.socket):
    """A connection with time limits for the client.

    Args:
        accepted: the connection, which this object takes over.
        read_timeout_s: seconds in which a whole request must arrive.
        write_timeout_s: seconds in which the client must receive some bytes of the response.

    Attributes:
        request: gunicorn's request that is being answered.
        may_stream: whether the thread that answers may be kept by an event stream.
    """

    def __init__(
        self, accepted: socket.socket, *, read_timeout_s: float, write_timeout_s: float
    ) -> None:
        super().__init__(fileno=accepted.detach())
        self.request: Any = None
        self.may_stream = False
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s
        self._read_by = float("inf")
        self._byte_s = 0.0

    def start_read_timeout(self) -> None:
        """Start the time in which a request must arrive."""
        self._read_by = time.monotonic() + self._read_timeout_s
        self._byte_s = 0.0

    def extend_read_timeout(self, bytes_per_s: float) -> None:
        """Let the request take longer, as long as it arrives at this rate or faster."""
        self._byte_s = 1 / bytes_per_s

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read what has arrived. Wait for it, unless the socket has a timeout of its own.

        Raises:
            RequestTimeout: if nothing has arrived and the time for the request is over.
        """
        waits = self.gettimeout() is None and not flags
        if waits and not self._wait(select.POLLIN, self._read_by - time.monotonic()):
            raise RequestTimeout(
                f"Request must arrive within {self._read_timeout_s:g} s{self._extension()}. "
                "It did not."
            )
        received = super().recv(size, flags)
        if not flags:
            self._read_by += self._byte_s * len(received)
        return received

    def _extension(self) -> str:
        """Return the required rate in words, if the request may take longer."""
        return f" and at {1 / self._byte_s:g} bytes a second or more" if self._byte_s else ""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all bytes.

        Raises:
            BrokenPipeError: if the client has received nothing for the write timeout.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.send(rest, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait_for_client()

    def _wait_for_client(self) -> None:
        """Wait for room in the send buffer.

        The kernel reports room only once there is much of it. So a client that has received
        anything within the timeout keeps its connection.
        """
        before = self._unreceived()
        if self._wait(select.POLLOUT, self._write_timeout_s) or self._unreceived() < before:
            return
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        raise BrokenPipeError(errno.EPIPE, "The client does not receive the response.")

    def _unreceived(self) -> int:
        """Return the number of bytes that were sent and are not acknowledged."""
        (count,) = struct.unpack("i", fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4)))
        return int(count)

    def _wait(self, event: int, timeout_s: float) -> bool:
        """Wait for an event of the socket. Return false if it does not come in time."""
        poll = select.poll()
        poll.register(self, event)
        timeout_ms = None if timeout_s == float("inf") else 1000 * max(0.0, timeout_s)
        return bool(poll.poll(timeout_ms))


def extend_read_timeout(environ: dict[str, Any], bytes_per_s: float) -> None:
    """Let the current request take longer, where the server limits its time.

    Args:
        environ: WSGI environment of the request.
        bytes_per_s: lowest rate at which the request must arrive.
    """
    connection = environ.get(SOCKET)
    if isinstance(connection, ClientSocket):
        connection.extend_read_timeout(bytes_per_s)


def watch_client(environ: dict[str, Any]) -> Callable[[], bool]:
    """Return a function that tells whether the client has hung up.

    Without a connection in the WSGI environment, the function always returns false.
    """
    connection = environ.get(SOCKET)
    if connection is None:
        return lambda: False
    return lambda: has_hung_up(connection)


def has_hung_up(connection: socket.socket) -> bool:
    """Return whether the client has closed the connection and all its bytes are read."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def unmap(address: Any) -> Any:
    """Return the address of a peer; an IPv4 address that an IPv6 socket has mapped is IPv4 again.

    >>> unmap(("::ffff:192.0.2.1", 80, 0, 0)), unmap(("::1", 80, 0, 0))
    (('192.0.2.1', 80), ('::1', 80, 0, 0))
    """
    if isinstance(address, tuple) and address[0].startswith(IPV4_MAPPED) and "." in address[0]:
        return address[0].removeprefix(IPV4_MAPPED), address[1]
    return address
