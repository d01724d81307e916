"""Clients that fall silent on every ASGI server: only those that are gone are given up."""

import socket
from collections.abc import Iterator

import pytest
from clients import RawClient
from serving import COMMANDS, Server, one_disconnect, running_quietly, with_nothing_to_say
from websockets.frames import Close, Frame, Opcode

APP = "heartbeats:application"
HEARTBEAT = '{"type":"heartbeat"}'


@pytest.fixture(scope="module", params=COMMANDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    name: str = request.param
    with running_quietly(name, APP, tmp_path_factory.mktemp(name)) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """A server that has nothing to complain of, nor has the library."""
    yield from with_nothing_to_say(shared)


def next_frame(client: RawClient) -> Frame:
    """The next one that is no ping."""
    return next(frame for frame in client.frames() if frame.opcode is not Opcode.PING)


def heard(client: RawClient) -> str:
    frame = next_frame(client)
    assert frame.opcode is Opcode.TEXT
    return bytes(frame.data).decode()


def test_client_that_answers_lives_on(server: Server) -> None:
    with RawClient(server, "/patient?id=answers") as client:
        client.wait_until_accepted()
        for _ in range(4):
            # It would not be asked again, had it not been heard.
            assert heard(client) == HEARTBEAT
            client.send(HEARTBEAT)
        client.send("anything")
        assert heard(client) == "anything"
        assert heard(client) == HEARTBEAT
        client.send("close 4001")
        assert next_frame(client).opcode is Opcode.CLOSE
    assert one_disconnect(server, "answers") == 4001


def test_client_that_does_not_answer_is_gone(server: Server) -> None:
    before = server.control().get("client.silent", 0)
    with RawClient(server, "/strict?id=silent") as client:
        client.wait_until_accepted()
        assert heard(client) == HEARTBEAT
        assert one_disconnect(server, "silent") == 1006
        # It was there, after all, and can know why it is not any more.
        closed = next_frame(client)
        assert closed.opcode is Opcode.CLOSE
        assert Close.parse(bytes(closed.data)).code == 3008
    assert server.control()["client.silent"] == before + 1


def test_client_that_takes_nothing_holds_no_handler(server: Server) -> None:
    """What is sent to it fills all buffers, and then the handler waits."""
    with RawClient(server, "/strict?id=stuck") as client:
        client.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.wait_until_accepted()
        text = "x" * 1_000_000
        server.control(send="endings", message={"type": "chatter", "text": text}, times=50)
        assert one_disconnect(server, "stuck") == 1006
