"""What follows when a handler raises, by the policy of its class."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Serve

Counted = Callable[[], dict[str, int]]


class Faulty(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    def __init__(self) -> None:
        self.ends: list[int] = []

    async def receive_json(self, content: Any, /) -> None:
        if content == "raise":
            raise LookupError("secret")
        await self.send_json({"echo": content})

    async def event(self, event: Event) -> None:
        raise LookupError("secret")

    async def disconnect(self, code: int, /) -> None:
        self.ends.append(code)


class Reporting(Faulty):
    error_policy = "report"


class Ignoring(Faulty):
    error_policy = "ignore"


REPORT = '{"type":"error","code":1011,"error":"handler.error","message":"internal error"}'


async def test_reported_to_the_client(
    serve: "Serve", default_layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Reporting()
    client = await serve.open(consumer)
    client.text('"raise"', '"still here"')
    await default_layer.group_send("room", {"type": "event"})
    texts = sorted([(await client.next())["text"] for _ in range(3)])
    assert texts == ['{"echo":"still here"}', REPORT, REPORT]
    assert await client.leave(1001) == []
    assert consumer.ends == [1001]
    logged = [record for record in caplog.records if record.name == "fast_channels.consumer"]
    assert [record.levelname for record in logged] == ["ERROR", "ERROR"]
    assert all(record.exc_info for record in logged)


async def test_a_report_of_ones_own(serve: "Serve", default_layer: InMemoryChannelLayer) -> None:
    class Precise(Reporting):
        def error_frame(self, exc: Exception, event: Event, /) -> object:
            return {"type": "error", "error": type(exc).__name__, "in": event["type"]}

    client = await serve.open(Precise())
    client.text('"raise"')
    text = (await client.next())["text"]
    assert text == '{"type":"error","error":"LookupError","in":"websocket.receive"}'


async def test_a_report_that_fails_closes(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Worse(Reporting):
        def error_frame(self, exc: Exception, event: Event, /) -> object:
            raise ZeroDivisionError

    consumer = Worse()
    client = await serve.open(consumer)
    client.text('"raise"')
    assert [event["code"] for event in await client.ended()] == [1011]
    assert consumer.ends == [1011]


async def test_ignored_and_counted(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    client = await serve.open(Ignoring())
    client.text('"raise"', '"raise"', '"still here"')
    assert (await client.next())["text"] == '{"echo":"still here"}'
    assert counted() == {"handler.error": 2}
    assert await client.leave() == []


@pytest.mark.parametrize("consumer", [Reporting, Ignoring])
async def test_an_error_in_connect_always_closes(
    serve: "Serve", default_layer: InMemoryChannelLayer, consumer: type[Faulty]
) -> None:
    class Unready(consumer):  # type: ignore[valid-type, misc]  # a class that a parameter names
        async def connect(self) -> None:
            raise LookupError

    client = serve(Unready())
    client.give({"type": "websocket.connect"})
    accept, close = await client.ended()
    assert (accept["type"], close["code"]) == ("websocket.accept", 1011)


@pytest.mark.parametrize("consumer", [Reporting, Ignoring])
async def test_an_error_in_connect_closes_also_after_accept(
    serve: "Serve", default_layer: InMemoryChannelLayer, consumer: type[Faulty]
) -> None:
    class HalfReady(consumer):  # type: ignore[valid-type, misc]  # a class that a parameter names
        async def connect(self) -> None:
            await self.accept()
            raise LookupError

    client = await serve.open(HalfReady())
    assert [event.get("code") for event in await client.ended()] == [1011]


@pytest.mark.parametrize("consumer", [Faulty, Reporting, Ignoring])
async def test_an_accept_that_the_server_does_not_take_is_none(
    serve: "Serve", default_layer: InMemoryChannelLayer, consumer: type[Faulty]
) -> None:
    class Fancy(consumer):  # type: ignore[valid-type, misc]  # a class that a parameter names
        async def connect(self) -> None:
            await self.accept(headers=[(b"x-fancy", b"\n")])

    async def send(event: Any) -> None:
        if event.get("headers"):
            raise ValueError("no line ends in headers")
        await client.sent(event)

    client = serve(Fancy(), send=send)
    client.give({"type": "websocket.connect"})
    accept, close = await client.ended()
    assert (accept["type"], close["code"]) == ("websocket.accept", 1011)


async def test_headers_are_checked_before_they_are_sent(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Careless(Faulty):
        async def connect(self) -> None:
            headers: Any = [("x-text", "no bytes")]
            with pytest.raises(TypeError, match="must be bytes, not 'x-text': 'no bytes'"):
                await self.accept(headers=headers)
            with pytest.raises(TypeError, match="must be bytes, not 'x-text': 'no bytes'"):
                await self.reject(mode="denial", headers=headers)
            await self.accept()

    client = await serve.open(Careless())
    assert await client.leave() == []


async def test_an_error_after_the_end_changes_nothing(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    class Late(Reporting):
        async def receive_json(self, content: Any, /) -> None:
            await self.close(4000)
            raise LookupError

    consumer = Late()
    client = await serve.open(consumer)
    client.text("1")
    assert [event["code"] for event in await client.ended()] == [4000]
    assert consumer.ends == [4000]


@pytest.mark.parametrize("frame", [{"text": "{"}, {"bytes": b"{}"}])
async def test_frames_that_are_not_json(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted, frame: Event
) -> None:
    reporting, ignoring = await serve.open(Reporting()), await serve.open(Ignoring())
    for client in (reporting, ignoring):
        client.give({"type": "websocket.receive", **frame})
        client.text("1")
    report = json.loads((await reporting.next())["text"])
    assert report["code"] == (1007 if "text" in frame else 1003)
    assert report["error"] == "frame.invalid"
    assert report["message"].startswith("expected a text frame of JSON, got ")
    for client in (reporting, ignoring):
        assert (await client.next())["text"] == '{"echo":1}'
    assert counted() == {"frame.invalid": 1}


def test_the_policy_is_checked() -> None:
    with pytest.raises(ValueError, match=r"Wrong\.error_policy is 'explode', expected one of"):

        class Wrong(AsyncWebsocketConsumer):  # pyright: ignore[reportUnusedClass]  # it must not be made
            error_policy = "explode"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
