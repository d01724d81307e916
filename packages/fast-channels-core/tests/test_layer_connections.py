"""What a layer does to the connections that use it, from outside and from other threads."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer

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


@pytest.mark.parametrize("interruption", ["flush", "close"])
async def test_the_events_of_clients_are_not_the_layers_to_drop(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle, interruption: str
) -> None:
    Busy.released = asyncio.Event()
    client = await serve.open(Busy)
    client.text("wait", "next", "last")
    await settle()
    await default_layer.group_send("group", {"type": "websocket.send", "text": "of the layer"})
    await getattr(default_layer, interruption)()
    Busy.released.set()
    for text in ("wait", "next", "last"):
        assert await client.next() == {"type": "websocket.send", "text": f"{text} done"}
    assert await client.leave() == []
