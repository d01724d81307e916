"""WebSocket clients as plain sockets: many of them, cheap, and strict about what they get."""

import json
import select
import socket
import sys
import time
from collections.abc import Sequence

_HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_PATIENCE = 30.0
"""Seconds after which messages that are under way count as lost."""
_PAUSE = 0.001


def descriptors() -> int:
    """How many files a process may have open; servers started from here inherit it."""
    import resource  # Not on Windows.

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return sys.maxsize if most == resource.RLIM_INFINITY else most


def connect(
    port: int, path: str = "/", *, receive_buffer: int | None = None, source: str | None = None
) -> socket.socket:
    """An open WebSocket: the handshake is done.

    ``receive_buffer``: bytes, for slow clients. ``source``: the client's own address.
    """
    connection = socket.socket()
    connection.settimeout(_PATIENCE)
    if receive_buffer is not None:
        # Before connecting, or the system would promise the server more than that.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source is not None:
        connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_HANDSHAKE % path.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        part = connection.recv(4096)
        if not part:
            raise ConnectionError(f"the server closed the connection after {answer!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(f"expected a WebSocket, got {answer!r}")
    return connection


def text_frame(text: bytes) -> bytes:
    """A client's frame of 126 to 65535 bytes (RFC 6455, 5.2); masked with zeros."""
    if not 126 <= len(text) <= 0xFFFF:
        raise ValueError(f"expected 126 to 65535 bytes of text, got {len(text)}")
    return b"\x81\xfe" + len(text).to_bytes(2) + bytes(4) + text


class Member:
    """A client that must get the messages 0, 1, 2, … complete and in order."""

    def __init__(self, port: int, path: str = "/") -> None:
        self.connection = connect(port, path)
        self.received = 0
        self._rest = b""

    def read(self) -> None:
        data = self._rest + self.connection.recv(1 << 18)
        if len(data) == len(self._rest):
            raise ConnectionError(
                f"the server closed the connection after {self.received} messages"
            )
        start = 0
        while len(data) - start >= 4:
            length, header = data[start + 1], 2
            if length == 126:
                length, header = int.from_bytes(data[start + 2 : start + 4]), 4
            end = start + header + length
            if len(data) < end:
                break
            self._check(data[start + header : end])
            start = end
        self._rest = data[start:]

    def _check(self, text: bytes) -> None:
        number = json.loads(text)["number"]
        if number != self.received:
            raise AssertionError(f"expected message {self.received}, got {number}")
        self.received += 1


class Room:
    """Members of one room; some of them also send."""

    def __init__(self, port: int, members: int, publishers: int) -> None:
        self._members = [Member(port) for _ in range(members)]
        self._by_descriptor = {each.connection.fileno(): each for each in self._members}
        self._publishers: Sequence[Member] = self._members[:publishers]
        self._poll = select.poll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.POLLIN)
        self._sent = 0

    def publish(self, messages: int, window: int) -> None:
        """Send messages, at most ``window`` at a time, and wait until every member has them."""
        last = self._sent + messages
        while self._sent < last:
            # One of the senders for each window: between two there would be no order to check.
            publisher = self._publishers[self._sent // window % len(self._publishers)]
            ready = min(window, last - self._sent)
            publisher.connection.sendall(
                b"".join(map(_message, range(self._sent, self._sent + ready)))
            )
            self._sent += ready
            self._drain()

    def close(self) -> None:
        for member in self._members:
            member.connection.close()

    def _drain(self) -> None:
        behind = sum(member.received < self._sent for member in self._members)
        deadline = time.monotonic() + _PATIENCE
        while behind:
            # Clients elsewhere would cost the server no wake-up when it writes to them, so nobody
            # waits in poll() here.
            time.sleep(_PAUSE)
            for descriptor, _ in self._poll.poll(0):
                member = self._by_descriptor[descriptor]
                member.read()
                behind -= member.received == self._sent
            if time.monotonic() > deadline:
                raise TimeoutError(f"{behind} members miss messages of the first {self._sent}")


def _message(number: int) -> bytes:
    content = {
        "number": number,
        "room": "general",
        "user": "ada",
        "text": "The quick brown fox jumps over the lazy dog, and then takes a rather long rest.",
    }
    return text_frame(json.dumps(content, separators=(",", ":")).encode())
