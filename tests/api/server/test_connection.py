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
    """Our end of a connection, and the caller's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    ours = ClientSocket(accepted, read_timeout_s=TIMEOUT_S, write_timeout_s=TIMEOUT_S)
    with caller, ours:
        yield ours, caller


def test_what_comes_is_read(pair):
    ours, caller = pair
    ours.start_read_timeout()
    caller.sendall(b"request")
    assert ours.recv(100) == b"request"


def test_a_request_that_trickles_runs_out_of_time(pair):
    ours, caller = pair
    stop = threading.Event()

    def trickle():
        while not stop.wait(TIMEOUT_S / 8):
            caller.sendall(b".")

    thread = threading.Thread(target=trickle)
    thread.start()
    ours.start_read_timeout()
    read = 0
    with pytest.raises(RequestTimeout, match=r"within 0\.2 s"):
        while read < 100:
            read += len(ours.recv(1))
    stop.set()
    thread.join()
    assert read > 0


def test_a_large_request_may_take_longer_if_it_keeps_its_rate(pair):
    ours, caller = pair
    ours.start_read_timeout()
    extend_read_timeout({SOCKET: ours}, 100.0)
    for _ in range(3):
        caller.sendall(bytes(20))  # for which there are 0.2 s more
        assert len(ours.recv(20)) == 20
        time.sleep(0.7 * TIMEOUT_S)
    started = time.monotonic()
    with pytest.raises(RequestTimeout, match=r"within 0\.2 s and at 100 bytes a second or more"):
        ours.recv(20)
    assert time.monotonic() - started < 0.6  # the rest of 0.8 s in all


def test_elsewhere_there_is_no_rate_to_accept():
    extend_read_timeout({}, 100.0)


def test_what_is_there_already_is_read_even_late(pair):
    ours, caller = pair
    caller.sendall(b"all")
    ours.start_read_timeout()
    time.sleep(1.5 * TIMEOUT_S)
    assert ours.recv(100) == b"all"


def test_before_a_request_is_expected_there_is_no_limit(pair):
    ours, caller = pair
    timer = threading.Timer(2 * TIMEOUT_S, caller.sendall, [b"late"])
    timer.start()
    assert ours.recv(100) == b"late"
    timer.join()


def test_looking_does_not_wait(pair):
    ours, _ = pair
    with pytest.raises(BlockingIOError):
        ours.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)


def test_a_caller_who_takes_nothing_is_left(pair):
    ours, caller = pair
    started = time.monotonic()
    with pytest.raises(BrokenPipeError):
        ours.sendall(bytes(50_000_000))
    assert TIMEOUT_S <= time.monotonic() - started < 20 * TIMEOUT_S
    ours.close()
    with pytest.raises(ConnectionResetError):
        while caller.recv(1_000_000):
            pass


def test_a_caller_who_takes_little_at_a_time_gets_everything(pair):
    ours, caller = pair
    content = bytes(range(256)) * 40_000
    taken = bytearray()

    def take():
        while len(taken) < len(content):
            taken.extend(caller.recv(400_000))
            time.sleep(TIMEOUT_S / 4)

    thread = threading.Thread(target=take)
    thread.start()
    ours.sendall(content)
    thread.join()
    assert taken == content


def test_a_caller_who_hangs_up_is_noticed():
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


def test_where_there_is_no_connection_to_see_nobody_is_gone():
    assert not watch_client({})()
