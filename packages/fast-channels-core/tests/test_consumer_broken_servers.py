"""Endings by a server whose receive() or send() fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import ConsumerApplication
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Actor, Client, Scene, Serve


# A receive() that raises.


@pytest.mark.parametrize("begun", [False, True])
async def test_receive_raises(serve: "Serve", scene: "Scene", begun: bool) -> None:
    events: list[Event] = [{"type": "websocket.connect"}] if begun else []

    async def receive() -> Event:
        if events:
            return events.pop()
        raise ConnectionResetError("receive")

    client = serve(scene.app(), receive=receive)
    with pytest.raises(ConnectionResetError, match="receive"):
        await client.ended()
    scene.check(1006)
    assert scene.logged() == []


async def test_receive_raises_while_a_handler_is_busy(serve: "Serve", scene: "Scene") -> None:
    entered = asyncio.Event()

    async def wait(consumer: "Actor") -> None:
        entered.set()
        await asyncio.Event().wait()

    events: list[Event] = [{"type": "websocket.connect"}, {"type": "websocket.receive"}][::-1]

    async def receive() -> Event:
        if events:
            return events.pop()
        await entered.wait()
        raise ConnectionResetError

    client = serve(scene.app(receive=wait), receive=receive)
    with pytest.raises(ConnectionResetError):
        await client.ended()
    scene.check(1006)


async def test_a_receive_that_keeps_its_cancellation_to_itself(
    serve: "Serve", scene: "Scene", settle: Callable[[], Awaitable[None]]
) -> None:
    """As asyncio.wait_for() did before Python 3.12, when an event came in the same moment."""
    events = asyncio.Queue[Event]()
    events.put_nowait({"type": "websocket.connect"})
    events.put_nowait({"type": "websocket.receive", "text": "go"})

    async def receive() -> Event:
        try:
            return await events.get()
        except asyncio.CancelledError:
            return {"type": "websocket.receive", "text": "nobody reads this"}

    async def close(consumer: "Actor") -> None:
        await settle()  # The reader is back in receive().
        await consumer.close(4001)

    client = serve(scene.app(receive=close), receive=receive)
    assert [event["type"] for event in await client.ended()][-1] == "websocket.close"
    assert client.task.cancelling() == 0
    scene.check(4001)


async def test_nobody_waits_in_receive_while_the_close_frame_is_written(
    serve: "Serve", scene: "Scene", settle: Callable[[], Awaitable[None]]
) -> None:
    """granian does not write it then."""
    waiting: list[bool] = []
    events = asyncio.Queue[Event]()
    events.put_nowait({"type": "websocket.connect"})
    events.put_nowait({"type": "websocket.receive", "text": "go"})

    async def receive() -> Event:
        waiting.append(True)
        try:
            return await events.get()
        finally:
            waiting.pop()

    async def send(event: Any) -> None:
        if event["type"] == "websocket.close":
            await asyncio.sleep(0)
            assert not waiting
            await client.sent(event)

    async def close(consumer: "Actor") -> None:
        await settle()
        assert waiting
        await consumer.close(4001)

    client = serve(scene.app(receive=close), receive=receive, send=send)
    assert [event["code"] for event in await client.ended()] == [4001]
    scene.check(4001)


async def test_what_is_sent_after_a_broken_connection_is_dropped(
    serve: "Serve", scene: "Scene"
) -> None:
    async def disconnect(consumer: "Actor") -> None:
        await consumer.send("late")
        await consumer.close(4001)

    client = await serve.open(scene.app(disconnect=disconnect))
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    scene.check(1006)
    assert scene.counted()["send.after_close"] == 1
    assert client.rest() == []


# A send() that raises.


Refuse = Callable[[Event], Exception | None]


async def open_failing(serve: "Serve", app: ConsumerApplication, refuse: Refuse) -> "Client":
    """Connect where the server's ``send`` may raise."""

    async def send(event: Any) -> None:
        if (error := refuse(event)) is not None:
            raise error
        await client.sent(event)

    client = serve(app, send=send)
    return await client.open()


@pytest.mark.parametrize("error", [BrokenPipeError(), RuntimeError("after close")])
async def test_a_write_says_that_the_client_is_gone(
    serve: "Serve", scene: "Scene", error: Exception
) -> None:
    """Not the end yet: the server's event tells the code."""
    app = scene.app(receive=lambda consumer: consumer.send("hello"))
    client = await open_failing(
        serve, app, lambda event: error if event["type"] == "websocket.send" else None
    )
    client.text("one", "two")
    assert await client.leave(1006) == []
    scene.check(1006)
    assert scene.logged() == []


async def test_a_write_fails(serve: "Serve", scene: "Scene") -> None:
    app = scene.app(receive=lambda consumer: consumer.send("hello"))
    client = await open_failing(
        serve, app, lambda event: LookupError() if event["type"] == "websocket.send" else None
    )
    client.text("go")
    (closed,) = await client.ended()
    assert closed["code"] == 1011
    scene.check(1011)
    assert scene.logged() == ["ERROR"]


def takes_no_standard_code(event: Event) -> Exception | None:
    """As daphne does."""
    return ValueError(event["code"]) if 1001 <= event.get("code", 0) < 3000 else None


async def test_a_server_that_takes_no_standard_codes(serve: "Serve", scene: "Scene") -> None:
    client = await open_failing(
        serve,
        scene.app(receive=lambda consumer: consumer.close(1003, "why")),
        takes_no_standard_code,
    )
    client.text("go")
    assert await client.ended() == [{"type": "websocket.close", "code": 4003, "reason": "why"}]
    scene.check(1003)
    assert scene.logged() == []


async def test_a_server_that_can_say_1011_only_by_itself(serve: "Serve", scene: "Scene") -> None:
    async def receive(consumer: "Actor") -> None:
        raise LookupError

    client = await open_failing(serve, scene.app(receive=receive), takes_no_standard_code)
    client.text("go")
    with pytest.raises(ValueError, match="1011"):
        await client.ended()
    scene.check(1011)
    assert scene.logged() == ["ERROR"]
