"""The gunicorn worker class of the service.

It changes these things about gunicorn's threaded worker:

- It loads the application in the background. Until then it answers probes: live, not ready.
- Probes, progress requests and event streams have thread pools of their own, so they are
  answered while all other threads wait for the network.
- A connection takes a thread only once there is something to read.
- Slow clients lose their connection (`api.server.connection`).
- A stopped worker can stay open for a while, not ready (`WorkerTimeouts.drain_s`). Then it
  accepts every connection that is already made, and refuses the rest (`close_listener`).

The worker overrides methods that gunicorn does not document. `pyproject.toml` therefore pins
gunicorn exactly, and `tests/api/server/test_gunicorn.py` checks what the worker relies on.
"""

import ctypes
import errno
import json
import os
import re
import selectors
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from api.responses import MAY_STREAM
from api.routes.status import DRAINING, LIVE, STARTING
from api.server.connection import SOCKET, ClientSocket, RequestTimeout, unmap

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PREFIX = rb"GET (?:/[^\s?]+)?"  # of the path, where a proxy forwards it; probes come directly
PROBE = re.compile(rb"GET (/health/live|/health/ready|/metrics)[? ].*\r\n\r\n", re.DOTALL)
PROGRESS = re.compile(PREFIX + rb"/model/progress/[^/ ?]+[? ].*\r\n\r\n", re.DOTALL)
EVENTS = re.compile(PREFIX + rb"/model/jobs/[^/ ?]+/events[? ]")
PEEK_BYTES = 4096  # largest head of a request that is matched against these patterns

PROBE_THREADS = 2
PROGRESS_THREADS = 2
REFUSING_THREADS = 4  # beyond the limit on event streams, to answer requests over the limit

STARTING_RESPONSES = {
    "/health/live": (HTTPStatus.OK, LIVE),
    "/health/ready": (HTTPStatus.SERVICE_UNAVAILABLE, STARTING),
    "/metrics": (HTTPStatus.SERVICE_UNAVAILABLE, STARTING),
}
"""Status and body by path, while the application is being loaded."""

FIRST_BYTE_S = 5.0
"""Seconds that a new connection may stay silent."""

LINGER_S = 2.0
LINGER_BYTES = 64 * 1024 * 1024
"""Limits on what is read and discarded after the last response: a client that is still sending
when the connection is closed gets a reset instead of the response."""

NO_CONNECTION = {errno.EAGAIN, errno.EWOULDBLOCK}
CONNECTION_GONE = {errno.ECONNABORTED}

HANDSHAKE_S = 0.1
"""Seconds in which handshakes that began before the filter can finish."""

SO_ATTACH_FILTER = 26  # linux/asm-generic/socket.h

# Instructions of the classic packet filter (linux/bpf_common.h): code, jumps, operand.
LOAD_BYTE, AND, JUMP_IF_EQUAL, RETURN = 0x30, 0x54, 0x15, 0x06
FLAGS_OFFSET = 13  # of the flags in a TCP header
SYN, ACK = 0x02, 0x10
DROP_PACKET, PASS_PACKET = 0, 0xFFFFFFFF  # number of bytes of the packet to keep

DROP_SYN = (
    (LOAD_BYTE, 0, 0, FLAGS_OFFSET),
    (AND, 0, 0, SYN | ACK),
    (JUMP_IF_EQUAL, 0, 1, SYN),
    (RETURN, 0, 0, DROP_PACKET),
    (RETURN, 0, 0, PASS_PACKET),
)
"""Packet filter that drops the first packet of every new connection."""


@dataclass(frozen=True)
class WorkerTimeouts:
    """Timeouts of a worker, in seconds.

    Attributes:
        read_s: in which a request must arrive, counted from its first byte.
        write_s: in which the client must accept some bytes of a response.
        drain_s: for which a worker accepts requests, not ready, after the signal to stop.
    """

    read_s: float
    write_s: float
    drain_s: float


class ClientConnection(TConn):
    """A connection that can be closed twice: by a thread and by the main loop."""

    def close(self, graceful: bool = False) -> None:
        """Close the connection, unless it is closed already.

        Args:
            graceful: whether to read what the client still sends; see `LINGER_BYTES`.
        """
        if self.sock.fileno() < 0:
            return
        if graceful:
            util.close_graceful(self.sock, timeout=LINGER_S, max_drain=LINGER_BYTES)
        else:
            util.close(self.sock)


