"""Server-sent events as `HttpCommunicator` receives them."""

import asyncio

import pytest

from fast_channels.consumer import AsyncSSEConsumer
from fast_channels.layers import BaseChannelLayer
from fast_channels.types import ASGIApp, Receive, Scope, Send
from fast_channels_testing import (
    ApplicationEnded,
    CommunicatorTimeout,
    HttpCommunicator,
    ServerSentEvent,
    UnexpectedFrame,
)

EVENT_STREAM = ((b"Content-Type", b"text/event-stream; charset=utf-8"),)


def streams(
    *chunks: bytes,
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = EVENT_STREAM,
    ends: bool = True,
) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if ends:
            await send({"type": "http.response.body", "body": b""})
        else:
            await receive()

    return app


async def events_of(*chunks: bytes) -> list[ServerSentEvent]:
    async with HttpCommunicator(streams(*chunks), "GET", "/") as client:
        return [event async for event in client.iter_events()]


E = ServerSentEvent


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [E("a")]),
        (b"data:a\n\ndata:  b\n\n", [E("a"), E(" b")]),
        (b"data: 1\ndata\ndata: 3\n\n", [E("1\n\n3")]),
        (b"event: news\nid: 7\ndata: a\n\ndata: b\n\n", [E("a", "news", "7"), E("b", id="7")]),
        (b"id: 7\n\ndata: a\n\nid\ndata: b\n\n", [E("a", id="7"), E("b")]),
        (b"id: 1\ndata: a\n\nid: a\0b\ndata: b\n\n", [E("a", id="1"), E("b", id="1")]),
        (b"event: lost\n\ndata: a\n\n", [E("a")]),
        (b": comment\ndata: a\nunknown: x\n\n:\n\n", [E("a")]),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", [E("a"), E("b"), E("c")]),
        (b"data: 1\r\ndata: 2\r\n\r\ndata: 3\rdata: 4\r\r", [E("1\n2"), E("3\n4")]),
        (b"\xef\xbb\xbfdata: \xc3\xa9\xef\xbb\xbf\xff\n\n", [E("é\ufeff\ufffd")]),
        (b"data: a\n\ndata: never ended\n", [E("a")]),
        (b"data: a\x0bb\xe2\x80\xa8c\n\n", [E("a\x0bb\u2028c")]),
    ],
)
async def test_the_format(stream: bytes, events: list[ServerSentEvent]) -> None:
    assert await events_of(stream) == events
    # Wherever it is cut.
    assert await events_of(*(stream[i : i + 1] for i in range(len(stream)))) == events


async def test_events_one_by_one_and_json() -> None:
    app = streams(
        b'retry: 100\ndata: {"a": 1}\n\nretry: 1x\ndata: 2\n\nretry: 5\nretry: \xc2\xb2\n\n'
    )
    async with HttpCommunicator(app, "GET", "/") as client:
        assert client.reconnection_time is None
        assert (await client.receive_event()).json() == {"a": 1}
        assert (await client.receive_event()).json() == 2
        with pytest.raises(ApplicationEnded, match="a server-sent event cannot come any more"):
            await client.receive_event()
        assert client.reconnection_time == 5


async def test_a_stream_that_goes_on() -> None:
    async with HttpCommunicator(streams(b"data: a\n\ndata:", ends=False), "GET", "/") as client:
        assert await client.receive_event() == ServerSentEvent("a")
        with pytest.raises(
            CommunicatorTimeout,
            match=r"(?s)a server-sent event did not come within 0.01 s.*<- http",
        ):
            await client.receive_event(timeout=0.01)


async def test_a_stream_that_breaks_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENT_STREAM})
        await send({"type": "http.response.body", "body": b"data: a\n\n", "more_body": True})

    client = HttpCommunicator(app, "GET", "/")
    events = list[ServerSentEvent]()
    with pytest.raises(ApplicationEnded, match="the rest of the response"):
        async for event in client.iter_events():
            events.append(event)
    assert events == [ServerSentEvent("a")]


@pytest.mark.parametrize(
    ("status", "content_type"), [(204, b"text/event-stream"), (200, b"text/plain"), (404, b"")]
)
async def test_what_is_no_event_stream(status: int, content_type: bytes) -> None:
    app = streams(status=status, headers=((b"content-type", content_type),))
    async with HttpCommunicator(app, "GET", "/") as client:
        with pytest.raises(UnexpectedFrame, match=f"expected an event stream, .*got {status} and"):
            await client.receive_event()


class Counter(AsyncSSEConsumer):
    async def connect(self, last_event_id: str | None) -> None:
        first = int(last_event_id or 0) + 1
        for number in range(first, first + 3):
            await self.send_event(json={"n": number}, event="count", id=str(number))
        await self.send_comment("that is all")


async def test_a_consumer() -> None:
    async with HttpCommunicator(Counter, "GET", "/", headers={"Last-Event-ID": "6"}) as client:
        events = [await client.receive_event() for _ in range(3)]
        assert [(event.event, event.id, event.json()) for event in events] == [
            ("count", str(n), {"n": n}) for n in (7, 8, 9)
        ]
        await client.settle(20)
    assert asyncio.all_tasks() == {asyncio.current_task()}


class News(AsyncSSEConsumer):
    channel_layer_alias = "default"
    groups = ["news"]


async def test_what_happens_in_the_block_is_heard(channel_layer: BaseChannelLayer) -> None:
    async with HttpCommunicator(News, "GET", "/") as client:
        await channel_layer.group_send("news", {"type": "sse.event", "data": "a"})
        assert (await client.receive_event()).data == "a"
