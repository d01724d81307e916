"""Server-sent events: the life of a stream, and what clients may send."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncSSEConsumer
from fast_channels.draining import drain
from fast_channels.exceptions import (
    AcceptConnection,
    ConnectionStateError,
    DenyConnection,
    InvalidChannelLayerError,
    StopConsumer,
)
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, Serve

Counted = Callable[[], dict[str, int]]

START: Event = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}


def body(data: bytes, *, more: bool = True) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": more}


class News(AsyncSSEConsumer):
    """Does in ``connect`` what it was made with; logs what it was called with."""

    channel_layer_alias = "default"
    groups = ["news"]

    def __init__(self, log: list[Any], connect: Callable[["News"], Any] | None = None) -> None:
        self.log, self.do = log, connect

    async def connect(self, last_event_id: str | None) -> None:
        self.log.append(last_event_id)
        if self.do is not None:
            await self.do(self)

    async def news_item(self, event: Event) -> None:
        await self.send_event(event["text"])

    async def news_end(self, event: Event) -> None:
        await self.close()
        await self.close()

    async def fail(self, event: Event) -> None:
        raise LookupError("in the stream")

    async def disconnect(self) -> None:
        self.log.append("disconnect")
        await self.send_event("too late")


pytestmark = pytest.mark.usefixtures("default_layer")


@pytest.fixture
def log() -> list[Any]:
    return []


def ask(
    serve: "Serve",
    log: list[Any],
    connect: Callable[[News], Any] | None = None,
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    app: type[News] = News,
    **scope: Any,
) -> "Client":
    scope = {"type": "http", "method": "GET", "headers": headers or []} | scope
    client = serve(app.as_asgi(log=log, connect=connect), **scope)
    client.give({"type": "http.request"})
    return client


async def opened(client: "Client") -> "Client":
    assert await client.next() == START
    assert await client.next() == body(b"")
    return client


def raising(error: Exception) -> Callable[[News], Any]:
    async def connect(consumer: News) -> None:
        raise error

    return connect


async def forbid(news: News) -> None:
    await news.reject(403, b"no")


# The life of a stream.


async def test_events_of_a_group_until_the_client_leaves(
    serve: "Serve", log: list[Any], default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    ada, bob = await opened(ask(serve, log)), await opened(ask(serve, log))
    await default_layer.group_send("news", {"type": "news.item", "text": "one"})
    for client in (ada, bob):
        assert await client.next() == body(b"data: one\n\n")
    ada.give({"type": "http.disconnect"})
    assert await ada.ended() == []
    assert log == [None, None, "disconnect"]
    assert counted() == {"send.after_close": 1}
    await default_layer.group_send("news", {"type": "news.item", "text": "two"})
    assert await bob.next() == body(b"data: two\n\n")


async def test_events_that_arrive_meanwhile_come_after_what_was_missed(
    serve: "Serve", log: list[Any], default_layer: InMemoryChannelLayer
) -> None:
    async def connect(news: News) -> None:
        await default_layer.group_send("news", {"type": "news.item", "text": "live"})
        await news.send_event("missed", id="1")

    client = await opened(ask(serve, log, connect))
    assert await client.next() == body(b"id: 1\ndata: missed\n\n")
    assert await client.next() == body(b"data: live\n\n")


@pytest.mark.parametrize(
    ("headers", "last_event_id"),
    [
        ([], None),
        ([(b"last-event-id", b"")], None),
        ([(b"last-event-id", b"7")], "7"),
        (
            [(b"accept", b"*/*"), (b"last-event-id", "n\u00b0 7 \u2713".encode())],
            "n\u00b0 7 \u2713",
        ),
        ([(b"last-event-id", b"\xff7")], None),
    ],
)
async def test_the_last_event_id_that_a_client_sends(
    serve: "Serve", log: list[Any], headers: list[tuple[bytes, bytes]], last_event_id: str | None
) -> None:
    await opened(ask(serve, log, headers=headers))
    assert log == [last_event_id]


async def test_the_stream_has_further_headers(serve: "Serve", log: list[Any]) -> None:
    async def connect(news: News) -> None:
        await news.accept([(b"x", b"1"), (b"x", b"2")])
        with pytest.raises(ConnectionStateError, match="the headers were sent already"):
            await news.accept()
        with pytest.raises(ConnectionStateError, match=r"the stream has begun: use close\(\)"):
            await news.reject()

    start = await ask(serve, log, connect).next()
    assert start == {**START, "headers": [*START["headers"], (b"x", b"1"), (b"x", b"2")]}


@pytest.mark.parametrize(
    ("connect", "status", "answer"),
    [
        (News.reject, 204, b""),
        (forbid, 403, b"no"),
        (raising(DenyConnection()), 403, b""),
        (raising(LookupError()), 500, b"Internal Server Error"),
        (raising(StopConsumer()), 500, b"Internal Server Error"),
    ],
)
async def test_a_response_instead_of_a_stream(
    serve: "Serve", log: list[Any], connect: Callable[[News], Any], status: int, answer: bytes
) -> None:
    start, end = await ask(serve, log, connect).ended()
    assert (start["status"], end) == (status, body(answer, more=False))
    assert log == [None, "disconnect"]


async def test_accepted_by_raising(serve: "Serve", log: list[Any]) -> None:
    await opened(ask(serve, log, raising(AcceptConnection())))


async def test_closed_by_a_handler(
    serve: "Serve", log: list[Any], default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    client = await opened(ask(serve, log))
    await default_layer.group_send("news", {"type": "news.end"})
    assert await client.ended() == [body(b"", more=False)]
    assert log == [None, "disconnect"]
    assert counted() == {"send.after_close": 1}


async def test_closed_before_it_began(serve: "Serve", log: list[Any]) -> None:
    events = await ask(serve, log, News.close).ended()
    assert events == [START, body(b""), body(b"", more=False)]


async def test_an_error_ends_the_stream(
    serve: "Serve",
    log: list[Any],
    default_layer: InMemoryChannelLayer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = await opened(ask(serve, log))
    await default_layer.group_send("news", {"type": "fail"})
    assert await client.ended() == [body(b"", more=False)]
    assert log == [None, "disconnect"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_without_connect_and_without_a_layer(serve: "Serve") -> None:
    client = serve(AsyncSSEConsumer, type="http", method="GET")
    client.give({"type": "http.request"})
    await opened(client)
    client.give({"type": "http.disconnect"})
    assert await client.ended() == []


async def test_a_request_in_parts_is_one_request(serve: "Serve", log: list[Any]) -> None:
    client = ask(serve, log)
    client.give({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request"})
    await opened(client)
    client.give({"type": "http.disconnect"})
    assert await client.ended() == []
    assert log == [None, "disconnect"]


async def test_groups_need_a_layer(serve: "Serve") -> None:
    class Lost(AsyncSSEConsumer):
        groups = ["news"]

    client = serve(Lost, type="http", method="GET")
    with pytest.raises(InvalidChannelLayerError, match=r"so groups = \['news'\] cannot be used"):
        await client.ended()


class Strict(News):
    overflow = "close"


async def test_a_client_that_does_not_read_is_left_when_too_much_waits_for_it(
    serve: "Serve", log: list[Any], default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    """The stream ends although the server still holds up the handler, and holds up the end, too."""
    held, reads = asyncio.Event(), asyncio.Event()

    async def send(event: Event) -> None:
        if b"held" in event.get("body", b""):
            held.set()
        if held.is_set():
            await reads.wait()
        await client.sent(event)

    client = ask(serve, log, app=Strict, send=send)
    await opened(client)
    await default_layer.group_send("news", {"type": "news.item", "text": "held"})
    await held.wait()
    for _ in range(default_layer.get_capacity("") + 1):
        await default_layer.group_send("news", {"type": "news.item", "text": "more"})
    while len(log) < 2:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    assert log == [None, "disconnect"]
    assert counted() == {"event.full": 1, "send.after_close": 2}
    reads.set()
    assert await client.ended() == [body(b"", more=False)]


async def test_a_handler_that_sends_on_is_not_held_up_again(
    serve: "Serve", log: list[Any], default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    held = asyncio.Event()

    async def send(event: Event) -> None:
        if event.get("body"):
            held.set()
            await asyncio.Event().wait()
        await client.sent(event)

    async def connect(news: News) -> None:
        for _ in range(3):
            await news.send_event("x")
        news.log.append("sent")

    client = ask(serve, log, connect, app=Strict, send=send)
    await held.wait()
    for _ in range(default_layer.get_capacity("") + 1):
        await default_layer.group_send("news", {"type": "news.item", "text": "more"})
    assert await client.ended() == [START, body(b""), body(b"", more=False)]
    assert log == [None, "sent", "disconnect"]
    assert counted() == {"event.full": 1, "send.after_close": 4}


# Streams of a process that is to end.


@pytest.mark.parametrize("requested", [True, False])
async def test_a_drain_tells_the_client_when_to_come_back(
    serve: "Serve", log: list[Any], settle: Callable[[], Awaitable[None]], requested: bool
) -> None:
    """Also one whose request the server has not given yet: it would not come back after a 503."""
    client = serve(News.as_asgi(log=log), type="http", method="GET")
    if requested:
        client.give({"type": "http.request"})
        await opened(client)
        await drain(jitter=7)
    else:
        await settle()
        await drain(jitter=7)
        await opened(client)
    hint, end = await client.ended()
    seconds = int(hint["body"].removeprefix(b"retry: ").removesuffix(b"\n\n")) / 1000
    assert 0 <= seconds <= 7
    assert end == body(b"", more=False)
    assert log[-1] == "disconnect"


@pytest.mark.parametrize(
    ("method", "accept", "status"),
    [("GET", b"text/event-stream", 200), ("GET", b"*/*", 503), ("POST", b"text/event-stream", 503)],
)
async def test_after_that_an_event_source_is_told_to_come_back_again(
    serve: "Serve", log: list[Any], method: str, accept: bytes, status: int
) -> None:
    await drain(jitter=0)
    start, end = await ask(serve, log, method=method, headers=[(b"accept", accept)]).ended()
    assert start["status"] == status
    assert status == 503 or (start, end["body"]) == (START, b"retry: 1000\n\n")
    assert log == []


# Events without a handler.


async def test_a_broadcast_reaches_every_stream(
    serve: "Serve", log: list[Any], default_layer: InMemoryChannelLayer
) -> None:
    ada = await opened(ask(serve, log))
    bob = await opened(
        ask(serve, log, lambda news: news.broadcast_event("news", json=[1], event="e", id="7"))
    )
    for client in (ada, bob):
        assert await client.next() == body(b"id: 7\nevent: e\ndata: [1]\n\n")
    await default_layer.group_send("news", {"type": "sse.event", "data": "by\nhand", "retry": 5})
    for client in (ada, bob):
        assert await client.next() == body(b"retry: 5\ndata: by\ndata: hand\n\n")


@pytest.mark.parametrize(
    "message", [{}, {"data": 1}, {"data": "x", "id": "a\n"}, {"data": "x", "retry": "1"}]
)
async def test_a_message_that_is_no_event_is_counted(
    serve: "Serve",
    log: list[Any],
    default_layer: InMemoryChannelLayer,
    counted: Counted,
    message: dict[str, Any],
) -> None:
    client = await opened(ask(serve, log))
    await default_layer.group_send("news", {"type": "sse.event", **message})
    await default_layer.group_send("news", {"type": "sse.event", "data": "good"})
    assert await client.next() == body(b"data: good\n\n")
    assert counted() == {"event.unhandled": 1}


# Other requests.


async def test_head_gets_the_headers_alone(serve: "Serve", log: list[Any]) -> None:
    events = await ask(serve, log, method="HEAD").ended()
    assert events == [START, {"type": "http.response.body", "body": b""}]
    assert log == []


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "get"])
async def test_other_methods_are_not_allowed(serve: "Serve", log: list[Any], method: str) -> None:
    start, end = await ask(serve, log, method=method).ended()
    assert (start["status"], end) == (405, {"type": "http.response.body", "body": b""})
    assert (b"allow", b"GET, HEAD") in start["headers"]
    assert log == []


async def test_a_websocket_is_refused(serve: "Serve", log: list[Any]) -> None:
    client = ask(serve, log, type="websocket")
    with pytest.raises(ValueError, match="News was called for a scope of type 'websocket'"):
        await client.ended()
