import socket
import threading
import time

import pytest

from api.server.connection import (
    SOCKET,
    ClientSocket,
    RequestTimeout,
    extend_read_timeout,
    watch_client,
)

TIMEOUT_S = 0.2


@pytest.fixture
def pair():
    """The server's end of a connection, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    server = ClientSocket(accepted, read_timeout_s=TIMEOUT_S, write_timeout_s=TIMEOUT_S)
    with client, server:
        yield server, client


def test_received_bytes_are_read(pair):
    server, client = pair
    server.start_read_timeout()
    client.sendall(b"request")
    assert server.recv(100) == b"request"


def test_a_slow_request_times_out(pair):
    server, client = pair
    stop = threading.Event()

    def trickle():
        while not stop.wait(TIMEOUT_S / 8):
            client.sendall(b".")

    thread = threading.Thread(target=trickle)
    thread.start()
    server.start_read_timeout()
    read = 0
    with pytest.raises(RequestTimeout, match=r"within 0\.2 s"):
        while read < 100:
            read += len(server.recv(1))
    stop.set()
    thread.join()
    assert read > 0


def test_a_large_request_may_take_longer_at_the_required_rate(pair):
    server, client = pair
    server.start_read_timeout()
    extend_read_timeout({SOCKET: server}, 100.0)
    for _ in range(3):
        client.sendall(bytes(20))  # for which there are 0.2 s more
        assert len(server.recv(20)) == 20
        time.sleep(0.7 * TIMEOUT_S)
    started = time.monotonic()
    with pytest.raises(RequestTimeout, match=r"within 0\.2 s and at 100 bytes a second or more"):
        server.recv(20)
    assert time.monotonic() - started < 0.6  # the rest of 0.8 s in all


def test_without_gunicorn_there_is_no_read_timeout_to_extend():
    extend_read_timeout({}, 100.0)


def test_bytes_that_have_arrived_are_read_after_the_timeout(pair):
    server, client = pair
    client.sendall(b"all")
    server.start_read_timeout()
    time.sleep(1.5 * TIMEOUT_S)
    assert server.recv(100) == b"all"


def test_there_is_no_read_timeout_before_it_is_started(pair):
    server, client = pair
    timer = threading.Timer(2 * TIMEOUT_S, client.sendall, [b"late"])
    timer.start()
    assert server.recv(100) == b"late"
    timer.join()


def test_peeking_does_not_wait(pair):
    server, _ = pair
    with pytest.raises(BlockingIOError):
        server.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)


def test_a_client_that_receives_nothing_is_disconnected(pair):
    server, client = pair
    started = time.monotonic()
    with pytest.raises(BrokenPipeError):
        server.sendall(bytes(50_000_000))
    assert TIMEOUT_S <= time.monotonic() - started < 20 * TIMEOUT_S
    server.close()
    with pytest.raises(ConnectionResetError):
        while client.recv(1_000_000):
            pass


def test_a_slow_client_receives_everything(pair):
    server, client = pair
    content = bytes(range(256)) * 40_000
    taken = bytearray()

    def take():
        while len(taken) < len(content):
            taken.extend(client.recv(400_000))
            time.sleep(TIMEOUT_S / 4)

    thread = threading.Thread(target=take)
    thread.start()
    server.sendall(content)
    thread.join()
    assert taken == content


def test_a_client_that_hangs_up_is_noticed():
    server, client = socket.socketpair()
    is_gone = watch_client({SOCKET: server})
    assert not is_gone()
    client.send(b"one more byte")
    assert not is_gone()
    assert server.recv(100) == b"one more byte"  # looking takes nothing away
    client.close()
    assert is_gone()
    server.close()
    assert is_gone()


def test_without_a_connection_no_client_counts_as_gone():
    assert not watch_client({})()