class ServerWorker(ThreadWorker):
    """A worker process of the server.

    Attributes:
        timeouts: of all workers; set by `create_worker_class`.
        watchers: largest number of event streams of one worker; set likewise.
        is_draining: true from the signal to stop.
    """

    timeouts: WorkerTimeouts
    watchers: int

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.sockets: list[Any]
        self.is_draining = False
        self._loaded = threading.Event()
        self._failure: BaseException | None = None
        self._application: Any = None

    # Loading

    def init_process(self) -> None:
        """Create the thread pools, then run the main loop."""
        self._probe_pool = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        self._progress_pool = ThreadPoolExecutor(PROGRESS_THREADS, thread_name_prefix="progress")
        threads = self.watchers + REFUSING_THREADS
        self._event_pool = ThreadPoolExecutor(threads, thread_name_prefix="events")
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application in the background."""
        self.wsgi = self.call_application
        threading.Thread(target=self._load, name="load", daemon=True).start()

    def _load(self) -> None:
        try:
            self._application = self.app.wsgi()
        except BaseException as error:  # the main loop raises it
            self._failure = error
        finally:
            self._loaded.set()

    def notify(self) -> None:
        """Tell the parent that the worker is alive; the main loop calls this every second.

        Raises:
            BaseException: what loading the application raised, which ends the worker.
        """
        super().notify()
        if self._failure is not None:
            self.booted = False  # tells gunicorn that another worker would fail too
            raise self._failure

    def call_application(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Call the application. Before it is loaded, answer probes; other requests wait."""
        if not self._loaded.is_set():
            if environ["PATH_INFO"] in STARTING_RESPONSES:
                return respond_starting(environ["PATH_INFO"], start_response)
            self._loaded.wait()
        environ[DRAINING] = self.is_draining
        environ[MAY_STREAM] = environ[SOCKET].may_stream
        start = partial(self._start_response, environ[SOCKET], start_response)
        body: Iterable[bytes] = self._application(environ, start)
        return body

    def _start_response(
        self, client: ClientSocket, start_response: "StartResponse", status: str, *others: Any
    ) -> Callable[[bytes], object]:
        """Send `Connection: close` if the connection takes no other request."""
        if self.is_draining or status.startswith(f"{HTTPStatus.REQUEST_TIMEOUT:d} "):
            client.request.force_close()
        return start_response(status, *others)

    # Connections

    def accept(self, listener: Any) -> None:
        """Accept a waiting connection; the main loop calls this."""
        self._accept_one(listener)

    def _accept_one(self, listener: Any) -> bool:
        """Accept a waiting connection. Return false if there is none."""
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in NO_CONNECTION | CONNECTION_GONE:
                return error.errno in CONNECTION_GONE
            raise
        self.nr_conns += 1
        client = ClientSocket(
            accepted, read_timeout_s=self.timeouts.read_s, write_timeout_s=self.timeouts.write_s
        )
        server = listener.getsockname()
        self._await_request(ClientConnection(self.cfg, client, unmap(address), server))
        return True

    def _await_request(self, conn: ClientConnection) -> None:
        """Give the connection to a thread once there is something to read."""
        conn.timeout = time.monotonic() + FIRST_BYTE_S
        self.pending_conns.append(conn)
        callback = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, callback)

    def enqueue_req(self, conn: ClientConnection) -> None:
        """Give the connection to a thread of the pool for its request."""
        pool = self._pool_for(conn.sock)
        conn.sock.may_stream = pool is self._event_pool
        pool.submit(self.handle, conn).add_done_callback(partial(self._finish, conn))

    def _pool_for(self, client: ClientSocket) -> ThreadPoolExecutor:
        if is_probe(client):
            return self._probe_pool
        if is_progress_request(client):
            return self._progress_pool
        pool: ThreadPoolExecutor = self._event_pool if is_event_request(client) else self.tpool
        return pool

    def _finish(self, conn: ClientConnection, done: "Future[Any]") -> None:
        self.method_queue.defer(self.finish_request, conn, done)

    def handle(self, conn: ClientConnection) -> Any:
        """Answer a request, in a thread. Return true if the connection takes another one."""
        conn.sock.start_read_timeout()
        stays_open = super().handle(conn)
        if not stays_open:
            conn.close(graceful=True)  # may take seconds, for which the main loop cannot wait
        return stays_open

    def handle_request(self, req: Any, conn: ClientConnection) -> Any:
        """Answer a parsed request."""
        conn.sock.request = req
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: ClientSocket, addr: Any, exc: Exception) -> None:
        """Answer a request that could not be read."""
        if not isinstance(exc, RequestTimeout):
            super().handle_error(req, client, addr, exc)
            return
        self.log.info("Request from %s timed out.", addr[0])
        with suppress(OSError):
            status = HTTPStatus.REQUEST_TIMEOUT
            util.write_error(client, status.value, status.phrase, str(exc))

    # Stopping

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop being ready, and stop the main loop after the drain time."""
        if self.is_draining:
            return
        self.is_draining = True
        self._stop_background()
        stop = super().handle_exit
        if not self.timeouts.drain_s:
            stop(sig, frame)
            return
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, self.timeouts.drain_s)

    def is_parent_alive(self) -> bool:
        """Return whether the parent lives; without it, the main loop stops the worker."""
        if super().is_parent_alive():
            return True
        self._stop_background()
        return False

    def _stop_background(self) -> None:
        """Stop the background work of the application, and its endless responses."""
        stop = getattr(self._application, "stop", None)
        if stop is not None:
            stop()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; close the listeners if the worker is stopping."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                self.close_listener(listener)
            self.sockets = []

    def close_listener(self, listener: socket.socket) -> None:
        """Accept all connections that are made, then close the listener.

        The kernel completes handshakes by itself and resets connections that nobody accepted
        before the close. So a packet filter keeps new connections out before the last accept.
        If the parent still has the listener, other workers go on accepting, and the filter
        would apply to them too.
        """
        listener.setblocking(False)
        if not is_held_by(self.ppid, listener):
            with suppress(OSError):
                reject_new_connections(listener)
                time.sleep(HANDSHAKE_S)
        while self._accept_one(listener):
            pass
        listener.close()


def create_worker_class(timeouts: WorkerTimeouts, *, watchers: int) -> type[ServerWorker]:
    """Return the worker class with these limits.

    Args:
        timeouts: for clients, and for the end.
        watchers: largest number of event streams of one worker.
    """
    return type("Worker", (ServerWorker,), {"timeouts": timeouts, "watchers": watchers})


def is_probe(client: socket.socket) -> bool:
    """Return whether a whole probe has arrived."""
    return PROBE.match(peek(client)) is not None


def is_progress_request(client: socket.socket) -> bool:
    """Return whether a whole request for the progress of a picture has arrived."""
    return PROGRESS.match(peek(client)) is not None


def is_event_request(client: socket.socket) -> bool:
    """Return whether the first line of a request for an event stream has arrived."""
    return EVENTS.match(peek(client)) is not None


def peek(client: socket.socket) -> bytes:
    """Return the first bytes that the client has sent, and leave them to be read."""
    try:
        return client.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""


def respond_starting(path: str, start_response: "StartResponse") -> list[bytes]:
    """Respond to a probe while the application is being loaded."""
    status, content = STARTING_RESPONSES[path]
    body = json.dumps(content).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]


def reject_new_connections(listener: socket.socket) -> None:
    """Drop new connections, in every process that shares the listener; open ones go on.

    A client whose first packet is dropped sends it again after a second. It is then refused,
    because the listener is closed.

    Raises:
        OSError: if the system has no packet filters.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in DROP_SYN)
    code = ctypes.create_string_buffer(program)
    address = struct.pack("HL", len(DROP_SYN), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, address)


def is_held_by(pid: int, listener: socket.socket) -> bool:
    """Return whether a process has this socket, or true if its files cannot be listed."""
    inode = os.fstat(listener.fileno()).st_ino
    try:
        return any(inode_of(path) == inode for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return True


def inode_of(path: Path) -> int | None:
    """Return the inode behind a file descriptor; None if it was closed meanwhile."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
