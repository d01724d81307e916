"""Frames and closings that a group sends straight to the sockets of its members."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from fast_channels.exceptions import InvalidNameError, MessageTooLarge
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Serve

Counted = Callable[[], dict[str, int]]


class Member(AsyncWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def mark(self, event: Event) -> None:
        await self.send(f"handled {event['text']}")


class Caller(Member):
    """Broadcasts when a frame comes, with the arguments that it was made with."""

    def __init__(self, group: str = "room", **arguments: Any) -> None:
        self.group, self.arguments = group, arguments

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.broadcast(self.group, **self.arguments)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        await self.send(f"{type(exc).__name__}: {exc}")


@pytest.mark.parametrize(
    ("arguments", "frame"),
    [
        ({"text": "hello"}, {"text": "hello"}),
        ({"text": ""}, {"text": ""}),
        ({"bytes": b"\0\xff"}, {"bytes": b"\0\xff"}),
        ({"bytes": b""}, {"bytes": b""}),
        ({"json": {"a": [1, None, "ü"]}}, {"text": '{"a":[1,null,"ü"]}'}),
        ({"json": 0}, {"text": "0"}),
        ({"json": ""}, {"text": '""'}),
        ({"json": False}, {"text": "false"}),
    ],
)
async def test_every_member_gets_the_frame(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    arguments: dict[str, Any],
    frame: dict[str, Any],
) -> None:
    caller = await serve.open(Caller.as_asgi(**arguments))
    members = [await serve.open(Member) for _ in range(3)]
    caller.text("go")
    for client in (caller, *members):
        assert await client.next() == {"type": "websocket.send", **frame}


async def test_a_caller_need_not_be_a_member(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    member = await serve.open(Member)
    caller = await serve.open(Caller.as_asgi(group="empty", text="to nobody"))
    caller.text("go")

    class Outsider(Caller):
        groups: list[str] = []

    outsider = await serve.open(Outsider.as_asgi(text="from outside"))
    outsider.text("go")
    assert (await member.next())["text"] == "from outside"
    assert await outsider.leave() == []
    assert [event["text"] for event in await caller.leave()] == ["from outside"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "ValueError: broadcast() takes exactly one of text, bytes and json"),
        ({"text": "a", "json": 1}, "ValueError: broadcast() takes exactly one of"),
        ({"text": "", "bytes": b""}, "ValueError: broadcast() takes exactly one of"),
        ({"text": b"a"}, "TypeError: the text of a frame must be a str, not bytes"),
        ({"text": 5}, "TypeError: the text of a frame must be a str, not int"),
        ({"bytes": "a"}, "TypeError: the data of a binary frame must be bytes, not str"),
        ({"json": object()}, "TypeError: "),
        ({"text": "a", "key": 5}, "TypeError: key must be a str or None, not 5"),
        ({"group": "two words", "text": "a"}, f"{InvalidNameError.__name__}: "),
        ({"text": "x" * 2**20}, f"{MessageTooLarge.__name__}: the message takes "),
    ],
)
async def test_what_cannot_be_broadcast(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    counted: Counted,
    arguments: dict[str, Any],
    complaint: str,
) -> None:
    client = await serve.open(Caller.as_asgi(**arguments))
    client.text("go")
    assert (await client.next())["text"].startswith(complaint)
    assert counted() == {}


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab")])
async def test_bytes_of_any_kind_arrive_as_bytes(
    serve: "Serve", default_layer: InMemoryChannelLayer, data: Any
) -> None:
    client = await serve.open(Caller.as_asgi(bytes=data))
    client.text("go")
    assert await client.next() == {"type": "websocket.send", "bytes": b"ab"}


async def test_anything_may_send_frames_to_a_group(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    client = await serve.open(Member)
    await default_layer.group_send("room", {"type": "websocket.send", "text": "a"})
    await default_layer.group_send("room", {"type": "websocket.send", "bytes": b"b", "text": None})
    assert [await client.next() for _ in range(2)] == [
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.send", "bytes": b"b"},
    ]


@pytest.mark.parametrize(
    "fault",
    [{}, {"text": None}, {"text": "a", "bytes": b"b"}, {"text": 5}, {"bytes": "a"}, {"json": 1}],
)
async def test_a_message_that_is_no_frame_is_counted_and_the_connection_lives(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted, fault: Event
) -> None:
    client = await serve.open(Member)
    await default_layer.group_send("room", {"type": "websocket.send", **fault})
    await default_layer.group_send("room", {"type": "websocket.send", "text": "good"})
    assert (await client.next())["text"] == "good"
    assert counted() == {"event.unhandled": 1}


# Closing.


@pytest.mark.parametrize(
    ("message", "closed"),
    [
        ({}, {"code": 1000}),
        ({"code": 4001, "reason": "kicked"}, {"code": 4001, "reason": "kicked"}),
        ({"code": True, "reason": None}, {"code": 1000}),
    ],
)
async def test_a_group_can_be_closed(
    serve: "Serve", default_layer: InMemoryChannelLayer, message: Event, closed: Event
) -> None:
    codes: list[int] = []

    class Leaver(Member):
        async def disconnect(self, code: int, /) -> None:
            codes.append(code)

    clients = [await serve.open(Leaver) for _ in range(3)]
    await default_layer.group_send("room", {"type": "websocket.close", **message})
    for client in clients:
        assert await client.ended() == [{"type": "websocket.close", **closed}]
    assert codes == [closed["code"]] * 3


@pytest.mark.parametrize(
    "fault",
    [{"code": 1006}, {"code": "4001"}, {"code": False}, {"reason": 5}, {"reason": "x" * 124}],
)
async def test_a_closing_that_is_refused_is_counted_and_the_connection_lives(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted, fault: Event
) -> None:
    client = await serve.open(Member)
    await default_layer.group_send("room", {"type": "websocket.close", **fault})
    await default_layer.group_send("room", {"type": "websocket.send", "text": "alive"})
    assert (await client.next())["text"] == "alive"
    assert counted() == {"event.unhandled": 1}


async def test_what_follows_a_closing_is_not_sent(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    client = await serve.open(Member)
    await default_layer.group_send("room", {"type": "websocket.send", "text": "last"})
    await default_layer.group_send("room", {"type": "websocket.close"})
    await default_layer.group_send("room", {"type": "websocket.send", "text": "late"})
    assert [event["type"] for event in await client.ended()] == [
        "websocket.send",
        "websocket.close",
    ]


# Before the connection is accepted.


class Waiting(Member):
    """Accepts when the layer says so."""

    async def connect(self) -> None:
        await self.channel_layer.send(self.channel_name, {"type": "connecting"})

    async def connecting(self, event: Event) -> None:
        await self.base_send({"type": "connecting"})

    async def admit(self, event: Event) -> None:
        await self.accept()


async def test_a_frame_before_accepting_is_counted_and_missed(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    client = serve(Waiting)
    client.give({"type": "websocket.connect"})
    assert await client.next() == {"type": "connecting"}
    await default_layer.group_send("room", {"type": "websocket.send", "text": "early"})
    await default_layer.group_send("room", {"type": "admit"})
    await default_layer.group_send("room", {"type": "websocket.send", "text": "in time"})
    assert (await client.next())["type"] == "websocket.accept"
    assert (await client.next())["text"] == "in time"
    assert counted() == {"event.before_accept": 1}


async def test_a_closing_before_accepting_rejects(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    client = serve(Waiting)
    client.give({"type": "websocket.connect"})
    await client.next()
    await default_layer.group_send("room", {"type": "websocket.close", "code": 4003})
    assert await client.ended() == [{"type": "websocket.close", "code": 4003}]


# Handlers that the application declares.


async def test_handlers_of_the_application_win(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Polite(Member):
        async def websocket_send(self, message: Event) -> None:
            await super().websocket_send({**message, "text": f"please, {message['text']}"})

        async def websocket_close(self, message: Event) -> None:
            await self.send("bye")
            await super().websocket_close(message)

    client = await serve.open(Polite)
    for text in "ab":
        await default_layer.group_send("room", {"type": "websocket.send", "text": text})
    assert [(await client.next())["text"] for _ in range(2)] == ["please, a", "please, b"]
    await default_layer.group_send("room", {"type": "websocket.close", "code": 4000})
    assert await client.ended() == [
        {"type": "websocket.send", "text": "bye"},
        {"type": "websocket.close", "code": 4000},
    ]


# Order.


async def test_frames_and_handlers_keep_the_order_of_sending(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    clients = [await serve.open(Member) for _ in range(3)]
    expected: list[str] = []
    for number in range(60):
        if number % 5 in (1, 2):
            await default_layer.group_send("room", {"type": "mark", "text": str(number)})
            expected.append(f"handled {number}")
        else:
            frame = {"type": "websocket.send", "text": str(number)}
            await default_layer.group_send("room", frame)
            expected.append(str(number))
        if number % 7 == 0:
            await asyncio.sleep(0)  # Some find the sockets idle, some do not.
    for client in clients:
        assert [(await client.next())["text"] for _ in range(60)] == expected


async def test_frames_wait_for_a_handler_that_runs(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Slow(AsyncJsonWebsocketConsumer):
        channel_layer_alias = "default"
        groups = ["room"]

        async def receive_json(self, content: Any, /) -> None:
            await self.send("begin")
            entered.set()
            await go_on.wait()
            await self.broadcast("room", text="own")
            await self.send("end")

    client = await serve.open(Slow)
    client.text("1")
    await entered.wait()
    await default_layer.group_send("room", {"type": "websocket.send", "text": "frame"})
    go_on.set()
    texts = [(await client.next())["text"] for _ in range(4)]
    assert texts == ["begin", "end", "frame", "own"]
