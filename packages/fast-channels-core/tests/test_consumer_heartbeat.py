"""Clients that say nothing: those that are asked and answer, and those that are gone."""

import asyncio
import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from fast_channels.consumer import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, Outbox
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, LoopClock, Serve

INTERVAL, TIMEOUT = 30, 10
TOLERANCE = 0.5
HEARTBEAT = '{"type":"heartbeat"}'
QUESTION = {"type": "websocket.send", "text": HEARTBEAT}


class Watched(AsyncWebsocketConsumer):
    heartbeat_interval: float | None = INTERVAL
    heartbeat_timeout = TIMEOUT

    def __init__(self) -> None:
        self.heard: list[str | bytes | None] = []
        self.ends: list[int] = []

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.heard.append(text_data or bytes_data)

    async def disconnect(self, code: int, /) -> None:
        self.ends.append(code)


async def is_asked(client: "Client", loop_clock: "LoopClock", after: float = INTERVAL) -> None:
    """The client is asked when it was silent for an interval, and not before."""
    await loop_clock.advance(after - TOLERANCE)
    assert client.unheard == 0
    await loop_clock.advance(2 * TOLERANCE)
    assert await client.next() == QUESTION


async def is_gone(client: "Client", loop_clock: "LoopClock") -> None:
    """A client that was asked is given up at its time, and not before."""
    await loop_clock.advance(TIMEOUT - 2 * TOLERANCE)
    assert not client.task.done()
    await loop_clock.advance(2 * TOLERANCE)
    [close] = await client.ended()
    assert (close["type"], close["code"]) == ("websocket.close", 3008)
    assert "heartbeat" in close["reason"]


async def test_client_that_answers_lives_on(serve: "Serve", loop_clock: "LoopClock") -> None:
    consumer = Watched()
    client = await serve.open(consumer)
    for _ in range(3):
        await is_asked(client, loop_clock)
        await loop_clock.advance(TIMEOUT - TOLERANCE)
        client.text(HEARTBEAT)
        await loop_clock.settle()
    client.text("anything")
    await loop_clock.settle()
    assert (consumer.heard, consumer.ends) == (["anything"], [])
    assert await client.leave(1000) == []
    assert consumer.ends == [1000]


async def test_client_that_does_not_answer_is_gone(
    serve: "Serve", loop_clock: "LoopClock", counted: Callable[[], dict[str, int]]
) -> None:
    consumer = Watched()
    client = await serve.open(consumer)
    await is_asked(client, loop_clock)
    await is_gone(client, loop_clock)
    assert consumer.ends == [1006]
    assert counted() == {"client.silent": 1}


async def test_any_frame_is_a_sign_of_life(serve: "Serve", loop_clock: "LoopClock") -> None:
    consumer = Watched()
    client = await serve.open(consumer)
    for _ in range(4):
        await loop_clock.advance(INTERVAL - TOLERANCE)
        client.text("I am here")
        await loop_clock.settle()
        assert client.unheard == 0
    await is_asked(client, loop_clock)
    client.give({"type": "websocket.receive", "bytes": b"here"})
    await is_asked(client, loop_clock)
    await is_gone(client, loop_clock)
    assert consumer.heard == [*["I am here"] * 4, b"here"]


