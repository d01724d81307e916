"""The same consumers, unchanged, on every ASGI server: what clients see, and how it all ends."""

import hashlib
import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from clients import RawClient, closed_with, heard, open_websocket, refusal, say
from serving import (
    COMMANDS,
    Server,
    one_disconnect,
    one_logged_error,
    open_stream,
    running,
    with_nothing_to_say,
)
from websockets.typing import Subprotocol

APP = "bare:application"


@pytest.fixture(scope="module", params=COMMANDS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def shared(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(name, APP, tmp_path_factory.mktemp(name)) as server:
        yield server
        server.stop()
        assert server.new_output() == ""
        times = Counter(report["id"] for report in server.reports.find("disconnect"))
        assert [client for client, count in times.items() if count != 1] == []


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """A server that has nothing to complain of; what the library logs, the test has to expect."""
    yield from with_nothing_to_say(shared)


# What clients see.


def test_frames_come_back_as_they_are(server: Server) -> None:
    with open_websocket(server, "/echo") as client:
        for frame in (
            "plain",
            "Gr\u00fc\u00dfe \U0001f389",
            b"\x00\xff",
            "long " * 40_000,
            b"x" * 200_000,
        ):
            client.send(frame)
            assert client.recv(timeout=20) == frame


def test_scope_has_the_whole_handshake(server: Server, name: str) -> None:
    with open_websocket(
        server,
        "/described?room=a%20b&n=1",
        subprotocols=[Subprotocol("chat.v1"), Subprotocol("chat.v2")],
        headers={"Cookie": 'session=abc; theme="dark"', "X-Test": "yes"},
    ) as client:
        seen = heard(client)
        assert client.subprotocol == "chat.v2"
        response = client.response
    assert seen == {
        "type": "websocket",
        "path": "/described",
        "query": {"room": "a b", "n": "1"},
        "path_params": {},
        "subprotocols": ["chat.v1", "chat.v2"],
        "cookies": {"session": "abc", "theme": "dark"},
        "headers": {"x-test": "yes", "user-agent": "tests"},
    }
    if name not in ("daphne", "granian"):  # which ignore the headers of an accept
        assert response is not None
        assert response.headers["X-Served-By"] == "described"


def test_rooms_are_groups(server: Server) -> None:
    with (
        open_websocket(server, "/chat/lobby?name=Ada") as ada,
        open_websocket(server, "/chat/attic?name=Eve") as eve,
    ):
        assert [heard(ada), heard(ada)] == [{"welcome": "Ada", "room": "lobby"}, {"joined": "Ada"}]
        assert [heard(eve), heard(eve)] == [{"welcome": "Eve", "room": "attic"}, {"joined": "Eve"}]
        with open_websocket(server, "/chat/lobby?name=Bob") as bob:
            assert heard(bob) == {"welcome": "Bob", "room": "lobby"}
            assert heard(bob) == heard(ada) == {"joined": "Bob"}

            say(bob, {"say": "hello"})
            assert heard(bob) == heard(ada) == {"name": "Bob", "said": "hello"}
            say(ada, {"shout": "hello, too"})
            assert heard(bob) == heard(ada) == {"shout": "hello, too", "name": "Ada"}

            say(bob, {"leave": True})
            assert heard(bob) == {"left": "room.lobby"}
            say(ada, {"say": "who left?"})
            assert heard(ada) == {"name": "Ada", "said": "who left?"}
            say(bob, "still connected")
            assert heard(bob) == {"echo": "still connected"}
        assert heard(ada) == {"parted": "Bob"}
        # Nothing of all this came into the other room.
        say(eve, [1, None])
        assert heard(eve) == {"echo": [1, None]}


def test_http_request_reaches_websockets(server: Server) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(open_websocket(server, f"/ending?id=reached{number}"))
            for number in range(3)
        ]
        for number, client in enumerate(clients):
            client.send(f"ready {number}")
            assert client.recv(timeout=20) == f"ready {number}"
        server.control(send="endings", message={"type": "chatter", "text": "by a handler"})
        server.control(send="endings", message={"type": "websocket.send", "text": "without one"})
        server.control(
            send="endings", message={"type": "websocket.send", "bytes": None, "text": "x"}
        )
        for client in clients:
            assert client.recv(timeout=20) == "by a handler"
            assert client.recv(timeout=20) == "without one"
            assert client.recv(timeout=20) == "x"


def test_client_that_reads_late_gets_everything_in_order(server: Server) -> None:
    """Frames that a handler sends and frames without one, while the server has to wait."""
    count = 60
    with RawClient(server, "/ending?id=slow") as client:
        client.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.wait_until_accepted()
        for number in range(count):
            event = {"type": ("chatter", "websocket.send")[number % 2]}
            text = f"{number} {'x' * 200_000}"
            server.control(send="endings", message={**event, "text": text})
        frames = client.frames()
        numbers = [int(bytes(next(frames).data[:3]).split()[0]) for _ in range(count)]
    assert numbers == list(range(count))
    assert one_disconnect(server, "slow") in LOST


def as_sent(name: str, code: int, reason: str) -> tuple[int, str]:
    """What arrives of a close code and its reason."""
    if name != "daphne":
        return code, reason
    # daphne has no reasons, and of the codes below 3000 only 1000; 1011 is its own answer to an
    # exception.
    return code if code in (1000, 1011) or code >= 3000 else code + 3000, ""


CLOSED_BY_SERVER = {
    "close": (1000, "as you wish"),
    "close 4001": (4001, "as you wish"),
    "close 1001": (1001, "as you wish"),
    "close_true": (1000, ""),
    "last": (1000, ""),
    "closed_by_layer": (4009, "by the layer"),
    "close_soon": (4005, ""),
}


@pytest.mark.parametrize("command", CLOSED_BY_SERVER)
def test_client_sees_the_code_of_close(server: Server, name: str, command: str) -> None:
    code, reason = CLOSED_BY_SERVER[command]
    client_id = command.replace(" ", "-")
    with open_websocket(server, f"/ending?id={client_id}") as client:
        client.send(command)
        closed = closed_with(client)
    assert (closed.code, closed.reason) == as_sent(name, code, reason)
    assert one_disconnect(server, client_id) == code


def test_closed_from_outside_while_the_client_is_silent(server: Server) -> None:
    with open_websocket(server, "/ending?id=kicked") as client:
        client.send("ready")
        assert client.recv(timeout=20) == "ready"
        event = {"type": "websocket.close", "code": 4010}
        server.control(send="endings", message=event)
        assert closed_with(client).code == 4010
    assert one_disconnect(server, "kicked") == 4010


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        ("not JSON", 1007, "expected a text frame of JSON, got one that is not"),
        (b"{}", 1003, "expected a text frame of JSON, got a binary frame"),
    ],
)
def test_frames_that_are_not_json(
    server: Server, name: str, frame: str | bytes, code: int, reason: str
) -> None:
    with open_websocket(server, f"/chat/json?name={code}") as client:
        client.send(frame)
        closed = closed_with(client)
    assert (closed.code, closed.reason) == as_sent(name, code, reason)
    assert server.reports.wait_for("disconnect", id=str(code))[0]["code"] == code


