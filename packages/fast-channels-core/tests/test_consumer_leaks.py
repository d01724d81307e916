"""Thousands of connections that end in every way leave nothing behind."""

import asyncio
import gc
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer, ConsumerApplication
from fast_channels.consumer._connection import Connection
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.layers._mailbox import Mailbox
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Serve

TURNS = 40
ENDS = [
    "client leaves",
    "client leaves a busy handler",
    "raises in connect",
    "raises in receive",
    "raises in event",
    "raises in disconnect",
    "rejects",
    "closes",
    "receive() raises",
    "send() raises",
    *(f"cancelled after {turns}" for turns in range(TURNS)),
]


class Doomed(AsyncWebsocketConsumer):
    """Its path says how it ends."""

    channel_layer_alias = "default"

    def ends(self, *ways: str) -> bool:
        return self.scope["path"] in ways

    async def connect(self) -> None:
        for group in ("room", "another", f"own.{self.channel_name.replace('!', '.')}"):
            await self.channel_layer.group_add(group, self.channel_name)
        if self.ends("raises in connect"):
            raise LookupError(self)
        if self.ends("rejects"):
            await self.close()
            return
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.ends("raises in receive"):
            raise LookupError(self)
        if self.ends("closes"):
            await self.close()
        await asyncio.sleep(0)
        # Reaches whoever is there.
        await self.broadcast("room", text="hello")
        await self.channel_layer.group_send("another", {"type": "event"})
        await asyncio.sleep(0)

    async def event(self, event: Event) -> None:
        if self.ends("raises in event"):
            raise LookupError(self)
        await asyncio.sleep(0)
        await self.send("event")

    async def disconnect(self, code: int, /) -> None:
        await asyncio.sleep(0)
        if self.ends("raises in disconnect"):
            raise LookupError(self)


class Connections:
    """Serves one connection for each way to end."""

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        self.layer = layer
        self.ended = Counter[str]()

    async def live(self, end: str) -> None:
        events: list[Event] = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "one"},
            {"type": "websocket.receive", "text": "two"},
            {"type": "websocket.disconnect", "code": 1001},
        ]
        if end == "client leaves a busy handler":
            del events[2]
        task = asyncio.create_task(self._serve(end, events))
        if end.startswith("cancelled"):
            for _ in range(int(end.split()[-1])):
                await asyncio.sleep(0)
            task.cancel()
        try:
            await task
            self.ended["returned"] += 1
        except (asyncio.CancelledError, ConnectionError) as error:
            self.ended[type(error).__name__] += 1

    async def _serve(self, end: str, events: list[Event]) -> None:
        async def receive() -> Event:
            if end == "receive() raises" and len(events) == 2:
                raise ConnectionResetError
            # Only what busy handlers are to overtake comes without a pause.
            if "busy" not in end:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            return events.pop(0) if events else await asyncio.Event().wait() and {}

        async def send(event: Any) -> None:
            if end == "send() raises" and event["type"] == "websocket.send":
                raise LookupError(event)
            await asyncio.sleep(0)

        await Doomed.as_asgi()({"type": "websocket", "path": end}, receive, send)


def alive() -> Counter[str]:
    """What there is of ours."""
    gc.collect()
    kinds = (Connection, Mailbox, AsyncWebsocketConsumer, ConsumerApplication)
    things: list[object] = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    return Counter(type(thing).__name__ for thing in things)


@pytest.mark.parametrize("at_once", [1, 25])
async def test_nothing_is_left_of_thousands_of_connections(
    default_layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture, at_once: int
) -> None:
    caplog.set_level(logging.CRITICAL, "fast_channels")  # A record holds its traceback.
    connections = Connections(default_layer)
    tasks = asyncio.all_tasks()
    before = alive()
    rounds = 40
    for _ in range(rounds):
        for first in range(0, len(ENDS), at_once):
            together = ENDS[first : first + at_once]
            await asyncio.gather(*map(connections.live, together))
    assert sum(connections.ended.values()) == rounds * len(ENDS)
    assert connections.ended["ConnectionResetError"] == rounds
    assert connections.ended["CancelledError"] > rounds
    assert asyncio.all_tasks() == tasks
    assert alive() == before
    table: Any = vars(default_layer)["_table"]
    assert (table.channels, table.groups) == ({}, {})


async def test_an_open_connection_is_what_this_counts(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    """Else the test above would find nothing, whatever was left."""
    before = alive()
    await serve.open(Doomed)
    more = alive() - before
    assert (more["Connection"], more["ConnectionMailbox"], more["Doomed"]) == (1, 1, 1)
    assert vars(default_layer)["_table"].channels
