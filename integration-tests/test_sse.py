"""Event streams on every server: groups, leaving, coming back, errors, and clients that do not
read. Responses with a length that is wrong are here, too."""

from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from typing import Self

import pytest
from clients import reset_on_close
from serving import (
    Server,
    one_disconnect,
    one_logged_error,
    running_quietly,
    with_nothing_to_say,
)

APP = "event_streams:application"

SERVERS = {
    "uvicorn-httptools": ("uvicorn-sansio", "--http", "httptools"),
    "uvicorn-h11": ("uvicorn-sansio", "--http", "h11"),
    "hypercorn": ("hypercorn",),
    "daphne": ("daphne",),
    "granian": ("granian",),
}


@pytest.fixture(scope="module", params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def shared(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server_name, *options = SERVERS[name]
    folder = tmp_path_factory.mktemp(name)
    with running_quietly(server_name, APP, folder, *options) as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """A server that has nothing to complain of; what the library logs, the test has to expect."""
    yield from with_nothing_to_say(shared)


class Reader:
    """A client of a stream, up to the blank line that ends each event."""

    def __init__(
        self,
        server: Server,
        client: str,
        *,
        last_event_id: str | None = None,
        connect: str = "",
        path: str = "/news",
    ) -> None:
        self.http = HTTPConnection("127.0.0.1", server.port)
        self.http.sock = server.tcp()
        # As browsers do: http.client would make Latin-1 of it.
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id.encode()}
        self.http.request("GET", f"{path}?id={client}&connect={connect}", headers=headers)
        self.response = self.http.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self.http.close()

    def event(self) -> str:
        """The next event, as it is written."""
        lines: list[bytes] = []
        while (line := self.response.readline()) != b"\n":
            assert line.endswith(b"\n"), f"the stream ended: {lines} {line!r}"
            lines.append(line)
        return b"".join(lines).decode()


def follow(
    server: Server, client: str, *, last_event_id: str | None = None, path: str = "/news"
) -> Reader:
    """A reader that has been greeted."""
    reader = Reader(server, client, last_event_id=last_event_id, path=path)
    assert reader.response.status == 200
    headers = reader.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert reader.event() == "event: greeting\nretry: 50\ndata: hello\n"
    return reader


def publish(server: Server, item: str, *, live: bool = True) -> int:
    """The item's number."""
    _, body = server.request("POST", "/publish", {"item": item, "live": live})
    return int(body)


def only_logged(server: Server, text: str) -> None:
    """Up to the last report. How often is a matter of time: once a second at most."""
    assert all(text in log["text"] for log in server.reports.new_logs())


def test_two_of_a_group_until_one_leaves(server: Server) -> None:
    with follow(server, "ada") as ada:
        with follow(server, "bob") as bob:
            number = publish(server, "one\ntwo")
            for reader in (ada, bob):
                assert reader.event() == f"id: n\u00b0 {number}\ndata: one\ndata: two\n"
        one_disconnect(server, "bob")
        number = publish(server, "three")
        assert ada.event() == f"id: n\u00b0 {number}\ndata: three\n"
        server.control(send="news", message={"type": "sse.event", "data": "four", "event": "e"})
        assert ada.event() == "event: e\ndata: four\n"
    one_disconnect(server, "ada")


def test_a_client_that_comes_back_gets_what_it_missed(server: Server) -> None:
    with follow(server, "before") as reader:
        number = publish(server, "seen")
        assert reader.event() == f"id: n\u00b0 {number}\ndata: seen\n"
    one_disconnect(server, "before")
    publish(server, "missed", live=False)
    with follow(server, "after", last_event_id=f"n\u00b0 {number}") as reader:
        assert reader.event() == f"id: n\u00b0 {number + 1}\ndata: missed\n"
        publish(server, "live")
        assert reader.event() == f"id: n\u00b0 {number + 2}\ndata: live\n"
    one_disconnect(server, "after")
    assert [report["last_event_id"] for report in server.reports.find("connect", id="after")] == [
        f"n\u00b0 {number}"
    ]


def test_the_stream_is_closed(server: Server) -> None:
    with follow(server, "closed") as reader:
        server.control(send="closed", message={"type": "news.close"})
        assert reader.response.read() == b""
        one_disconnect(server, "closed")


def test_an_exception_before_the_stream_is_500(server: Server) -> None:
    with Reader(server, "before", connect="raise") as reader:
        assert (reader.response.status, reader.response.read()) == (500, b"Internal Server Error")
    one_logged_error(server, "LookupError('in connect')")


def test_an_exception_in_connect_ends_the_stream(server: Server) -> None:
    with Reader(server, "begun", connect="send+and+raise") as reader:
        assert reader.event().endswith("\ndata: begun\n")
        assert reader.response.read() == b""
    one_disconnect(server, "begun")
    one_logged_error(server, "LookupError('in the stream')")


def test_an_exception_in_a_handler_ends_the_stream(server: Server) -> None:
    with follow(server, "fault") as reader:
        server.control(send="fault", message={"type": "news.fault"})
        assert reader.response.read() == b""
    one_disconnect(server, "fault")
    one_logged_error(server, "LookupError('in the stream')")


@pytest.mark.parametrize(
    ("connect", "status", "body"),
    [("no+more", 204, b""), ("forbidden", 403, b"not for you")],
)
def test_a_response_instead_of_a_stream(
    server: Server, connect: str, status: int, body: bytes
) -> None:
    with Reader(server, f"got-{status}", connect=connect) as reader:
        assert (reader.response.status, reader.response.read()) == (status, body)
    one_disconnect(server, f"got-{status}")


def test_other_methods(server: Server) -> None:
    response, body = server.request("HEAD", "/news?id=head")
    assert (response.status, body) == (200, b"")
    assert response.headers["content-type"] == "text/event-stream"
    response, body = server.request("POST", "/news?id=post", b"x" * 100)
    assert (response.status, body) == (405, b"")
    assert response.headers["allow"] == "GET, HEAD"
    assert server.reports.find("connect", id="head") == []


# Clients that do not read.


def test_a_client_that_does_not_read_leaves(server: Server, name: str) -> None:
    """The event that it holds up is given up, as are those behind it."""
    with follow(server, "stuck") as reader:
        flood = {"type": "news.flood", "size": 5_000_000}
        server.control(send="stuck", message=flood, times=20)
        server.reports.wait_for("flooding", id="stuck")
        server.control()
        if name != "daphne":  # which holds up nobody and buffers
            assert len(server.reports.find("flooded", id="stuck")) < 20
        assert server.reports.find("disconnect", id="stuck") == []
        reset_on_close(reader.http.sock)
    one_disconnect(server, "stuck")


def test_a_client_that_does_not_read_costs_what_its_channel_holds(
    server: Server, name: str
) -> None:
    if name == "daphne":
        pytest.skip("daphne buffers without limit")
    with follow(server, "slow") as slow, follow(server, "quick") as quick:
        flood = {"type": "news.flood", "size": 5_000_000}
        server.control(send="slow", message=flood, times=20)
        server.reports.wait_for("flooding", id="slow")
        before = server.control().get("event.full", 0)
        for number in range(300):
            server.control(send="news", message={"type": "sse.event", "data": str(number)})
            assert quick.event() == f"data: {number}\n"
        assert server.control()["event.full"] >= before + 200
        reset_on_close(slow.http.sock)
    for client in ("slow", "quick"):
        one_disconnect(server, client)
    only_logged(server, "is full or closed and missed a message to 'news'")


def test_a_client_that_does_not_read_is_left(server: Server, name: str) -> None:
    """With ``overflow = "close"``; by its own leaving here, it lets the server go, too."""
    if name == "daphne":
        pytest.skip("daphne buffers without limit")
    with follow(server, "left", path="/strict") as reader:
        flood = {"type": "news.flood", "size": 5_000_000}
        server.control(send="left", message=flood, times=20)
        server.reports.wait_for("flooding", id="left")
        server.control(send="left", message={"type": "sse.event", "data": "x"}, times=120)
        one_disconnect(server, "left")
        reset_on_close(reader.http.sock)
    only_logged(server, "is full or closed and missed a message to 'left'")


# Responses that are not what they were announced to be.


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("length=9&parts=2&end=raise", "LookupError('after the headers')"),
        ("length=9&parts=2", "ValueError('the body is 1 bytes shorter than its content-length"),
        ("length=9&parts=3", "ValueError('the body is 3 bytes longer than its content-length"),
    ],
)
def test_a_response_that_is_too_short_is_broken_off(
    server: Server, name: str, query: str, error: str
) -> None:
    if name == "daphne":
        pytest.skip("daphne keeps the connection open; its client waits for the rest")
    with pytest.raises(IncompleteRead) as broken:
        server.request("GET", f"/page?id=broken&{query}")
    assert broken.value.partial == b"partpart"
    (log,) = server.reports.new_logs(expected=1)
    assert log["error"].startswith(error)
    if name.startswith("uvicorn"):
        server.control()
        assert (
            server.new_output() == "ERROR:    ASGI callable returned without completing response.\n"
        )


@pytest.mark.parametrize("query", ["length=9&parts=3", "length=0&parts=0&status=204"])
def test_a_response_without_a_body_leaves_the_connection_usable(server: Server, query: str) -> None:
    http = server.open_http()
    for _ in range(2):
        http.request("HEAD", f"/page?id=head&{query}")
        response = http.getresponse()
        assert (response.read(), response.will_close) == (b"", False)
    http.close()
