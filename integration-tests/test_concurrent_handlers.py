"""Handlers beside each other and in threads, with real clients on real servers."""

import itertools
from collections.abc import Iterator

import pytest
from clients import RawClient, closed_with, heard, open_websocket, say
from serving import Report, Server, running_quietly, with_nothing_to_say

APP = "concurrent_handlers:application"


@pytest.fixture(scope="module", params=["uvicorn-websockets", "hypercorn"])
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


marks = itertools.count()


def so_far(server: Server, what: str, **details: object) -> list[Report]:
    """All such reports until now, also those that are still on their way."""
    mark = next(marks)
    server.control(mark=mark)
    server.reports.wait_for("mark", number=mark)
    return server.reports.find(what, **details)


def test_ten_handlers_run_at_the_same_time(server: Server) -> None:
    with open_websocket(server, "/concurrent?id=ten") as client:
        for _ in range(3):
            for _ in range(10):
                say(client, {"do": "meet"})
            # Nobody passes a barrier for ten until the tenth has come.
            assert [heard(client) for _ in range(10)] == ["met"] * 10


def test_no_more_than_the_limit_run(server: Server) -> None:
    with open_websocket(server, "/concurrent?id=limit") as client:
        for number in range(25):
            say(client, {"do": "wait", "gate": f"limit{number}"})
        server.reports.wait_for("begun", id="limit", count=10)
        for number in range(25):
            server.control(open=[f"limit{number}"])
            assert heard(client) == "done"
            # One ended, so one more began, as long as there are any.
            expected = min(25, 11 + number)
            server.reports.wait_for("begun", id="limit", count=expected)
            assert len(so_far(server, "begun", id="limit")) == expected


def test_the_order_of_a_key_is_kept(server: Server) -> None:
    keys, numbers = "abcd", range(5)
    names = [f"{key}{number}" for number in numbers for key in keys]
    with open_websocket(server, "/concurrent?id=keys") as client:
        messages = [{"type": "job", "key": name[0], "number": int(name[1])} for name in names]
        server.control(group="keys", messages=messages)
        server.reports.wait_for("begun", id="keys", count=4)
        # What comes later is released first, and has to wait nevertheless.
        for name in reversed(names):
            server.control(open=[name])
        done = [heard(client) for _ in names]
        begun = [report["gate"] for report in so_far(server, "begun", id="keys")]
    for order in (done, begun):
        for key in keys:
            mine = [name for name in order if name[0] == key]
            assert mine == [f"{key}{number}" for number in numbers]


@pytest.mark.parametrize("how", ["reset", "close"])
def test_all_are_cancelled_when_the_client_leaves(server: Server, how: str) -> None:
    with RawClient(server, f"/concurrent?id={how}") as client:
        client.wait_until_accepted()
        for _ in range(12):
            client.send('{"do": "wait", "gate": "never"}')
        server.reports.wait_for("begun", id=how, count=10)
        if how == "reset":
            client.reset()
        else:
            client.send_close()
            client.finish_close()
    server.reports.wait_for("disconnect", id=how)
    assert len(so_far(server, "cancelled", id=how)) == 10
    assert len(so_far(server, "begun", id=how)) == 10
    assert len(so_far(server, "disconnect", id=how)) == 1


def test_a_handler_closes_its_own_connection(server: Server) -> None:
    with open_websocket(server, "/concurrent?id=closes") as client:
        for _ in range(5):
            say(client, {"do": "wait", "gate": "never"})
        server.reports.wait_for("begun", id="closes", count=5)
        say(client, {"do": "close"})
        assert closed_with(client).code == 4000
    server.reports.wait_for("disconnect", id="closes", code=4000)
    assert len(so_far(server, "cancelled", id="closes")) == 5


def test_a_handler_in_a_thread_blocks_nobody_else(server: Server) -> None:
    with (
        open_websocket(server, "/threaded?id=slow") as slow,
        open_websocket(server, "/threaded?id=quick") as quick,
    ):
        say(slow, "thread")
        say(slow, "second")
        server.reports.wait_for("begun", id="slow")
        # The request is served while the handler blocks its thread.
        server.control(open=["quick", "second"])
        say(quick, "quick")
        assert heard(quick) == "quick"
        assert len(so_far(server, "begun", id="slow")) == 1
        server.control(open=["thread"])
        assert [heard(slow), heard(slow)] == ["thread", "second"]


def test_the_disconnect_hook_waits_for_a_thread(server: Server) -> None:
    with RawClient(server, "/threaded?id=left") as client:
        client.wait_until_accepted()
        client.send('"left"')
        server.reports.wait_for("begun", id="left")
        client.reset()
    assert so_far(server, "disconnect", id="left") == []
    server.control(open=["left"])
    server.reports.wait_for("disconnect", id="left")
    assert len(so_far(server, "returned", id="left")) == 1
