"""Limits on every server: what the client sees, what the application gets, and a clean log."""

import itertools
import json
from collections.abc import Iterator

import pytest
from clients import RawClient, closed_with, heard, open_websocket, refusal
from serving import COMMANDS, DEADLINE, Server, running_quietly
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

APP = "limited:application"

_ids = map(str, itertools.count())


@pytest.fixture(scope="module", params=COMMANDS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def shared(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_quietly(name, APP, tmp_path_factory.mktemp(name)) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """A server that has nothing to complain of; the library warns of limits, and nothing else."""
    yield shared
    shared.control()
    assert shared.new_output() == ""
    assert [log for log in shared.reports.new_logs() if "(limit." not in log["text"]] == []


both = pytest.mark.parametrize("kind", ["consumer", "middleware"])


def sent_as(name: str, code: int) -> int:
    return code + 3000 if name == "daphne" else code


def disconnected(server: Server, client: str, code: int | None = None) -> None:
    """Wait until the application has heard of the end, once; ``code`` if the server ended it."""
    server.reports.wait_for("disconnect", id=client)
    server.control()  # a second one would have come by now
    (report,) = server.reports.find("disconnect", id=client)
    assert code is None or report["code"] == code


@both
@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        ("x" * 1001, 1009, "a frame is too large: the limit is 1000 bytes"),
        ("\u20ac" * 334, 1009, "a frame is too large: the limit is 1000 bytes"),
        (b"x" * 200_000, 1009, "a frame is too large: the limit is 1000 bytes"),
        ('[[[["]"]]]]', 1008, "JSON is nested too deeply: the limit is 3 levels"),
    ],
)
def test_an_oversize_frame_closes(
    server: Server, name: str, kind: str, frame: str | bytes, code: int, reason: str
) -> None:
    client_id = next(_ids)
    with open_websocket(server, f"/{kind}/sizes?id={client_id}") as client:
        for harmless in ("x" * 1000, '[[["[[[["]]]', b"\x00" * 1000):
            client.send(harmless)
            assert client.recv(timeout=DEADLINE) == harmless
        client.send(frame)
        closed = closed_with(client)
    assert closed.code == sent_as(name, code)
    assert closed.reason == ("" if name == "daphne" else reason)
    disconnected(server, client_id, code)
    if kind == "middleware":
        server.reports.wait_for("gone", id=client_id)


@both
def test_an_oversize_frame_is_reported(server: Server, kind: str) -> None:
    client_id = next(_ids)
    with open_websocket(server, f"/{kind}/sizes-report?id={client_id}") as client:
        client.send("x" * 1001)
        report = heard(client)
        assert (report["type"], report["error"], report["dropped"]) == (
            "error",
            "limit.frame_bytes",
            1,
        )
        client.send("still here")
        assert client.recv(timeout=DEADLINE) == "still here"
    disconnected(server, client_id)


def flood(client: ClientConnection, frames: int) -> None:
    try:
        for number in range(frames):
            client.send(str(number))
    except ConnectionClosed:
        pass


@both
def test_too_many_frames_close(server: Server, name: str, kind: str) -> None:
    client_id = next(_ids)
    with open_websocket(server, f"/{kind}/close?id={client_id}") as client:
        flood(client, 100)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                client.recv(timeout=DEADLINE)
        # granian ends the TCP connection with frames unread, so a reset may overtake its close.
        if name != "granian" or closed.value.rcvd is not None:
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == sent_as(name, 1008)
    disconnected(server, client_id, 1008)


@both
def test_too_many_frames_wait_for_their_turn(server: Server, kind: str) -> None:
    client_id = next(_ids)
    with open_websocket(server, f"/{kind}/delay?id={client_id}") as client:
        before = server.control().get("limit.rate", 0)
        flood(client, 25)
        assert [client.recv(timeout=DEADLINE) for _ in range(25)] == list(map(str, range(25)))
        assert server.control()["limit.rate"] > before
    disconnected(server, client_id)


@both
def test_too_many_frames_are_reported(server: Server, kind: str) -> None:
    client_id = next(_ids)
    with open_websocket(server, f"/{kind}/report?id={client_id}") as client:
        before = server.control().get("limit.rate", 0)
        flood(client, 40)
        answers = [json.loads(client.recv(timeout=DEADLINE)) for _ in range(15)]
        reports = [answer for answer in answers if not isinstance(answer, int)]
        assert {report["error"] for report in reports} == {"limit.rate"}
        assert server.control()["limit.rate"] >= before + sum(
            report["dropped"] for report in reports
        )
        # The socket lives, as soon as the client has kept to its rate for a while.
        answer: object = None
        while answer != "alive":
            try:
                answer = json.loads(client.recv(timeout=0.2))
            except TimeoutError:
                client.send('"alive"')
    disconnected(server, client_id)


def test_an_abuser_that_never_reads_is_closed_as_well(server: Server) -> None:
    client_id = next(_ids)
    with RawClient(server, f"/consumer/close?id={client_id}") as client:
        client.wait_until_accepted()
        try:
            for _ in range(1000):
                client.send("x" * 1000)
        except OSError:
            pass
        disconnected(server, client_id, 1008)


def test_a_frame_that_does_not_wait_for_the_handshake(server: Server, name: str) -> None:
    """Some servers drop it, some hand it over before the application has accepted."""
    if name == "hypercorn":
        pytest.skip("hypercorn then neither answers nor notices the end of the connection")
    client_id = next(_ids)
    with RawClient(server, f"/consumer/sizes?id={client_id}") as client:
        # A final text frame of 2000 bytes, masked with zeros, right behind the request.
        client.tcp.sendall(b"\x81\xfe" + (2000).to_bytes(2) + bytes(4) + b"x" * 2000)
        assert client.tcp.recv(65536)
    disconnected(server, client_id)


def test_a_channel_joins_no_more_groups_than_it_may(server: Server) -> None:
    client_id = next(_ids)
    with open_websocket(server, f"/consumer/groups?id={client_id}") as client:
        for group, answer in (("+a", "+a"), ("+b", "+b"), ("+c", "at most 2"), ("+a", "+a")):
            client.send(group)
            assert client.recv(timeout=DEADLINE) == answer
    disconnected(server, client_id)


def test_a_client_has_no_more_connections_than_it_may(server: Server, name: str) -> None:
    path = f"/connections?client={next(_ids)}&id="
    first_id, second_id = next(_ids), next(_ids)
    with open_websocket(server, path + first_id) as first:
        with open_websocket(server, path + second_id) as second:
            for client in (first, second):
                client.send("hello")
                assert client.recv(timeout=DEADLINE) == "hello"
            response = refusal(server, path + next(_ids))
            if name == "daphne":  # which has no denial responses
                assert response.status_code == 403
            else:
                assert response.status_code == 429
                assert response.body == b"Too many connections."
        disconnected(server, second_id)
        with open_websocket(server, path + second_id) as second:
            second.send("hello")
            assert second.recv(timeout=DEADLINE) == "hello"
    disconnected(server, first_id)
