"""The chat as a program: its address, a taken port, and its end."""

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

if TYPE_CHECKING:
    from conftest import Demo


def chat(demo: "Demo", path: str, origin: str | None = None) -> ClientConnection:
    # With a socket of our own no proxy of the environment gets between.
    tcp = socket.create_connection(("127.0.0.1", demo.port))
    return connect(
        f"ws://127.0.0.1:{demo.port}{path}", sock=tcp, origin=Origin(origin) if origin else None
    )


def heard(connection: ClientConnection) -> str:
    """Wait for the next frame and return its type."""
    event: dict[str, str] = json.loads(connection.recv(timeout=30))
    return event["type"]


def test_address_is_printed_once_it_answers(start_demo: "Callable[..., Demo]") -> None:
    demo = start_demo()
    assert demo.greeting == f"Chat is at http://127.0.0.1:{demo.port} (Ctrl+C ends it)\n"
    with closing(HTTPConnection("127.0.0.1", demo.port, timeout=30)) as http:
        http.request("GET", "/rooms/any%20room")
        response = http.getresponse()
        assert response.status == 200
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_closes_open_sockets_and_ends_quietly(
    start_demo: "Callable[..., Demo]", number: int
) -> None:
    demo = start_demo()
    with closing(HTTPConnection("127.0.0.1", demo.port, timeout=30)) as http:
        http.request("GET", "/ready")
        assert http.getresponse().status == 200
    with chat(demo, "/ws/rooms/lobby?name=Ada") as ada, chat(demo, "/ws/system") as system:
        assert heard(ada) == "welcome"
        assert heard(system) == "rooms"
        assert demo.stop(number) == (0, "Stopped.\n")
        for connection in (ada, system):
            with pytest.raises(ConnectionClosed) as closed:
                while True:  # what was sent before the end comes first
                    connection.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012  # service restart
            assert 0 <= json.loads(closed.value.rcvd.reason)["retry_after"] <= 2


def test_taken_port_is_explained(start_demo: "Callable[..., Demo]") -> None:
    demo = start_demo()
    command = [*demo.command, str(demo.port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr == (
        f"Port {demo.port} on 127.0.0.1 is taken by another program. "
        "Choose another port with --port, for example --port 8081, or --port 0 for any.\n"
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/ws/rooms/%21?name=Ada", "A room name has 1 to 40 letters"),
        ("/ws/rooms/a%2Fb?name=Ada", "A room name has 1 to 40 letters"),
        (f"/ws/rooms/{'x' * 41}?name=Ada", "A room name has 1 to 40 letters"),
        ("/ws/rooms/lobby", "Your name needs 1 to 32 characters; this one has 0"),
        (f"/ws/rooms/lobby?name={'x' * 33}", "Your name needs 1 to 32 characters"),
    ],
)
def test_refused_member_is_told_why(
    start_demo: "Callable[..., Demo]", path: str, reason: str
) -> None:
    with chat(start_demo(), path) as connection:
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400
        assert closed.value.rcvd.reason.startswith(reason)


def test_page_of_another_site_is_refused(start_demo: "Callable[..., Demo]") -> None:
    demo = start_demo()
    for path in ("/ws/system", "/ws/rooms/lobby?name=Ada"):
        with chat(demo, path, origin=demo.url) as ours:
            assert heard(ours) in ("welcome", "rooms")
        theirs = pytest.raises(InvalidStatus, match="HTTP 403")
        with theirs, chat(demo, path, origin="http://other.example"):
            pass


@pytest.mark.parametrize(
    "frame",
    [
        '"hello"',
        "{}",
        '{"type": "message", "text": "no ref"}',
        '{"type": "message", "text": " ", "ref": "1"}',
        '{"type": "message", "text": "%s", "ref": "1"}' % ("x" * 2001),
        '{"type": "rename", "name": "%s"}' % ("x" * 33),
        '{"type": "member.joined", "member": {"id": "1", "name": "nobody"}}',
    ],
)
def test_bad_frame_gets_an_error_and_the_connection_goes_on(
    start_demo: "Callable[..., Demo]", frame: str
) -> None:
    with chat(start_demo(), "/ws/rooms/lobby?name=Ada") as connection:
        assert heard(connection) == "welcome"
        connection.send(frame)
        assert heard(connection) == "error"
        connection.send('{"type": "message", "text": "still here", "ref": "2"}')
        assert heard(connection) == "message"
