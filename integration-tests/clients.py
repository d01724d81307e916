"""Clients as the tests want them: a decent one, and one that breaks off without a word."""

import json
import socket
import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

import pytest
from serving import DEADLINE, Server
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def open_websocket(
    server: Server,
    path: str,
    *,
    subprotocols: Sequence[Subprotocol] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ClientConnection:
    """Connect a client of the websockets library; to be used in a ``with`` statement."""
    tcp = server.tcp()
    try:
        return connect(
            f"ws://127.0.0.1:{server.port}{path}",
            sock=tcp,
            subprotocols=subprotocols,
            additional_headers=headers,
            user_agent_header="tests",
            open_timeout=DEADLINE,
        )
    except BaseException:
        tcp.close()
        raise


def heard(client: ClientConnection) -> Any:
    """The next frame, read as JSON."""
    return json.loads(client.recv(timeout=DEADLINE))


def say(client: ClientConnection, content: object) -> None:
    client.send(json.dumps(content))


def closed_with(client: ClientConnection, *, timeout: float = DEADLINE) -> Close:
    """Wait for the server to close; what its close frame says."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:  # what was sent before the end comes first
            client.recv(timeout=timeout)
    assert closed.value.rcvd is not None, "the connection broke off: the client sees 1006"
    return closed.value.rcvd


def refusal(server: Server, path: str) -> Response:
    """Connect where the handshake is refused; the HTTP response to it."""
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(server, path)
    return refused.value.response


def reset_on_close(tcp: socket.socket) -> None:
    """Let the end of this connection be a TCP RST."""
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


class RawClient:
    """A WebSocket whose TCP connection can be treated badly. It answers nothing by itself."""

    def __init__(self, server: Server, path: str) -> None:
        self.tcp = server.tcp()
        self._protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{server.port}{path}"))
        self._protocol.send_request(self._protocol.connect())
        self._frames = deque[Frame]()
        self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.tcp.close()

    def wait_until_accepted(self) -> None:
        while self._protocol.state is State.CONNECTING:
            self._read()
        assert self._protocol.state is State.OPEN
        response, *frames = self._protocol.events_received()
        assert isinstance(response, Response)
        for frame in frames:  # some servers send both in one piece
            assert isinstance(frame, Frame)
            self._frames.append(frame)

    def frames(self) -> Iterator[Frame]:
        """What comes from the server, frame by frame."""
        while True:
            while self._frames:
                yield self._frames.popleft()
            for event in self._protocol.events_received():
                assert isinstance(event, Frame)
                self._frames.append(event)
            if not self._frames:
                self._read()

    def wait_for_ping(self) -> None:
        next(frame for frame in self.frames() if frame.opcode is Opcode.PING)

    def last_words(self) -> str:
        """Wait for the end, and answer it; the code of the server's close frame, or 1006."""
        try:
            close = next(frame for frame in self.frames() if frame.opcode is Opcode.CLOSE)
        except (AssertionError, ConnectionError):
            return "1006"
        self._write()
        return str(Close.parse(close.data).code)

    def send(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._write()

    def _read(self) -> None:
        data = self.tcp.recv(65536)
        assert data, "the server has closed the connection"
        self._protocol.receive_data(data)

    def _write(self) -> None:
        self.tcp.sendall(b"".join(self._protocol.data_to_send()))

    def send_close(self, code: int | None = None) -> None:
        """Send a close frame, one that says nothing unless a code is given."""
        self._protocol.send_close(code)
        self._write()

    def leave(self, code: int) -> None:
        """Send a close frame, and say that nothing more will be sent."""
        self.send_close(code)
        self.tcp.shutdown(socket.SHUT_WR)

    def finish_close(self) -> None:
        """Wait until the server has ended the connection, and end it, too."""
        while self.tcp.recv(65536):
            pass
        self.tcp.close()

    def reset(self) -> None:
        """Break the connection, with a TCP RST."""
        reset_on_close(self.tcp)
        self.tcp.close()

    def hang_up(self) -> None:
        """End the connection as the death of a process does: by a FIN, without a close frame."""
        self.tcp.close()
