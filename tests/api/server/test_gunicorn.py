"""Checks of what `api.server.worker` relies on in gunicorn, which documents none of it."""

import inspect
import socket

import gunicorn
import pytest
from gunicorn import util
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.message import Request
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

HINT = f"gunicorn {gunicorn.__version__} is not what api/server/worker.py relies on"

PARAMETERS = [
    (ThreadWorker, "accept", "self listener"),
    (ThreadWorker, "enqueue_req", "self conn"),
    (ThreadWorker, "finish_request", "self conn fs"),
    (ThreadWorker, "handle", "self conn"),
    (ThreadWorker, "handle_error", "self req client addr exc"),
    (ThreadWorker, "handle_exit", "self sig frame"),
    (ThreadWorker, "handle_request", "self req conn"),
    (ThreadWorker, "init_process", "self"),
    (ThreadWorker, "is_parent_alive", "self"),
    (ThreadWorker, "load_wsgi", "self"),
    (ThreadWorker, "notify", "self"),
    (ThreadWorker, "on_pending_socket_readable", "self conn client"),
    (ThreadWorker, "set_accept_enabled", "self enabled"),
    (PollableMethodQueue, "defer", "self callback args"),
    (TConn, "__init__", "self cfg sock client server"),
    (TConn, "close", "self graceful"),
    (Request, "force_close", "self"),
    (BaseApplication, "wsgi", "self"),
    (Logger, "access", "self resp req environ request_time"),
    (util, "close", "sock"),
    (util, "close_graceful", "sock timeout max_drain"),
    (util, "write_error", "sock status_int reason mesg"),
]

WORKER_ATTRIBUTES = {
    *("alive", "app", "booted", "cfg", "log", "method_queue", "nr_conns"),
    *("pending_conns", "poller", "ppid", "sockets", "tpool"),
}

CONNECTION_ATTRIBUTES = {"sock", "timeout"}


@pytest.mark.parametrize(("owner", "name", "expected"), PARAMETERS)
def test_gunicorn_has_the_function_with_these_parameters(owner, name, expected):
    function = getattr(owner, name, None)
    parameters = "" if function is None else " ".join(inspect.signature(function).parameters)
    assert parameters == expected, f"{HINT}: {owner.__name__}.{name}"


def test_a_worker_of_gunicorn_has_these_attributes():
    config = Config()
    worker = ThreadWorker(1, 1, [], object(), 30, config, Logger(config))
    missing = {name for name in WORKER_ATTRIBUTES if not hasattr(worker, name)}
    worker.tmp.close()
    assert not missing, HINT


def test_a_connection_of_gunicorn_has_these_attributes():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = TConn(Config(), ours, "client", "server")
        missing = {name for name in CONNECTION_ATTRIBUTES if not hasattr(connection, name)}
    assert not missing, HINT