def test_denied_by_raising(server: Server) -> None:
    assert refusal(server, "/ending?id=deny&connect=deny").status_code == 403
    assert one_disconnect(server, "deny") == 1000


def test_accepted_by_raising(server: Server) -> None:
    with open_websocket(server, "/ending?id=by-raising&connect=accept+by+raising") as client:
        client.send("hello")
        assert client.recv(timeout=20) == "hello"


# Errors of the application.


def test_exception_after_accept_is_1011(server: Server, name: str) -> None:
    with open_websocket(server, "/ending?id=accepted&connect=accept+and+raise") as client:
        closed = closed_with(client)
    assert (closed.code, closed.reason) == as_sent(name, 1011, "internal error")
    if name == "daphne":
        assert "raised again so that the server closes" in server.new_output()
    assert one_disconnect(server, "accepted") == 1011
    one_logged_error(server, "LookupError('in connect')")


def test_unknown_event_is_logged_and_the_connection_lives(server: Server) -> None:
    with open_websocket(server, "/ending?id=unknown") as client:
        client.send("unknown_event")
        # The first of these may be in front of the event.
        for frame in ("still here", "and here"):
            client.send(frame)
            assert client.recv(timeout=20) == frame
    log, *more = server.reports.new_logs(expected=1)
    assert more == []
    assert "'nobody.knows'" in log["text"]
    assert one_disconnect(server, "unknown") in (1000, 1006)


# Clients that leave.


def code_of_client(name: str, code: int) -> int:
    return 1006 if name == "hypercorn" else code  # which does not look at it


LOST = (1005, 1006)
"""What the servers make of a connection that ends without a close frame."""


@pytest.mark.parametrize("code", [1000, 1001])
def test_client_closes(server: Server, name: str, code: int) -> None:
    with open_websocket(server, f"/ending?id=client-{code}") as client:
        client.close(code, "bye")
    assert one_disconnect(server, f"client-{code}") == code_of_client(name, code)


def test_client_vanishes_before_it_is_accepted(server: Server, name: str) -> None:
    with RawClient(server, "/ending?id=early&connect=busy") as client:
        server.reports.wait_for("busy", id="early")
        client.reset()
    server.control(release="early")
    assert one_disconnect(server, "early") in LOST
    if name == "uvicorn-websockets":  # which expects an answer to a client that has gone
        server.control()
        said = server.new_output()
        assert said in ("", "ERROR:    ASGI callable returned without sending handshake.\n")


