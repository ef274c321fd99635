"""A server process: Gunicorn's threaded one, without what would let a caller down.

- It answers while the application is still being loaded: alive, not ready.
- Probes have threads of their own, so they are answered when all others are busy; so have
  those who ask where their picture is, and who watches a job, and keeps a thread for as long.
- A connection takes a thread only once there is something to read.
- Callers who are too slow lose their connection (`api.server.connection`).
- When stopped, it may stay open for a while, not ready; then it takes every
  connection that was made, and refuses the rest (`api.server.worker`).

The end of listening, at which no connection may be lost.

Between the last look for waiting connections and the close of the listening socket, a
caller can still connect, and would be cut off. So the first packet of a connection is
thrown away before: its sender tries again in a second, and is then refused.
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

from api.responses import MAY_BE_HELD
from api.routes.health import DRAINING, LIVE, STARTING
from api.server.connection import SOCKET, CallerSocket, RequestTimeout

SO_ATTACH_FILTER = 26  # linux/asm-generic/socket.h

# Instructions of the classic packet filter (linux/bpf_common.h): code, jumps, operand.
LOAD_BYTE, AND, JUMP_IF_EQUAL, RETURN = 0x30, 0x54, 0x15, 0x06
FLAGS_OFFSET = 13  # of the flags in a TCP header
SYN, ACK = 0x02, 0x10
NOTHING, ALL = 0, 0xFFFFFFFF  # bytes of a packet that are let through

NO_NEWCOMERS = (
    (LOAD_BYTE, 0, 0, FLAGS_OFFSET),
    (AND, 0, 0, SYN | ACK),
    (JUMP_IF_EQUAL, 0, 1, SYN),
    (RETURN, 0, 0, NOTHING),
    (RETURN, 0, 0, ALL),
)


def turn_newcomers_away(listener: socket.socket) -> None:
    """Let no new connection begin, in any process that shares the socket; open ones go on.

    Raises:
        OSError: where the system does not offer that.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in NO_NEWCOMERS)
    code = ctypes.create_string_buffer(program)
    address = struct.pack("HL", len(NO_NEWCOMERS), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, address)


