"""A WebSocket's life in good order: accept, frames both ways, close; and what is refused."""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer, ConsumerApplication
from fast_channels.exceptions import AcceptConnection, ConnectionStateError, DenyConnection
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Serve

Counted = Callable[[], dict[str, int]]
Act = Callable[[AsyncWebsocketConsumer], Any]


class Code(IntEnum):
    KICKED = 4001


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


class Doer(AsyncWebsocketConsumer):
    """Awaits in ``connect`` what it was made with, or when a frame comes."""

    def __init__(self, connect: Act | None = None, receive: Act | None = None) -> None:
        self.on_connect, self.on_receive = connect, receive

    async def connect(self) -> None:
        await (self.on_connect(self) if self.on_connect else super().connect())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.on_receive:
            await self.on_receive(self)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        await self.send(f"{type(exc).__name__}: {exc}", close=4000)


def doing(connect: Act | None = None, receive: Act | None = None) -> ConsumerApplication:
    return Doer.as_asgi(connect=connect, receive=receive)


# Accepting.


async def test_a_connection_is_accepted_by_default(serve: "Serve") -> None:
    client = serve(AsyncWebsocketConsumer)
    client.give({"type": "websocket.connect"})
    assert await client.next() == {
        "type": "websocket.accept",
        "subprotocol": None,
        "headers": [],
    }
    assert await client.leave() == []


async def test_accepting_with_a_subprotocol_and_headers(serve: "Serve") -> None:
    pairs = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    app = doing(connect=lambda self: self.accept("chat.v2", headers=iter(pairs)))
    client = serve(app, subprotocols=["chat.v1", "chat.v2"])
    client.give({"type": "websocket.connect"})
    assert await client.next() == {
        "type": "websocket.accept",
        "subprotocol": "chat.v2",
        "headers": pairs,
    }


@pytest.mark.parametrize(
    ("offered", "shown"), [({"subprotocols": ["a", "b"]}, "'a', 'b'"), ({}, "none")]
)
async def test_a_subprotocol_that_was_not_offered(
    serve: "Serve", offered: dict[str, Any], shown: str
) -> None:
    async def connect(consumer: AsyncWebsocketConsumer) -> None:
        with pytest.raises(ValueError, match=rf"'c' was not offered .*\(offered: {shown}\)"):
            await consumer.accept("c")
        await consumer.accept()

    client = await serve.open(doing(connect=connect), **offered)
    await client.leave()


async def test_accepting_twice(serve: "Serve") -> None:
    client = await serve.open(doing(receive=lambda self: self.accept()))
    client.text("again")
    said = await client.next()
    assert said["text"].startswith("ConnectionStateError: accept() was called twice")


async def test_accepting_later_from_a_task(serve: "Serve") -> None:
    tasks: list[asyncio.Task[None]] = []
    go_on = asyncio.Event()

    async def later(consumer: AsyncWebsocketConsumer) -> None:
        await go_on.wait()
        await consumer.accept()

    async def connect(consumer: AsyncWebsocketConsumer) -> None:
        tasks.append(asyncio.create_task(later(consumer)))

    client = serve(doing(connect=connect))
    client.give({"type": "websocket.connect"})
    go_on.set()
    assert (await client.next())["type"] == "websocket.accept"
    await tasks[0]


@pytest.mark.parametrize(
    ("signal", "answer"),
    [
        (AcceptConnection, {"type": "websocket.accept", "subprotocol": None, "headers": []}),
        (DenyConnection, {"type": "websocket.close", "code": 1000}),
    ],
)
async def test_connect_may_raise_its_decision(
    serve: "Serve",
    signal: type[Exception],
    answer: Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Decider(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            raise signal

    client = serve(Decider)
    client.give({"type": "websocket.connect"})
    assert await client.next() == answer
    if signal is DenyConnection:
        assert await client.ended() == []
    assert caplog.records == []


# Frames.


async def test_frames_come_and_go_in_order(serve: "Serve") -> None:
    client = await serve.open(Echo)
    client.text("", "one")
    client.give({"type": "websocket.receive", "bytes": b"\0\xff"})
    client.give({"type": "websocket.receive", "text": None, "bytes": b""})
    client.give({"type": "websocket.receive", "text": "two", "bytes": None})
    assert [await client.next() for _ in range(5)] == [
        {"type": "websocket.send", "text": ""},
        {"type": "websocket.send", "text": "one"},
        {"type": "websocket.send", "bytes": b"\0\xff"},
        {"type": "websocket.send", "bytes": b""},
        {"type": "websocket.send", "text": "two"},
    ]


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab")])
async def test_bytes_of_any_kind_are_sent_as_bytes(serve: "Serve", data: Any) -> None:
    client = await serve.open(doing(receive=lambda self: self.send(bytes_data=data)))
    client.text("go")
    sent = await client.next()
    assert sent == {"type": "websocket.send", "bytes": b"ab"}
    assert type(sent["bytes"]) is bytes


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "ValueError: send() takes either text_data or bytes_data, and one of them"),
        (("a", b"b"), "ValueError: send() takes either text_data or bytes_data, and one of them"),
        ((b"a",), "TypeError: the text of a frame must be a str, not bytes"),
        (({"a": 1},), "TypeError: the text of a frame must be a str, not dict"),
        ((None, "a"), "TypeError: the data of a binary frame must be bytes, not str"),
    ],
)
async def test_data_that_is_no_frame(
    serve: "Serve", arguments: tuple[Any, ...], complaint: str
) -> None:
    client = await serve.open(doing(receive=lambda self: self.send(*arguments)))
    client.text("go")
    assert (await client.next())["text"] == complaint


