"""What a layer does to the connections that use it, from outside and from other threads."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.layers import (
    InMemoryChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.types import Event, Scope

if TYPE_CHECKING:
    from conftest import Serve

Settle = Callable[[], Awaitable[None]]


class Busy(AsyncWebsocketConsumer):
    """Keeps its dispatch loop busy with the text "wait" until it is released."""

    channel_layer_alias = "default"
    groups = ["group"]
    released: asyncio.Event

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "wait":
            await self.released.wait()
        await self.send(text_data=f"{text_data} done")


async def test_the_events_of_clients_are_not_the_layers_to_drop(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    Busy.released = asyncio.Event()
    client = await serve.open(Busy)
    client.text("wait", "next", "last")
    await settle()
    await default_layer.group_send("group", {"type": "websocket.send", "text": "of the layer"})
    await default_layer.flush()
    Busy.released.set()
    for text in ("wait", "next", "last"):
        assert await client.next() == {"type": "websocket.send", "text": f"{text} done"}
    assert await client.leave() == []


async def test_a_connection_whose_layer_is_closed_ends(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    codes: list[int] = []

    class Guest(Busy):
        async def disconnect(self, code: int, /) -> None:
            codes.append(code)

    client = await serve.open(Guest)
    await default_layer.close()
    reason = "the channel layer was closed"
    assert await client.ended() == [{"type": "websocket.close", "code": 1012, "reason": reason}]
    assert codes == [1012]


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
def test_connections_in_several_threads_see_one_order(debug: bool) -> None:
    threads, frames_each = 4, 100
    layer = InMemoryChannelLayer(capacity=threads * frames_each)
    everybody_is_there = threading.Barrier(threads)

    class Listener(AsyncWebsocketConsumer):
        channel_layer_alias = "default"
        groups = ["group"]

    async def connect_and_send(me: int) -> list[str]:
        events = asyncio.Queue[Event]()
        accepted, complete = asyncio.Event(), asyncio.Event()
        frames: list[str] = []

        async def send(event: MutableMapping[str, Any]) -> None:
            if event["type"] == "websocket.accept":
                accepted.set()
            elif event["type"] == "websocket.send":
                frames.append(event["text"])
                if len(frames) == threads * frames_each:
                    complete.set()

        scope: Scope = {"type": "websocket", "path": "/", "headers": []}
        connection = asyncio.create_task(Listener.as_asgi()(scope, events.get, send))
        events.put_nowait({"type": "websocket.connect"})
        await accepted.wait()
        await asyncio.to_thread(everybody_is_there.wait, 60)
        for number in range(frames_each):
            frame = {"type": "websocket.send", "text": f"{me}.{number}"}
            await layer.group_send("group", frame)
            if number % 3 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await complete.wait()
        events.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await connection
        return frames

    def run(me: int) -> list[str]:
        return asyncio.run(connect_and_send(me), debug=debug)

    register_channel_layer("default", layer)
    try:
        with ThreadPoolExecutor(threads) as pool:
            orders = list(pool.map(run, range(threads)))
    finally:
        unregister_channel_layer("default")
    assert all(order == orders[0] for order in orders)
    assert len(set(orders[0])) == threads * frames_each