def is_held_by(pid: int, listener: socket.socket) -> bool:
    """True if a process has this very socket, or cannot be looked at."""
    inode = os.fstat(listener.fileno()).st_ino
    try:
        return any(inode_of(path) == inode for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return True


def inode_of(path: Path) -> int | None:
    """Of the file behind a descriptor; None if it was closed meanwhile."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PROBE = re.compile(rb"GET (/health/live|/health/ready|/metrics)[? ].*\r\n\r\n", re.DOTALL)
PROBE_BYTES = 4096  # at most, of what gets a thread of its own
PROBE_THREADS = 2

QUESTION = re.compile(rb"GET /model/progress/[^/ ?]+[? ].*\r\n\r\n", re.DOTALL)
QUESTION_THREADS = 2

EVENTS = re.compile(rb"GET /model/jobs/[^/ ?]+/events[? ]")
REFUSING_THREADS = 4
"""Beyond those that may watch: to tell others that there are too many."""

EARLY_ANSWERS = {
    "/health/live": (HTTPStatus.OK, LIVE),
    "/health/ready": (HTTPStatus.SERVICE_UNAVAILABLE, STARTING),
    "/metrics": (HTTPStatus.SERVICE_UNAVAILABLE, STARTING),
}
"""While there is no application."""

FIRST_BYTE_S = 5.0
"""How long a new connection may stay silent."""

HANDSHAKE_S = 0.1
"""For connections that were begun before newcomers were turned away."""

LINGER_S = 2.0
LINGER_BYTES = 64 * 1024 * 1024
"""Read and thrown away after the last answer: a caller who is still sending must not be
reset before the answer has been read."""

NOT_NOW = {errno.EAGAIN, errno.EWOULDBLOCK}
GONE = {errno.ECONNABORTED}


@dataclass(frozen=True)
class WorkerTimeouts:
    """How long a server process waits.

    Attributes:
        read_s: for a request, from its first byte.
        write_s: for a caller to take anything of an answer.
        drain_s: from the signal to stop until it does, not ready but still accepting.
    """

    read_s: float
    write_s: float
    drain_s: float


class ClientConnection(TConn):
    """A connection that can be closed twice, by a thread and by the main loop."""

    def close(self, graceful: bool = False) -> None:
        if self.sock.fileno() < 0:
            return
        if graceful:
            util.close_graceful(self.sock, timeout=LINGER_S, max_drain=LINGER_BYTES)
        else:
            util.close(self.sock)


class ServerWorker(ThreadWorker):
    """A server process.

    Attributes:
        patience: of all processes; set by `create_worker_class`.
        watchers: who may be sent events by one process; likewise.
        is_draining: true from the signal to stop.
    """

    patience: WorkerTimeouts
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
        self._probe_pool = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        self._question_pool = ThreadPoolExecutor(QUESTION_THREADS, thread_name_prefix="question")
        threads = self.watchers + REFUSING_THREADS
        self._event_pool = ThreadPoolExecutor(threads, thread_name_prefix="events")
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application in the background."""
        self.wsgi = self.answer
        threading.Thread(target=self._load, name="load", daemon=True).start()

    def _load(self) -> None:
        try:
            self._application = self.app.wsgi()
        except BaseException as error:  # it belongs to the main loop
            self._failure = error
        finally:
            self._loaded.set()

    def notify(self) -> None:
        """Called by the main loop every second; ends it if there is no application to serve."""
        super().notify()
        if self._failure is not None:
            self.booted = False  # tells Gunicorn that another process would fare no better
            raise self._failure

    def answer(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """The application; before it is there, probes are answered and all others wait."""
        if not self._loaded.is_set():
            if environ["PATH_INFO"] in EARLY_ANSWERS:
                return answer_early(environ["PATH_INFO"], start_response)
            self._loaded.wait()
        environ[DRAINING] = self.is_draining
        environ[MAY_BE_HELD] = environ[SOCKET].may_be_held
        start = partial(self._start_response, environ[SOCKET], start_response)
        body: Iterable[bytes] = self._application(environ, start)
        return body

    def _start_response(
        self,
        connection: CallerSocket,
        start_response: "StartResponse",
        status: str,
        *others: Any,
    ) -> Callable[[bytes], object]:
        """Say `Connection: close` where there will be no next request."""
        if self.is_draining or status.startswith(f"{HTTPStatus.REQUEST_TIMEOUT:d} "):
            connection.request.force_close()
        return start_response(status, *others)

    # Connections

    def accept(self, listener: Any) -> None:
        self._accept_one(listener)

    def _accept_one(self, listener: Any) -> bool:
        """Take a connection that waits; false if there is none."""
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in NOT_NOW | GONE:
                return error.errno in GONE
            raise
        self.nr_conns += 1
        connection = CallerSocket(
            accepted, read_timeout_s=self.patience.read_s, write_timeout_s=self.patience.write_s
        )
        self._await_request(ClientConnection(self.cfg, connection, address, listener.getsockname()))
        return True

    def _await_request(self, conn: ClientConnection) -> None:
        """Give it to a thread once there is something to read."""
        conn.timeout = time.monotonic() + FIRST_BYTE_S
        self.pending_conns.append(conn)
        callback = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, callback)

    def enqueue_req(self, conn: ClientConnection) -> None:
        pool = self._pool_for(conn.sock)
        conn.sock.may_be_held = pool is self._event_pool
        pool.submit(self.handle, conn).add_done_callback(partial(self._return, conn))

    def _pool_for(self, connection: CallerSocket) -> ThreadPoolExecutor:
        """The threads for what a caller asks."""
        if is_probe(connection):
            return self._probe_pool
        if is_question(connection):
            return self._question_pool
        pool: ThreadPoolExecutor = self._event_pool if is_watcher(connection) else self.tpool
        return pool

    def _return(self, conn: ClientConnection, done: "Future[Any]") -> None:
        self.method_queue.defer(self.finish_request, conn, done)

    def handle(self, conn: ClientConnection) -> Any:
        """Answer a request, in a thread; true if there may be another on its connection."""
        conn.sock.expect_request()
        stays_open = super().handle(conn)
        if not stays_open:
            conn.close(graceful=True)  # which may take seconds that the main loop has not
        return stays_open

    def handle_request(self, req: Any, conn: ClientConnection) -> Any:
        conn.sock.request = req
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: CallerSocket, addr: Any, exc: Exception) -> None:
        if not isinstance(exc, RequestTimeout):
            super().handle_error(req, client, addr, exc)
            return
        self.log.info("Request from %s came too slowly.", addr[0])
        with suppress(OSError):
            status = HTTPStatus.REQUEST_TIMEOUT
            util.write_error(client, status.value, status.phrase, str(exc))

    # The end

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Not be ready any more, and stop once that has got about."""
        if self.is_draining:
            return
        self.is_draining = True
        self._stop_background()
        stop = super().handle_exit
        if not self.patience.drain_s:
            stop(sig, frame)
            return
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, self.patience.drain_s)

    def is_parent_alive(self) -> bool:
        """Asked every second; when it is not, the process ends as if it was told to."""
        if super().is_parent_alive():
            return True
        self._stop_background()
        return False

    def _stop_background(self) -> None:
        """End what goes on without a request, and requests that would last for ever."""
        stop = getattr(self._application, "stop", None)
        if stop is not None:
            stop()

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self._stop_listening()

    def _stop_listening(self) -> None:
        """Take all connections that were made, then refuse others."""
        for listener in self.sockets:
            listener.setblocking(False)
            if not is_held_by(self.ppid, listener):  # else other processes go on listening
                with suppress(OSError):
                    turn_newcomers_away(listener)
                    time.sleep(HANDSHAKE_S)
            while self._accept_one(listener):
                pass
            listener.close()
        self.sockets = []


def create_worker_class(patience: WorkerTimeouts, *, watchers: int) -> type[ServerWorker]:
    """The class of server processes that wait so long.

    Args:
        patience: with callers.
        watchers: who may be sent events by one process.
    """
    return type("Worker", (ServerWorker,), {"patience": patience, "watchers": watchers})


def is_probe(connection: socket.socket) -> bool:
    """True for a request that is all there and that no other may hold up."""
    return PROBE.match(peek(connection)) is not None


def is_question(connection: socket.socket) -> bool:
    """True for a request, all there, of who waits for a picture and asks where it is."""
    return QUESTION.match(peek(connection)) is not None


def is_watcher(connection: socket.socket) -> bool:
    """True for a request, be it all there or not, whose answer is to last."""
    return EVENTS.match(peek(connection)) is not None


def peek(connection: socket.socket) -> bytes:
    """The beginning of what a caller has sent, which is still there to be read."""
    try:
        return connection.recv(PROBE_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""


def answer_early(path: str, start_response: "StartResponse") -> list[bytes]:
    status, content = EARLY_ANSWERS[path]
    body = json.dumps(content).encode() + b"\n"
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
