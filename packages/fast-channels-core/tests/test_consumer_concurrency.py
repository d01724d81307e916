"""Order, back-pressure and overflow: what waits where, and who waits for whom."""

import asyncio
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncConsumer, AsyncWebsocketConsumer
from fast_channels.consumer._channel import ConnectionChannel
from fast_channels.consumer._mailbox import ConnectionMailbox, PulledEnvelope
from fast_channels.exceptions import ChannelFull
from fast_channels.layers import (
    InMemoryChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, Serve

Counted = Callable[[], dict[str, int]]


class Member(AsyncWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def connect(self) -> None:
        await self.accept()
        await self.send(self.channel_name)

    async def note(self, event: Event) -> None:
        await self.send(event["text"])

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(f"frame {text_data}")


class Busy(Member):
    """Its handlers of frames wait until ``go_on``; says when one begins."""

    def __init__(self) -> None:
        self.running = 0
        self.go_on = asyncio.Event()
        self.entered = asyncio.Event()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.running += 1
        assert self.running == 1
        self.entered.set()
        await self.go_on.wait()
        self.running -= 1
        await super().receive(text_data)

    async def note(self, event: Event) -> None:
        assert self.running == 0
        await super().note(event)


async def open_busy(serve: "Serve", consumer: Busy) -> tuple["Client", str]:
    """A connection whose handler runs and does not end; and its channel."""
    client = await serve.open(consumer)
    channel = (await client.next())["text"]
    client.text("busy")
    await consumer.entered.wait()
    return client, channel


async def texts(client: "Client", number: int) -> list[str]:
    return [(await client.next())["text"] for _ in range(number)]


# Order.


async def test_frames_and_events_are_handled_in_the_order_of_their_arrival(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    consumer = Busy()
    client, channel = await open_busy(serve, consumer)
    await default_layer.send(channel, {"type": "note", "text": "1"})
    client.text("2")
    while client.unread:  # noqa: ASYNC110  # until the reader has it
        await asyncio.sleep(0)
    await default_layer.send(channel, {"type": "note", "text": "3"})
    client.text("4")
    consumer.go_on.set()
    assert await texts(client, 5) == ["frame busy", "1", "frame 2", "3", "frame 4"]


async def test_every_member_sees_the_same_order(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Caller(Member):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            message: Event = {"type": "note", "text": text_data}
            if text_data and int(text_data.split()[1]) % 2:
                message = {"type": "websocket.send", "text": text_data}
            await self.channel_layer.group_send("room", message)

    clients = [await serve.open(Caller) for _ in range(10)]
    for number, client in enumerate(clients):
        await client.next()
        client.text(*(f"{number} {count}" for count in range(8)))
    seen = [await texts(client, 80) for client in clients]
    assert all(order == seen[0] for order in seen)
    for number in range(10):
        mine = [text for text in seen[0] if text.startswith(f"{number} ")]
        assert mine == [f"{number} {count}" for count in range(8)]


# Back-pressure.


async def test_the_reader_is_one_frame_ahead_at_most(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Callable[[], Any]
) -> None:
    consumer = Busy()
    client, _ = await open_busy(serve, consumer)
    client.text(*"abcdefgh")
    await settle()
    assert client.unread == 7
    consumer.go_on.set()
    assert await texts(client, 9) == ["frame busy", *(f"frame {text}" for text in "abcdefgh")]


async def test_a_busy_connection_delays_nobody(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    busy = Busy()
    slow, _ = await open_busy(serve, busy)
    other = await serve.open(Member)
    await other.next()
    for number in range(50):
        await default_layer.group_send("room", {"type": "note", "text": str(number)})
        assert await texts(other, 1) == [str(number)]
    busy.go_on.set()
    assert await texts(slow, 51) == ["frame busy", *map(str, range(50))]


@pytest.mark.parametrize("kind", ["note", "websocket.send"])
async def test_a_socket_that_takes_nothing_delays_nobody(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted, kind: str
) -> None:
    blocked: list[Event] = []

    async def send(event: Any) -> None:
        blocked.append(event)
        if event["type"] == "websocket.send":
            await asyncio.Event().wait()

    class Quiet(AsyncWebsocketConsumer):
        channel_layer_alias = "default"
        groups = ["room"]

        async def note(self, event: Event) -> None:
            await self.send(event["text"])

    serve(Quiet, send=send).give({"type": "websocket.connect"})
    other = await serve.open(Member)
    await other.next()
    for number in range(150):
        await default_layer.group_send("room", {"type": kind, "text": str(number)})
        assert await texts(other, 1) == [str(number)]
    assert [event["type"] for event in blocked] == ["websocket.accept", "websocket.send"]
    # One is being written, 100 wait, which is the capacity.
    assert counted() == {"event.full": 49}


# Overflow.


@pytest.fixture
def small(default_layer: InMemoryChannelLayer) -> InMemoryChannelLayer:
    """A layer whose channels hold three messages, instead of the default one."""
    unregister_channel_layer("default")
    layer = InMemoryChannelLayer(capacity=3)
    register_channel_layer("default", layer)
    return layer


async def fill(layer: InMemoryChannelLayer, number: int) -> None:
    for count in range(number):
        await layer.group_send("room", {"type": "note", "text": str(count)})


async def test_the_newest_is_dropped_by_default(
    serve: "Serve", small: InMemoryChannelLayer, counted: Counted
) -> None:
    consumer = Busy()
    client, channel = await open_busy(serve, consumer)
    await fill(small, 5)
    with pytest.raises(ChannelFull) as error:
        await small.send(channel, {"type": "note", "text": "direct"})
    assert error.value.channel == channel
    consumer.go_on.set()
    assert await texts(client, 4) == ["frame busy", "0", "1", "2"]
    await small.send(channel, {"type": "note", "text": "room again"})
    assert await texts(client, 1) == ["room again"]
    assert counted() == {"event.full": 2}


async def test_the_oldest_may_be_dropped(
    serve: "Serve", small: InMemoryChannelLayer, counted: Counted
) -> None:
    class Fresh(Busy):
        overflow = "drop_oldest"

    consumer = Fresh()
    client, channel = await open_busy(serve, consumer)
    await fill(small, 5)
    await small.send(channel, {"type": "note", "text": "direct"})
    consumer.go_on.set()
    assert await texts(client, 4) == ["frame busy", "3", "4", "direct"]
    assert counted() == {"event.full": 3}


async def test_the_connection_may_be_closed(
    serve: "Serve", small: InMemoryChannelLayer, counted: Counted
) -> None:
    codes: list[int] = []

    class Strict(Busy):
        overflow = "close"

        async def disconnect(self, code: int, /) -> None:
            codes.append(code)

    consumer = Strict()
    client, _ = await open_busy(serve, consumer)
    await fill(small, 3)
    assert not client.task.done()
    await fill(small, 2)
    # The client is told at once; what the busy handler sends after that is too late.
    closed = {"type": "websocket.close", "code": 1013, "reason": "too slow for its messages"}
    assert await client.next() == closed
    assert codes == []
    consumer.go_on.set()
    assert await client.ended() == []
    assert codes == [1013]
    assert counted() == {"event.full": 2, "send.after_close": 1}


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "close"])
async def test_frames_of_the_client_never_overflow(
    serve: "Serve", small: InMemoryChannelLayer, counted: Counted, overflow: Any
) -> None:
    class Full(Busy):
        pass

    Full.overflow = overflow
    consumer = Full()
    client, _ = await open_busy(serve, consumer)
    client.text("first", "second")
    while client.unread > 1:  # noqa: ASYNC110  # until the reader has the first
        await asyncio.sleep(0)
    await fill(small, 3)
    consumer.go_on.set()
    expected = ["frame busy", "frame first", "0", "1", "2", "frame second"]
    assert await texts(client, 6) == expected
    assert counted() == {}


async def test_dropping_the_oldest_spares_a_frame_of_the_client(
    serve: "Serve", small: InMemoryChannelLayer
) -> None:
    class Fresh(Busy):
        overflow = "drop_oldest"

    consumer = Fresh()
    client, _ = await open_busy(serve, consumer)
    await fill(small, 1)
    client.text("kept")
    while client.unread:  # noqa: ASYNC110  # until the reader has it
        await asyncio.sleep(0)
    await fill(small, 5)
    consumer.go_on.set()
    assert await texts(client, 5) == ["frame busy", "frame kept", "2", "3", "4"]


async def test_a_full_channel_of_a_loop_that_has_ended_is_not_the_senders_fault(
    small: InMemoryChannelLayer, counted: Counted
) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    connection: Any = SimpleNamespace(loop=loop, end_overflowed=None, probe=lambda: None)
    forgotten = ConnectionChannel(connection, small, "close", 1)
    await forgotten.open()
    await small.group_add("room", forgotten.name)
    await fill(small, 5)
    assert counted() == {"event.full": 2}


async def test_dropping_the_oldest_hides_no_frame_from_the_dispatch_loop() -> None:
    """Another thread drops, and the dispatch loop may look at any moment of that."""
    frame = {"type": "websocket.receive"}
    hidden: list[object] = []

    class Watched(deque[Any]):
        def popleft(self) -> Any:
            item = super().popleft()
            if item is frame:
                hidden.append(item)
            return item

    mailbox = ConnectionMailbox(asyncio.get_running_loop(), None, 1)
    mailbox.items = Watched([frame, PulledEnvelope({"type": "note"})])
    assert mailbox.drop_oldest()
    assert not mailbox.drop_oldest()
    assert list(mailbox.items) == [frame]
    assert hidden == []


def test_an_unknown_policy_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match=r"Wrong\.overflow is 'drop', expected one of"):

        class Wrong(AsyncConsumer):
            overflow = "drop"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

        del Wrong


async def test_a_message_that_waited_too_long_is_not_handled(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    pass_time: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock: Any = getattr(pass_time, "__self__")  # noqa: B009
    monkeypatch.setattr("fast_channels.consumer._connection.time", clock)
    consumer = Busy()
    client, channel = await open_busy(serve, consumer)
    await default_layer.send(channel, {"type": "note", "text": "stale"})
    pass_time(61)
    await default_layer.send(channel, {"type": "note", "text": "fresh"})
    consumer.go_on.set()
    assert await texts(client, 2) == ["frame busy", "fresh"]
