"""Whether the caller of a request is still there."""

import socket
from collections.abc import Callable
from typing import Any

from api.connection import SOCKET


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