async def test_client_that_may_take_its_time_is_asked_as_often(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    class Patient(Watched):
        heartbeat_timeout = 20 * INTERVAL

    consumer = Patient()
    client = await serve.open(consumer)
    await is_asked(client, loop_clock)
    await loop_clock.advance(19 * INTERVAL)
    assert client.unheard == 0
    for _ in range(2):
        client.text(HEARTBEAT)
        await is_asked(client, loop_clock)
    await loop_clock.advance(20 * INTERVAL + TOLERANCE)
    assert consumer.ends == [1006]


async def test_what_the_server_sends_is_none(serve: "Serve", loop_clock: "LoopClock") -> None:
    consumer = Watched()
    client = await serve.open(consumer)
    await loop_clock.advance(INTERVAL - TOLERANCE)
    await consumer.send("news")
    assert await client.next() == {"type": "websocket.send", "text": "news"}
    await is_asked(client, loop_clock, after=TOLERANCE)


async def test_client_is_not_silent_while_its_handler_is_busy(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    """The second frame waits for the handler of the first, and the rest in the server."""
    released = asyncio.Event()

    class Busy(Watched):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await released.wait()
            await super().receive(text_data, bytes_data)

    consumer = Busy()
    client = await serve.open(consumer)
    client.text("one", "two", HEARTBEAT)
    await loop_clock.settle()
    for _ in range(10):
        await loop_clock.advance(INTERVAL)
    assert client.unheard == 0
    released.set()
    await is_asked(client, loop_clock)
    await is_gone(client, loop_clock)
    assert consumer.heard == ["one", "two"]


async def test_client_is_asked_while_a_handler_is_busy(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    """That the reader waits for the client is what matters."""
    released = asyncio.Event()

    class Busy(Watched):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await released.wait()

    client = await serve.open(Busy)
    client.text("work")
    await loop_clock.settle()
    await is_asked(client, loop_clock)
    client.text(HEARTBEAT)
    await is_asked(client, loop_clock)
    released.set()


async def test_handler_that_waits_to_send_does_not_outlast_the_client(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    """A client that is gone takes nothing, so the server's send() does not return."""
    sent: list[Event] = []

    async def send(event: Any) -> None:
        sent.append(event)
        if event["type"] == "websocket.send":
            await asyncio.Event().wait()

    class Talkative(Watched):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            for _ in range(10_000):
                await self.send("x" * 1000)
            self.heard.append("all sent")

    consumer = Talkative()
    client = serve(consumer, send=send)
    client.give({"type": "websocket.connect"})
    client.text("go")
    await loop_clock.settle()
    assert [event["type"] for event in sent] == ["websocket.accept", "websocket.send"]
    await loop_clock.advance(INTERVAL + TIMEOUT - TOLERANCE)
    assert consumer.ends == []
    await loop_clock.advance(2 * TOLERANCE)
    assert await client.ended() == []
    assert (consumer.heard, consumer.ends) == (["all sent"], [1006])
    assert [event["type"] for event in sent][2:] == ["websocket.close"]


async def test_slow_client_is_asked_before_it_is_sent_the_rest(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    sent: list[str] = []
    taken = asyncio.Event()

    async def send(event: Any) -> None:
        if event["type"] == "websocket.send":
            sent.append(event["text"])
            await taken.wait()

    class Slow(Watched):
        outbox = Outbox(max_messages=2, overflow="drop_oldest")

    consumer = Slow()
    client = serve(consumer, send=send)
    client.give({"type": "websocket.connect"})
    await loop_clock.advance(0)
    for number in range(5):
        await consumer.send(f"before {number}")
    await loop_clock.advance(INTERVAL + TOLERANCE)
    for number in range(5):
        await consumer.send(f"after {number}")
    taken.set()
    await loop_clock.settle()
    assert sent == ["before 0", HEARTBEAT, "after 3", "after 4"]


async def test_cancel_on_disconnect_includes_clients_that_are_gone(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    class Busy(Watched):
        cancel_on_disconnect = True

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await asyncio.Event().wait()

    consumer = Busy()
    client = await serve.open(consumer)
    client.text("work")
    await loop_clock.settle()
    await is_asked(client, loop_clock)
    await is_gone(client, loop_clock)
    assert consumer.ends == [1006]


async def test_client_is_spared_when_everything_was_held_up(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    """A handler blocked the event loop, and the server has yet to read the answer."""
    loop = asyncio.get_running_loop()
    consumer = Watched()
    client = await serve.open(consumer)
    await is_asked(client, loop_clock)

    def after(turns: int) -> None:
        if turns:
            loop.call_soon(after, turns - 1)
        else:
            client.text(HEARTBEAT)

    after(4)
    await loop_clock.jump(5 * TIMEOUT)
    await is_asked(client, loop_clock)
    assert consumer.ends == []


async def test_client_that_was_not_accepted_may_be_silent(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    class Hesitant(Watched):
        async def connect(self) -> None:
            await accepted.wait()
            await self.accept()

    accepted = asyncio.Event()
    client = serve(Hesitant)
    client.give({"type": "websocket.connect"})
    await loop_clock.settle()
    await loop_clock.advance(10 * INTERVAL)
    assert client.unheard == 0
    accepted.set()
    assert (await client.next())["type"] == "websocket.accept"
    await is_asked(client, loop_clock)


async def test_nobody_is_asked_by_default(serve: "Serve", loop_clock: "LoopClock") -> None:
    class Unwatched(Watched):
        heartbeat_interval = None

    consumer = Unwatched()
    client = await serve.open(consumer)
    await loop_clock.advance(100)
    client.text(HEARTBEAT)
    await loop_clock.settle()
    assert (client.unheard, consumer.heard) == (0, [HEARTBEAT])


async def test_only_the_very_text_is_an_answer(serve: "Serve", loop_clock: "LoopClock") -> None:
    class Json(AsyncJsonWebsocketConsumer):
        heartbeat_interval = 5
        heartbeat_text = "?"

        async def receive_json(self, content: Any, /) -> None:
            await self.send_json(content)

    client = await serve.open(Json)
    await loop_clock.advance(5 + TOLERANCE)
    assert (await client.next())["text"] == "?"
    client.text("?", HEARTBEAT)
    assert (await client.next())["text"] == HEARTBEAT
    client.text(" ?")
    assert (await client.next())["code"] == 1007


async def test_answer_at_the_end_does_not_hide_the_end(serve: "Serve") -> None:
    """asyncio.wait_for() before 3.12 swallows a cancellation when there is a result as well."""
    events = asyncio.Queue[Event]()

    async def receive() -> Event:
        try:
            return await events.get()
        except asyncio.CancelledError:
            return {"type": "websocket.receive", "text": HEARTBEAT}

    consumer = Watched()
    client = serve(consumer, receive=receive)
    events.put_nowait({"type": "websocket.connect"})
    assert (await client.next())["type"] == "websocket.accept"
    await consumer.close()
    assert [event["type"] for event in await client.ended()] == ["websocket.close"]
    assert consumer.ends == [1000]


@pytest.mark.parametrize("leave", [True, False])
async def test_consumer_that_ended_is_not_kept_for_its_time(
    serve: "Serve", loop_clock: "LoopClock", leave: bool
) -> None:
    consumer = Watched()
    seen = ref(consumer)
    client = await serve.open(consumer)
    if leave:
        await client.leave()
    else:
        await consumer.close()
        await client.ended()
    del consumer, client
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_interval": 0},
        {"heartbeat_interval": float("inf")},
        {"heartbeat_interval": float("nan")},
        {"heartbeat_interval": 5, "heartbeat_timeout": -1},
        {"heartbeat_interval": 5, "heartbeat_text": ""},
    ],
)
def test_impossible_heartbeat_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]} is "):
        type("Wrong", (AsyncWebsocketConsumer,), wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_interval": "20"},
        {"heartbeat_interval": True},
        {"heartbeat_interval": 5, "heartbeat_timeout": None},
        {"heartbeat_interval": 5, "heartbeat_text": b"ping"},
    ],
)
def test_a_heartbeat_of_a_wrong_type_is_refused(wrong: dict[str, Any]) -> None:
    name, value = list(wrong.items())[-1]
    with pytest.raises(TypeError, match=f"{name} must be a .*, not {value!r}"):
        type("Wrong", (AsyncWebsocketConsumer,), wrong)
