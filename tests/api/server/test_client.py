import socket

from api.server.connection import SOCKET, watch_client


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
