import os
import socket
import subprocess
import sys

import pytest

from api.server.worker import is_held_by, turn_newcomers_away


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_newcomers_are_turned_away_and_others_go_on(listener):
    with socket.create_connection(listener.getsockname()) as caller:
        turn_newcomers_away(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.2)
        accepted, _ = listener.accept()
        with accepted:
            caller.sendall(b"hello")
            assert accepted.recv(10) == b"hello"


def test_one_knows_who_holds_a_socket(listener):
    with socket.socket() as other:
        assert is_held_by(os.getpid(), listener)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with child:
            assert not is_held_by(child.pid, listener)
            assert not is_held_by(child.pid, other)
            child.communicate(b"\n")


def test_a_process_that_cannot_be_looked_at_may_hold_it(listener):
    assert is_held_by(2**30, listener)
