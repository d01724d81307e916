"""Consumers on a layer of the application's own, which only derives from BaseChannelLayer."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.exceptions import ChannelFull, ChannelLayerUnavailable
from fast_channels.layers import (
    BaseChannelLayer,
)
from fast_channels.types import Event, Message

if TYPE_CHECKING:
    from conftest import Client, Serve


class QueueLayer(BaseChannelLayer):
    """A queue for each channel; each call waits for a turn of the loop, as a broker's would."""

    def __init__(self, capacity: int = 100) -> None:
        super().__init__(capacity=capacity)
        self.queues: dict[str, asyncio.Queue[Message]] = {}
        self.groups: dict[str, set[str]] = {}
        self.receiving = 0
        self.fail: set[str] = set()
        self._numbers = itertools.count()

    async def _turn(self, method: str) -> None:
        if method in self.fail:
            raise ChannelLayerUnavailable(f"{method} failed")
        await asyncio.sleep(0)

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        await self._turn("send")
        queue = self.queues.get(channel)
        if queue is not None and queue.qsize() >= self.get_capacity(channel):
            raise ChannelFull(channel)
        if queue is not None:
            queue.put_nowait(dict(message))

    async def receive(self, channel: str) -> Message:
        self.receiving += 1
        try:
            await self._turn("receive")
            return await self.queues[channel].get()
        except asyncio.CancelledError:
            # A broker would be told; nobody may forget the call before that.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise
        finally:
            self.receiving -= 1

    async def new_channel(self, prefix: str = "specific") -> str:
        await self._turn("new_channel")
        channel = f"{prefix}.queue!{next(self._numbers)}"
        self.queues[channel] = asyncio.Queue()
        return channel

    async def close_channel(self, channel: str) -> None:
        del self.queues[channel]
        for members in self.groups.values():
            members.discard(channel)
        await self._turn("close_channel")

    async def group_add(self, group: str, channel: str) -> None:
        await self._turn("group_add")
        self.groups.setdefault(group, set()).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups.get(group, set()).discard(channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        for channel in sorted(self.groups.get(group, ())):
            await self.send(channel, message)

    async def flush(self) -> None:
        self.groups.clear()

    async def close(self) -> None:
        pass


class Member(AsyncWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def note(self, event: Event) -> None:
        await self.send(event["text"])

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.broadcast("room", text=f"{text_data}!")


@pytest.fixture
def layer() -> QueueLayer:
    """In place of the in-memory layer, also for ``default_layer`` and ``scene``."""
    return QueueLayer()


@pytest.fixture(autouse=True)
def is_left_empty(default_layer: QueueLayer) -> Iterator[None]:
    yield
    assert default_layer.receiving == 0


async def test_frames_and_events_arrive_in_order(serve: "Serve", layer: QueueLayer) -> None:
    clients = [await serve.open(Member) for _ in range(3)]
    for number in range(20):
        kind = "note" if number % 3 else "websocket.send"
        await layer.group_send("room", {"type": kind, "text": str(number)})
    clients[0].text("hello")
    for client in clients:
        texts = [(await client.next())["text"] for _ in range(21)]
        assert texts == [*map(str, range(20)), "hello!"]


async def test_messages_wait_in_the_layer_while_a_handler_is_busy(
    serve: "Serve", layer: QueueLayer
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Busy(Member):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            entered.set()
            await go_on.wait()

    client = await serve.open(Busy)
    client.text("go")
    await entered.wait()
    for number in range(10):
        await layer.group_send("room", {"type": "note", "text": str(number)})
    (queue,) = layer.queues.values()
    # One is taken, so that it can be handled without a turn of the loop.
    assert queue.qsize() == 9
    go_on.set()
    assert [(await client.next())["text"] for _ in range(10)] == [*map(str, range(10))]


async def test_the_end_releases_everything(serve: "Serve", layer: QueueLayer) -> None:
    client = await serve.open(Member)
    assert layer.groups == {"room": set(layer.queues)}
    assert layer.receiving == 1
    await client.leave()
    assert (layer.groups, layer.queues, layer.receiving) == ({"room": set()}, {}, 0)


async def test_disconnect_runs_when_the_channel_is_released(
    serve: "Serve", layer: QueueLayer
) -> None:
    seen: list[object] = []

    class Last(Member):
        async def disconnect(self, code: int, /) -> None:
            seen.append((code, dict(layer.queues), layer.receiving, layer.groups["room"]))
            await self.channel_layer.group_discard("room", self.channel_name)

    client = await serve.open(Last)
    await client.leave(1001)
    assert seen == [(1001, {}, 0, set())]


@pytest.mark.parametrize("turns", range(1, 12))
async def test_cancelled_at_every_turn(serve: "Serve", layer: QueueLayer, turns: int) -> None:
    client = serve(Member)
    client.give({"type": "websocket.connect"})
    client.text("hello")
    for _ in range(turns):
        await asyncio.sleep(0)
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert layer.queues == {}
    assert not any(layer.groups.values())


# A layer that fails.


async def end_of(client: "Client") -> list[int]:
    return [event["code"] for event in await client.ended() if event["type"] == "websocket.close"]


async def test_a_layer_that_opens_no_channel_is_the_servers_to_know(
    serve: "Serve", layer: QueueLayer
) -> None:
    layer.fail.add("new_channel")
    client = serve(Member)
    with pytest.raises(ChannelLayerUnavailable):
        await client.ended()


@pytest.mark.parametrize("method", ["receive", "group_add"])
async def test_a_layer_that_fails_closes_the_connection_with_1011(
    serve: "Serve", layer: QueueLayer, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    layer.fail.add(method)
    client = serve(Member)
    client.give({"type": "websocket.connect"})
    assert await end_of(client) == [1011]
    assert f"{method} failed" in caplog.text
    assert layer.queues == {}


async def test_a_layer_that_fails_later(
    serve: "Serve", layer: QueueLayer, caplog: pytest.LogCaptureFixture
) -> None:
    client = await serve.open(Member)
    layer.fail.add("receive")
    await layer.group_send("room", {"type": "note", "text": "the last"})
    assert (await client.next())["text"] == "the last"
    assert await end_of(client) == [1011]
    assert "its channel layer failed" in caplog.text


async def test_a_layer_whose_own_task_was_cancelled_has_failed(
    serve: "Serve",
    layer: QueueLayer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def receive(channel: str) -> Message:
        raise asyncio.CancelledError

    monkeypatch.setattr(layer, "receive", receive)
    client = serve(Member)
    client.give({"type": "websocket.connect"})
    assert await end_of(client) == [1011]
    assert "its channel layer failed" in caplog.text


async def test_a_channel_that_cannot_be_closed_stops_nothing(
    serve: "Serve", layer: QueueLayer, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[int] = []

    class Last(Member):
        async def disconnect(self, code: int, /) -> None:
            ends.append(code)

    layer.fail.add("close_channel")
    client = await serve.open(Last)
    await client.leave(1001)
    assert ends == [1001]
    assert "could not close channel specific.queue!0" in caplog.text


async def test_a_handler_sees_what_the_layer_raises(serve: "Serve", layer: QueueLayer) -> None:
    class Patient(Member):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            assert isinstance(exc, ChannelLayerUnavailable)
            await self.send(f"{exc}: {event['text']}")

    client = await serve.open(Patient)
    layer.fail.add("send")
    client.text("hello")
    assert (await client.next())["text"] == "send failed: hello"


@pytest.mark.parametrize("method", ["receive", "group_add"])
async def test_a_layer_that_fails_while_tasks_begin_eagerly(
    serve: "Serve", layer: QueueLayer, method: str
) -> None:
    eager_task_factory = getattr(asyncio, "eager_task_factory", None)
    if eager_task_factory is None:
        pytest.skip("Python 3.12 has the first eager tasks")
    asyncio.get_running_loop().set_task_factory(eager_task_factory)
    layer.fail.add(method)
    client = serve(Member)
    client.give({"type": "websocket.connect"})
    assert await end_of(client) == [1011]
