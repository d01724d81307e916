"""One command at a time, blocking: what the tests ask a server beside the code under test."""

import socket
from typing import Any, BinaryIO, Final

ENCODING: Final = "utf-8", "surrogateescape"
TIMEOUT: Final = 10
"""Seconds. Only a server that hangs ever takes that long."""

Argument = str | bytes | int | float


class ServerError(Exception):
    """An error that a server replied with."""


def call(
    address: tuple[str, int],
    *command: Argument,
    password: str | None = None,
    timeout: float = TIMEOUT,
) -> Any:
    """The reply to a command, on a connection of its own; bulk strings are decoded."""
    commands = [command]
    if password is not None:
        commands.insert(0, ("AUTH", password))
    with socket.create_connection(address, timeout) as connection:
        connection.sendall(b"".join(_encode(*each) for each in commands))
        with connection.makefile("rb") as stream:
            replies = [_read(stream) for _ in commands]
    for reply in replies:
        if isinstance(reply, ServerError):
            raise reply
    return replies[-1]


def _encode(*command: Argument) -> bytes:
    parts = [f"*{len(command)}\r\n".encode()]
    for argument in command:
        data = argument if isinstance(argument, bytes) else str(argument).encode(*ENCODING)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _read(stream: BinaryIO) -> Any:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the server closed the connection")
    kind, text = line[:1], line[1:-2].decode(*ENCODING)
    if kind == b"-":
        return ServerError(text)
    if kind == b":":
        return int(text)
    if kind == b"+":
        return text
    if int(text) < 0:
        return None
    if kind == b"*":
        return [_read(stream) for _ in range(int(text))]
    data = stream.read(int(text) + 2)
    if len(data) != int(text) + 2:
        raise ConnectionResetError("the server closed the connection")
    return data[:-2].decode(*ENCODING)