async def test_sending_before_accepting_closes_with_1011(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    class Hasty(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            await self.send("too early")

    client = await serve.open(Hasty)
    assert await client.ended() == [
        {"type": "websocket.close", "code": 1011, "reason": "internal error"}
    ]
    assert "ConnectionStateError: send() was called before accept()" in caplog.text


async def test_the_state_error_can_be_handled(serve: "Serve") -> None:
    async def connect(consumer: AsyncWebsocketConsumer) -> None:
        with pytest.raises(ConnectionStateError, match="before accept"):
            await consumer.send(bytes_data=b"early")
        await consumer.accept()
        await consumer.send("in time")

    client = await serve.open(doing(connect=connect))
    assert (await client.next())["text"] == "in time"


async def test_base_send_is_the_servers_own(serve: "Serve") -> None:
    def send_extension(consumer: AsyncWebsocketConsumer) -> Any:
        return consumer.base_send({"type": "websocket.extension"})

    client = await serve.open(doing(receive=send_extension))
    client.text("go")
    assert await client.next() == {"type": "websocket.extension"}


# Closing.


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ((), 1000, None),
        ((None,), 1000, None),
        ((True,), 1000, None),
        ((4999, "bye"), 4999, "bye"),
        ((Code.KICKED, "ü" * 61 + "x"), 4001, "ü" * 61 + "x"),
        ((1001, ""), 1001, None),
        *(((code,), code, None) for code in (1000, 1003, 1007, 1012, 1014, 3000, 3999, 4000)),
    ],
)
async def test_closing(
    serve: "Serve", arguments: tuple[Any, ...], code: int, reason: str | None
) -> None:
    client = await serve.open(doing(receive=lambda self: self.close(*arguments)))
    client.text("go")
    (closed,) = await client.ended()
    assert closed == {"type": "websocket.close", "code": code} | (
        {} if reason is None else {"reason": reason}
    )
    assert type(closed["code"]) is int


@pytest.mark.parametrize(
    "code", [0, -1, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65536]
)
async def test_codes_that_must_not_be_sent(serve: "Serve", code: int) -> None:
    client = await serve.open(doing(receive=lambda self: self.close(code)))
    client.text("go")
    assert (await client.next())["text"].startswith(
        f"ValueError: close code {code} must not be sent (RFC 6455, 7.4)"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((False,), "TypeError: close code must be an int, not False"),
        (("1000",), "TypeError: close code must be an int, not '1000'"),
        ((1000.0,), "TypeError: close code must be an int, not 1000.0"),
        ((1000, b"bye"), "TypeError: close reason must be a str, not b'bye'"),
        ((1000, "ü" * 62), "ValueError: close reason takes 124 bytes in UTF-8, but"),
    ],
)
async def test_what_close_refuses_leaves_the_connection_open(
    serve: "Serve", arguments: tuple[Any, ...], complaint: str
) -> None:
    client = await serve.open(doing(receive=lambda self: self.close(*arguments)))
    client.text("go")
    assert (await client.next())["text"].startswith(complaint)
    assert [event["code"] for event in await client.ended()] == [4000]


@pytest.mark.parametrize(("close", "code"), [(True, 1000), (4001, 4001), (Code.KICKED, 4001)])
async def test_a_last_frame(serve: "Serve", close: bool | int, code: int) -> None:
    client = await serve.open(doing(receive=lambda self: self.send("last", close=close)))
    client.text("go")
    assert await client.ended() == [
        {"type": "websocket.send", "text": "last"},
        {"type": "websocket.close", "code": code},
    ]


@pytest.mark.parametrize("close", [1005, "yes"])
async def test_a_last_frame_with_a_bad_code_is_not_sent(serve: "Serve", close: Any) -> None:
    client = await serve.open(doing(receive=lambda self: self.send("last", close=close)))
    client.text("go")
    assert "close code" in (await client.next())["text"]


async def test_closing_twice_does_nothing(serve: "Serve", counted: Counted) -> None:
    async def close(consumer: AsyncWebsocketConsumer) -> None:
        await consumer.close(4001, "first")
        await consumer.close(4002, "second")
        await consumer.close(code=True)

    client = await serve.open(doing(receive=close))
    client.text("go")
    assert await client.ended() == [{"type": "websocket.close", "code": 4001, "reason": "first"}]
    assert counted() == {}


async def test_closing_in_connect_rejects(serve: "Serve") -> None:
    client = serve(doing(connect=lambda self: self.close(4003, "no")))
    client.give({"type": "websocket.connect"})
    assert await client.ended() == [{"type": "websocket.close", "code": 4003, "reason": "no"}]


async def test_what_comes_after_the_end_is_dropped_and_counted(
    serve: "Serve", counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    class Talkative(AsyncWebsocketConsumer):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.close()
            await self.send("after close")
            await self.accept()

        async def disconnect(self, code: int, /) -> None:
            await self.send(bytes_data=b"in disconnect")
            await self.send("in disconnect", close=True)
            await self.close(4001)

    client = await serve.open(Talkative)
    client.text("go")
    assert [event["type"] for event in await client.ended()] == ["websocket.close"]
    assert counted() == {"send.after_close": 4}
    assert caplog.records == []


# Other scopes.


async def test_a_plain_http_request_is_asked_to_upgrade(serve: "Serve") -> None:
    client = serve(Echo, type="http")
    start, body = await client.ended()
    assert (start["type"], start["status"]) == ("http.response.start", 426)
    assert dict(start["headers"])[b"upgrade"] == b"websocket"
    assert body["type"] == "http.response.body"


async def test_a_scope_of_another_type_is_refused(serve: "Serve") -> None:
    client = serve(Echo, type="lifespan")
    with pytest.raises(ValueError, match="Echo was called for a scope of type 'lifespan'"):
        await client.ended()
