"""The end of listening, at which no connection may be lost.

Between the last look for waiting connections and the close of the listening socket, a
caller can still connect, and would be cut off. So the first packet of a connection is
thrown away before: its sender tries again in a second, and is then refused.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path

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