@pytest.mark.parametrize("says_goodbye", [True, False])
@pytest.mark.parametrize("waiting", [1, 3])
def test_handler_is_busy_when_the_client_leaves(
    server: Server, says_goodbye: bool, waiting: int
) -> None:
    """It may finish; what it sends then is dropped, and what waits behind it is not an error."""
    client_id = f"busy-{says_goodbye}-{waiting}"
    with RawClient(server, f"/ending?id={client_id}") as client:
        client.wait_until_accepted()
        client.send("busy")
        server.reports.wait_for("busy", id=client_id)
        for _ in range(waiting):
            client.send("waits behind it")
        server.control()  # an RST would discard what is not read by then
        if says_goodbye:
            client.send_close()
        else:
            client.reset()
        server.control(release=client_id)
        if says_goodbye:
            client.finish_close()
    assert one_disconnect(server, client_id) in LOST


def test_handler_raises_after_the_client_has_left(server: Server) -> None:
    with RawClient(server, "/ending?id=late") as client:
        client.wait_until_accepted()
        client.send("raise_when_left")
        server.reports.wait_for("busy", id="late")
        client.reset()
    server.control(release="late")
    assert one_disconnect(server, "late") in (*LOST, 1011)
    one_logged_error(server, "LookupError('after the client has left')")


def test_sockets_that_close_themselves_in_group_traffic(server: Server) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(open_websocket(server, f"/ending?id=crowd-{number}"))
            for number in range(40)
        ]
        for kind, client in enumerate(clients):
            client.send("close_soon")
            event = {"type": ("chatter", "websocket.send")[kind % 2], "text": "much talk"}
            server.control(send="endings", message=event, times=20)
        for client in clients:
            assert closed_with(client).code == 4005
    for number in range(40):
        assert one_disconnect(server, f"crowd-{number}") == 4005


# Servers that end.


def test_handler_is_busy_when_the_server_loses_patience(tmp_path: Path) -> None:
    options = ("--timeout-graceful-shutdown", "1")
    with (
        running("uvicorn-sansio", APP, tmp_path, *options) as server,
        RawClient(server, "/ending?id=busy") as client,
    ):
        client.wait_until_accepted()
        client.send("busy")
        server.reports.wait_for("busy", id="busy")
        server.stop()
        assert len(server.reports.wait_for("cancelled", id="busy")) == 1
        assert one_disconnect(server, "busy") in (1006, 1012)
        assert server.reports.new_logs() == []


def test_wrong_configuration_is_told_to_the_server(tmp_path: Path) -> None:
    with running("uvicorn-sansio", APP, tmp_path) as server:
        assert refusal(server, "/misconfigured").status_code == 500
        server.stop()
        assert (
            "InvalidChannelLayerError: no channel layer is registered as 'no-such-layer' "
            "(registered: 'default')"
        ) in server.output()


# HTTP.


def test_request_and_response(server: Server) -> None:
    for size in (0, 1, 300_000):
        body = b"x" * size
        response, answer = server.request("PUT", "/mirror?id=m", body, {"Cookie": "a=1"})
        assert response.status == 201
        assert response.headers["content-type"] == "application/json"
        assert json.loads(answer) == {
            "method": "PUT",
            "size": size,
            "sha256": hashlib.sha256(body).hexdigest(),
            "cookies": {"a": "1"},
        }
    server.reports.wait_for("http disconnect", id="m", count=3)


def test_stream_goes_on_by_events_of_the_layer(server: Server) -> None:
    http, response = open_stream(server, "stream")
    for text in ("one", "two"):
        server.control(send="stream", message={"type": "stream.part", "text": text})
        assert (response.readline(), response.readline()) == (f"data: {text}\n".encode(), b"\n")
    server.control(send="stream", message={"type": "stream.end"})
    assert response.read() == b"data: end\n\n"
    http.close()
    assert len(server.reports.wait_for("http disconnect", id="stream")) == 1


def test_client_leaves_a_stream(server: Server) -> None:
    http, response = open_stream(server, "left")
    response.close()
    http.close()
    (report,) = server.reports.wait_for("http disconnect", id="left")
    assert report["times"] == 1
    server.control(send="left", message={"type": "stream.part", "text": "nobody reads this"})


def test_exception_before_the_headers_is_500(server: Server) -> None:
    response, body = server.request("GET", "/faulty?id=faulty")
    assert (response.status, body) == (500, b"Internal Server Error")
    server.reports.wait_for("http disconnect", id="faulty")
    one_logged_error(server, "LookupError('before the headers')")


def test_exception_in_a_stream_ends_it(server: Server) -> None:
    http, response = open_stream(server, "fault")
    server.control(send="fault", message={"type": "stream.fault"})
    assert response.read() == b""
    http.close()
    (report,) = server.reports.wait_for("http disconnect", id="fault")
    assert report["times"] == 1
    one_logged_error(server, "LookupError('in the middle of a stream')")
