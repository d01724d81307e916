"""Frames of JSON: how they are read and written, and what a client gets for any other frame."""

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Serve


class Echo(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, /) -> None:
        await self.send_json(content)


class Teller(AsyncJsonWebsocketConsumer):
    """Sends what it was made with."""

    def __init__(self, content: Any, close: bool | int = False) -> None:
        self.content, self.closing = content, close

    async def receive_json(self, content: Any, /) -> None:
        await self.send_json(self.content, close=self.closing)


@pytest.mark.parametrize(
    "content",
    [
        None,
        True,
        0,
        -1.5,
        2**70,
        "",
        "ünï\u2028\U0001f600\0",
        [],
        {},
        {"a": [1, {"b": None}], "": ""},
        "x" * 70000,
    ],
)
async def test_json_goes_in_and_out(serve: "Serve", content: Any) -> None:
    client = await serve.open(Echo)
    client.text(json.dumps(content))
    sent = await client.next()
    assert sent["type"] == "websocket.send"
    assert json.loads(sent["text"]) == content


async def test_what_msgspec_takes_can_be_sent(serve: "Serve") -> None:
    content = {
        "at": dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
        "price": Decimal("1.50"),
        "tuple": (1, 2),
        5: b"\xff",
    }
    client = await serve.open(Teller.as_asgi(content=content))
    client.text("1")
    assert json.loads((await client.next())["text"]) == {
        "at": "2020-01-02T00:00:00Z",
        "price": "1.50",
        "tuple": [1, 2],
        "5": "/w==",
    }


async def test_what_is_no_json_cannot_be_sent(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    client = await serve.open(Teller.as_asgi(content=object()))
    client.text("1")
    assert [event["code"] for event in await client.ended()] == [1011]
    assert "TypeError" in caplog.text


@pytest.mark.parametrize(("close", "code"), [(True, 1000), (4001, 4001)])
async def test_a_last_frame(serve: "Serve", close: bool | int, code: int) -> None:
    client = await serve.open(Teller.as_asgi(content=[], close=close))
    client.text("1")
    assert await client.ended() == [
        {"type": "websocket.send", "text": "[]"},
        {"type": "websocket.close", "code": code},
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "nope", "'a'", "[1,]", "NaN", "1 2", '"\ud800"', "[" * 100_000, '{"a":1e400}'],
    ids=lambda text: repr(text[:8]),
)
async def test_text_that_is_not_json_closes_with_1007(
    serve: "Serve", text: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await serve.open(Echo)
    client.text(text)
    assert await client.ended() == [
        {
            "type": "websocket.close",
            "code": 1007,
            "reason": "expected a text frame of JSON, got one that is not",
        }
    ]
    assert caplog.records == []


async def test_a_binary_frame_closes_with_1003(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    client = await serve.open(Echo)
    client.give({"type": "websocket.receive", "bytes": b"{}"})
    assert await client.ended() == [
        {
            "type": "websocket.close",
            "code": 1003,
            "reason": "expected a text frame of JSON, got a binary frame",
        }
    ]
    assert caplog.records == []


async def test_a_value_error_of_the_application_is_no_fault_of_the_client(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(AsyncJsonWebsocketConsumer):
        async def receive_json(self, content: Any, /) -> None:
            int("x")

    client = await serve.open(Faulty)
    client.text("1")
    assert [event["code"] for event in await client.ended()] == [1011]
    assert "invalid literal for int()" in caplog.text


class Reversed(Echo):
    """Has a format of its own."""

    channel_layer_alias = "default"
    groups = ["room"]

    async def receive_json(self, content: Any, /) -> None:
        await self.send_json(content)
        await self.broadcast("room", json=content)

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        return json.dumps(content)[::-1]

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        return json.loads(text_data[::-1])


async def test_the_format_may_be_overridden(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    client = await serve.open(Reversed)
    client.text("]21[")
    assert [(await client.next())["text"] for _ in range(2)] == ["]21[", "]21["]
    client.text("[12]")
    assert [event["code"] for event in await client.ended()] == [1007]


async def test_receive_may_hand_on_more_than_the_content(serve: "Serve") -> None:
    class Hasty(AsyncJsonWebsocketConsumer):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
        ) -> None:
            await super().receive(text_data, bytes_data, size=len(text_data or ""))

        async def receive_json(self, content: Any, /, size: int = 0) -> None:
            await self.send_json([content, size])

    client = await serve.open(Hasty)
    client.text("{} ")
    assert (await client.next())["text"] == "[{},3]"


async def test_bytes_may_be_allowed(serve: "Serve") -> None:
    class Both(Echo):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
        ) -> None:
            if bytes_data is not None:
                await self.send(bytes_data=bytes_data)
            else:
                await super().receive(text_data, **kwargs)

    client = await serve.open(Both)
    client.give({"type": "websocket.receive", "bytes": b"raw"})
    client.text("1")
    assert (await client.next())["bytes"] == b"raw"
    assert (await client.next())["text"] == "1"


async def test_an_event_of_the_layer_can_be_sent_as_json(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Room(AsyncJsonWebsocketConsumer):
        channel_layer_alias = "default"
        groups = ["room"]

        async def chat_message(self, event: Event) -> None:
            await self.send_json({"text": event["text"]})

    client = await serve.open(Room)
    await default_layer.group_send("room", {"type": "chat.message", "text": "hello"})
    assert (await client.next())["text"] == '{"text":"hello"}'
